"""What a person at the terminal is promised: refusals in the order of the lines, no connection to what nobody named."""

from pathlib import Path

import pytest

from api.cli import doctor
from api.cli.emit import Summary
from api.settings import Settings
from ledger.errors import ConfigurationError, Problem


def test_refusals_are_listed_in_the_order_of_their_lines() -> None:
    """The client refuses a line that is no JSON before the ledger has said anything of an earlier one."""
    summary = Summary()
    for line in (4, 5, 2, 3):
        summary.add(line, "refused", [Problem("", "json")])
    assert [refusal["line"] for refusal in summary.json()["refusals"]] == [2, 3, 4, 5]
    assert [refusal.line for refusal in summary.in_order()] == [2, 3, 4, 5]


def test_doctor_asks_no_server_that_nobody_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty connection string would be the machine's own PostgreSQL, not the ledger's."""
    for name in ("CONFIG", "KAFKA", "DATABASE"):
        monkeypatch.delenv(f"CONSENT_LEDGER_{name}", raising=False)
    monkeypatch.setenv("PGHOST", str(tmp_path))
    with pytest.raises(ConfigurationError):
        list(doctor.CHECKS["lag"](Settings()))
