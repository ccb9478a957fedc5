"""CSV (RFC 4180) that no spreadsheet takes for formulas.

A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe before it, which a spreadsheet
takes for "this is text". Whoever reads the file with a program takes the apostrophe away where one of these follows it.

>>> csv_line(["/services/permits", "=1+1", 'says "no", twice', 12])
'/services/permits,\\'=1+1,"says ""no"", twice",12\\r\\n'
"""

import csv
import io
from collections.abc import Iterable

_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def safe(cell: object) -> str:
    """The cell's text, made harmless."""
    text = "" if cell is None else str(cell)
    return "'" + text if text.startswith(_FORMULAS) else text


def csv_line(cells: Iterable[object]) -> str:
    """One line, its end included."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([safe(cell) for cell in cells])
    return line.getvalue()
