"""An eraser that is killed at any step leaves nothing half done: the next one goes on, and the end is the same."""

import signal
from collections import Counter
from pathlib import Path
from uuid import uuid4

import orjson
import pytest

from api.http import answers
from ledger.codec import rfc3339
from ledger.erasing.eraser import STEPS
from ledger.erasing.erasure import IN_PROGRESS, Asked, Erasure
from ledger.vault.database import Database
from ledger.vault.erasures import Erasures
from ledger.vault.keys import KEK_BYTES, KeyEncryptionKey
from ledger.vault.logins import LoginMap
from tests.answering import new_resident, open_ledger
from tests.door import complaint, serve
from tests.eraser_process import run
from tests.vaults import alive, own_database

pytestmark = pytest.mark.long

WORDS = "zebra lantern quartz"
LIMIT_S = 90


@pytest.mark.timeout(300)
def test_killed_at_each_step_in_turn_an_erasure_comes_to_the_same_end(
    kafka_address: str, database_url: str, tmp_path: Path
) -> None:
    """One erasure, and for each of its steps an eraser that is killed right after it, each going on from the last."""
    with own_database(database_url) as database, open_ledger(kafka_address, database, tmp_path) as ledger:
        settings = ledger.door.runtime.settings
        ledger.door.runtime.eraser.stop()  # this API only records: the erasing is done by the processes below
        vault = Database(settings.vault_database, 1)
        logins = LoginMap(vault, KeyEncryptionKey(bytes(range(KEK_BYTES))))
        subject, other = logins.subject_for("https://id.example", "jane"), new_resident()
        ledger.record(complaint(WORDS, subject=subject), complaint(WORDS, subject=other))
        before = {record.position: record.value for record in ledger.door.records()}
        now = rfc3339(ledger.clock())
        erasure = Erasure(uuid4().hex, subject, None, IN_PROGRESS, "my-pages", now, requested_time=now)
        Erasures(vault).ask(Asked(erasure, f"/my/{subject}", "k-1"))

        said = tmp_path / "erasers.log"
        for step in STEPS:
            assert run(settings, die_at=step, log=said) == -signal.SIGKILL, said.read_text()
            begun = step != "begun"
            sealing = ledger.door.post(complaint("more words", subject=subject, id=f"after-{step}"))
            assert sealing.status_code == (410 if begun else 201), step
            assert alive(database, subject) == (step in ("begun", "requested", "requested-noted")), step
        assert run(settings, log=said) == 0, said.read_text()
        ledger.settle()

        events = [orjson.loads(record.value) for record in ledger.door.records()]
        kinds = Counter(e["type"] for e in events if e.get("subject") == subject and e["source"] == "/ledger")
        assert kinds == {"org.consent-ledger.erasure.requested.v1": 1, "org.consent-ledger.data.erased.v1": 1}
        found = Erasures(vault).get(erasure.erasure_id)
        assert found is not None
        assert (found.state, found.requested is not None, found.erased is not None) == ("done", True, True)
        assert logins.subject_for("https://id.example", "jane") != subject
        after = {record.position: record.value for record in ledger.door.records()}
        assert before.items() <= after.items(), "no earlier record has changed"

        with serve(settings, tmp_path, routers=tuple(answers.routers())) as door:
            for one, texts in ((subject, {None}), (other, {WORDS})):
                headers = {"authorization": f"Bearer {ledger.resident(one)}"}
                entries = door.client.get("/v1/me/log", headers=headers).json()["entries"]
                assert {e["unsealed"]["text"] for e in entries if "unsealed" in e} == texts
        assert WORDS not in said.read_text()
        vault.close()
