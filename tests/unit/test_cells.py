"""CSV that a spreadsheet opens without running anything, and a program reads back."""

import csv
import io

import pytest

from api.cells import csv_line, safe


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_could_be_a_formula_begins_with_an_apostrophe(start: str) -> None:
    assert safe(start + "cmd|' /C calc'!A0") == "'" + start + "cmd|' /C calc'!A0"
    [row] = csv.reader(io.StringIO(csv_line([start + "1", "x"]), newline=""))
    assert row == ["'" + start + "1", "x"]


@pytest.mark.parametrize(
    "cell", ["", "3-1041", "/services/permits", "a=1", "4.2", "'already", 'a "quoted", one', "ạ\nb"]
)
def test_other_cells_are_read_back_as_they_were(cell: str) -> None:
    [row] = csv.reader(io.StringIO(csv_line([cell, 12, None]), newline=""))
    assert row == [cell, "12", ""]


def test_lines_end_as_the_standard_says() -> None:
    assert csv_line(["a", "b,c"]) == 'a,"b,c"\r\n'
