"""Evidence, proofs and trees over HTTP: handed out to those who may, once signed, and verified with nothing of ours."""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import orjson
import psycopg
import pytest

from api import cli
from api.http import answers
from ledger.authority import SELF, Door, Principal
from ledger.codec import rfc3339
from ledger.events import EVENTS_WRITE, KINDS, AnonymityChosen
from ledger.evidence import Report, verify
from ledger.kafka import topics
from ledger.log import Entry, Position
from ledger.recording.record import Recorded
from ledger.tree.checkpoint import Checkpoint, open_checkpoint, sign
from ledger.tree.merkle import leaf_hash
from ledger.tree.note import Signer
from ledger.tree.tiles import Tile, check_tiles
from ledger.tree.tlog_proof import verify as verify_proof
from projections import schema
from projections.tlog import Trees
from tests.answering import (
    USED,
    AnsweringLedger,
    Clock,
    a_policy,
    before,
    collection,
    new_resident,
    notice,
    use,
    withholding,
)
from tests.door import NAME, PASSWORDS, consent, event, open_door

SIGNER = Signer.from_seed(NAME, bytes(range(32)))
KEYS = [SIGNER.verifier]
MERGE = """
INSERT INTO checkpoints ("partition", size, root, note) VALUES (%s, %s, %s, %s)
ON CONFLICT ("partition") DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note
"""


class SignedLedger(AnsweringLedger):
    """A ledger whose checkpoints are signed when the test says so."""

    def sign(self, signer: Signer = SIGNER) -> None:
        """Signs what the views' trees have come to: all that was recorded before."""
        self.settle()
        with closing(Trees(self.dsns.signer, pool_size=1)) as trees, trees.snapshot() as snapshot:
            found = [snapshot.tree(partition) for partition in range(6)]
        with psycopg.connect(self.dsns.signer) as connection:
            for tree in found:
                signed = Checkpoint(signer.name, tree.partition, tree.frontier.size, tree.frontier.root)
                parameters = (tree.partition, signed.size, signed.root, sign(signed, [signer]))
                connection.execute(MERGE, parameters)

    def values(self, partition: int) -> list[bytes]:
        """Every record of a partition: what an auditor reads from Kafka."""
        return [r.value for r in self.door.records() if r.position.partition == partition]

    def altered(self, statement: str, *parameters: Any) -> None:
        """Changes a row of the views behind the ledger's back."""
        with psycopg.connect(self.dsns.owner) as connection:
            assert connection.execute(statement.encode(), parameters).rowcount == 1


@pytest.fixture(scope="module")
def ledger(kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedLedger]:
    name, clock = f"evidence_{uuid4().hex[:12]}", Clock()
    checkpoints = f"{name}.checkpoints"
    topics.create(kafka_address, {checkpoints: (topics.Kind.RECORDS, 1)})
    with open_door(
        kafka_address,
        database_url,
        tmp_path_factory.mktemp("evidence"),
        clock=clock,
        routers=tuple(answers.routers()),
        name=name,
        checkpoints_topic=checkpoints,
        checkpoint_vkeys=(SIGNER.verifier.vkey,),
    ) as door:
        opened = SignedLedger(door, clock, schema.dsns_for(database_url, PASSWORDS, name), name)
        opened.resume()
        try:
            opened.record(a_policy())
            yield opened
        finally:
            opened.pause()


def checked(response: httpx.Response, partition_records: list[bytes] | None = None) -> Report:
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/zip"
    return verify(response.content, KEYS, partition_records)


def code_of(response: httpx.Response) -> tuple[int, list[str]]:
    return response.status_code, [error["code"] for error in response.json()["errors"]]


# --- evidence ---------------------------------------------------------------------------------------------------


def test_a_bundle_verifies_offline_and_says_what_the_verdict_door_says(ledger: SignedLedger) -> None:
    subject = new_resident()
    noticed, collected, position = ledger.record(notice(subject), collection(subject), use(subject))
    ledger.sign()
    response = ledger.get(f"/v1/records/{position}/evidence", ledger.resident(subject))
    report = checked(response)
    name = f'attachment; filename="evidence-{position}.zip"'
    assert response.headers["content-disposition"] == name
    verdict = ledger.get(
        f"/v1/records/{position}/verdict", ledger.auditor, known_at=str(report.question.known_at)
    ).json()
    del verdict["superseded_by"]
    for finding in verdict["findings"]:
        del finding["text"]
    assert report.verdict == verdict
    roles = {str(entry.leaf.position): entry.role for entry in report.records}
    assert (roles[noticed], roles[collected], roles[position]) == ("evidence", "evidence", "judged")
    assert len(roles) == 4, "and the policy"
    assert not report.completeness.proven


def test_a_bundle_is_the_same_bytes_while_nothing_new_is_signed(ledger: SignedLedger) -> None:
    subject = new_resident()
    [position] = ledger.record(use(subject))
    ledger.sign()
    path, mine = f"/v1/records/{position}/evidence", ledger.resident(subject)
    first = ledger.get(path, mine)
    ledger.record(use(subject))
    again = ledger.get(path, mine)
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert not first.headers["etag"].startswith("W/")
    assert ledger.get(path, mine, {"if-none-match": first.headers["etag"]}).status_code == 304
    ledger.sign()
    later = checked(ledger.get(path, mine))
    assert later.question.known_at > checked(first).question.known_at


def test_until_a_checkpoint_covers_it_there_is_503_and_no_read_is_recorded(ledger: SignedLedger) -> None:
    subject = new_resident()
    ledger.sign()
    [position] = ledger.record(use(subject))
    for door in ("evidence", "proof"):
        response = ledger.get(f"/v1/records/{position}/{door}", ledger.auditor)
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
    assert ledger.views_of(subject) == []
    ledger.sign()
    checked(ledger.get(f"/v1/records/{position}/evidence", ledger.auditor))
    [beyond] = ledger.record(use(subject))
    response = ledger.get(f"/v1/records/{position}/evidence", ledger.auditor, known_at=beyond)
    assert response.status_code == 503, "a bundle knows nothing that no checkpoint covers"


def test_a_late_fact_is_in_the_bundle_of_now_and_not_in_that_of_then(ledger: SignedLedger) -> None:
    subject = new_resident()
    _, position = ledger.record(collection(subject), use(subject))
    [late] = ledger.record(notice(subject))
    ledger.sign()
    path = f"/v1/records/{position}/evidence"
    now = checked(ledger.get(path, ledger.auditor))
    then = checked(ledger.get(path, ledger.auditor, known_at=position))
    assert (now.verdict["outcome"], now.verdict["first_outcome"]) == ("consistent", "inconsistent")
    assert [f["code"] for f in now.verdict["findings"] if f["rule"] == "evidence"] == ["backdated", "recorded-later"]
    assert then.verdict["outcome"] == "inconsistent"
    assert late in {str(entry.leaf.position) for entry in now.records}
    assert late not in {str(entry.leaf.position) for entry in then.records}
    early = ledger.get(path, ledger.auditor, known_at=before(position))
    assert code_of(early) == (404, ["not-recorded-then"])


def test_a_bundle_widens_to_all_facts_when_those_cited_do_not_give_the_verdict(ledger: SignedLedger) -> None:
    """Ten consents that all ended: a finding cites the latest eight, and says that there are ten."""
    subject = new_resident()
    ledger.record(notice(subject), collection(subject))
    given = [{"consent_id": f"c{i}", "purposes": ["4.7"], "method": "web-form"} for i in range(10)]
    for data in given:
        ended = {"consent_id": data["consent_id"]}
        ledger.record(
            event("consent.given", subject=subject, time="2026-03-02T13:00:00Z", data=data),
            event("consent.withdrawn", subject=subject, time="2026-03-02T14:00:00Z", data=ended),
            wait=False,
        )
    [position] = ledger.record(use(subject, "4.7"))
    ledger.sign()
    report = checked(ledger.get(f"/v1/records/{position}/evidence", ledger.auditor))
    [found] = [f for f in report.verdict["findings"] if f["code"] == "purpose-not-stated"]
    assert (len(found["evidence"]), found["evidence_total"]) == (9, 11)
    assert sum(entry.event.kind == "consent.given" for entry in report.records) == 10


def test_a_complete_bundle_holds_every_record_of_the_resident_and_the_partition_proves_it(ledger: SignedLedger) -> None:
    subject = new_resident()
    sent = [notice(subject), collection(subject), use(subject), use(subject, "4.7"), consent(subject=subject)]
    positions = ledger.record(*sent)
    ledger.record(event("data.reviewed", subject=subject, data={"categories": ["email"]}))
    ledger.sign()
    partition = ledger.partition_of(subject)
    path = f"/v1/records/{positions[2]}/evidence"
    complete = ledger.get(path, ledger.auditor, complete="true")
    report = checked(complete, ledger.values(partition))
    assert report.completeness.proven
    held = {str(entry.leaf.position) for entry in report.records}
    of_them = [r for r in ledger.door.records() if orjson.loads(r.value).get("subject") in (subject, None)]
    known = report.question.known_at
    assert held == {str(r.position) for r in of_them if r.position.partition == partition and r.position <= known}
    few = checked(ledger.get(path, ledger.auditor, complete="false"), ledger.values(partition))
    assert (few.completeness.proven, few.completeness.missing) == (False, len(held) - 4)
    assert few.verdict["findings"] == report.verdict["findings"]


def test_a_complete_bundle_holds_repeats_too_and_they_count_for_nothing(ledger: SignedLedger) -> None:
    """No door appends a repeat; a log may hold one (an emitter that writes to Kafka itself, two recorders)."""
    subject = new_resident()
    sent = notice(subject)
    ledger.record(sent, collection(subject))
    [original] = [r for r in ledger.door.records() if orjson.loads(r.value)["id"] == sent["id"]]
    [position] = ledger.record(use(subject))
    [appended] = ledger.door.runtime.log.append([Entry(original.position.partition, subject, original.value)])
    repeat = appended.result(timeout=60)
    ledger.sign()
    report = checked(ledger.get(f"/v1/records/{position}/evidence", ledger.auditor, complete="true"))
    roles = {entry.leaf.position: entry.role for entry in report.records}
    assert (roles[original.position], roles[repeat]) == ("evidence", "repeat")
    proof = ledger.get(f"/v1/records/{repeat}/proof", ledger.service)
    assert verify_proof(proof.content, leaf_hash(original.value), KEYS, repeat.partition).index >= 0
    assert ledger.get(f"/v1/records/{repeat}/evidence", ledger.auditor).json()["position"] == str(original.position)


def test_who_may_have_a_bundle(ledger: SignedLedger) -> None:
    subject = new_resident()
    noticed, position = ledger.record(notice(subject), use(subject))
    ledger.sign()
    path = f"/v1/records/{position}/evidence"
    assert ledger.get(path, ledger.resident(subject)).status_code == 200
    assert ledger.views_of(subject) == [], "residents who read about themselves are not recorded"
    assert code_of(ledger.get(path, ledger.resident(new_resident()))) == (403, ["not-yours"])
    assert code_of(ledger.get(path, ledger.service)) == (403, ["scope"])
    assert code_of(ledger.get(path, ledger.operator)) == (403, ["scope"])
    assert ledger.get(path).status_code == 401
    assert ledger.views_of(subject) == []
    assert ledger.get(path, ledger.auditor).status_code == 200
    [viewed] = ledger.views_of(subject)
    assert (viewed["data"]["role"], viewed["data"]["scope"]) == ("auditor", f"evidence/{position}")
    assert code_of(ledger.get(f"/v1/records/{noticed}/evidence", ledger.auditor)) == (404, ["not-judged"])
    nowhere = f"{Position.parse(position).partition}-999999"
    assert ledger.get(f"/v1/records/{nowhere}/evidence", ledger.auditor).status_code == 404


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"complete": "1"}, ("complete", "boolean")),
        ({"complete": ""}, ("complete", "boolean")),
        ({"known_at": "x"}, ("known_at", "position")),
        ({"known_at": "999-1"}, ("known_at", "another-partition")),
        ({"all": "true"}, ("", "unknown-parameter")),
    ],
)
def test_a_question_that_is_not_understood_is_a_422(
    ledger: SignedLedger, query: dict[str, str], problem: tuple[str, str]
) -> None:
    [position] = ledger.record(use(new_resident()))
    response = ledger.get(f"/v1/records/{position}/evidence?{urlencode(query)}", ledger.auditor)
    assert response.status_code == 422
    assert [(e["pointer"], e["code"]) for e in response.json()["errors"]] == [problem]


def test_what_a_law_holds_back_is_in_no_bundle_of_its_resident(ledger: SignedLedger) -> None:
    subject = new_resident()
    given, used, other = notice(subject), use(subject), use(subject, "4.7")
    _, _, judged, unrelated = ledger.record(given, collection(subject), used, other)
    ahead_us = ledger.clock() + 3_600 * 1_000_000
    ledger.record(withholding(subject, given, ahead_us))
    ledger.sign()
    mine = ledger.resident(subject)
    refused = ledger.get(f"/v1/records/{judged}/evidence", mine)
    assert code_of(refused) == (403, ["held-back"])
    assert "832.7" not in refused.text
    assert code_of(ledger.get(f"/v1/records/{unrelated}/evidence", mine, complete="true")) == (403, ["held-back"])
    checked(ledger.get(f"/v1/records/{judged}/evidence", ledger.auditor, complete="true"))
    ledger.record(withholding(subject, used, ahead_us))
    ledger.sign()
    shown = ledger.get(f"/v1/records/{judged}/evidence", mine)
    assert shown.json()["kind"] == "withheld"
    assert ledger.get(f"/v1/records/{judged}/verdict", mine).json() == shown.json()


def test_a_row_altered_in_the_views_gives_no_bundle(ledger: SignedLedger) -> None:
    subject = new_resident()
    _, collected, position = ledger.record(notice(subject), collection(subject), use(subject))
    ledger.sign()
    path, (partition, offset) = f"/v1/records/{position}/evidence", Position.parse(position)
    checked(ledger.get(path, ledger.auditor))
    turned = 'UPDATE verdicts SET outcome = %s WHERE "partition" = %s AND "offset" = %s AND known_until IS NULL'
    ledger.altered(turned, "inconsistent", partition, offset)
    assert ledger.get(path, ledger.auditor).status_code == 503
    ledger.altered(turned, "consistent", partition, offset)
    checked(ledger.get(path, ledger.auditor))
    body = 'UPDATE timeline SET body = replace(body, %s, %s) WHERE "partition" = %s AND "offset" = %s'
    at = Position.parse(collected)
    ledger.altered(body, '"resident"', '"third-party"', *at)  # changes no verdict: but the leaf's hash
    response = ledger.get(path, ledger.auditor)
    assert (response.status_code, response.json()["type"].rpartition("/")[2]) == (503, "views-altered")
    assert ledger.get(f"/v1/records/{collected}/proof", ledger.service).status_code == 503
    ledger.altered(body, '"third-party"', '"resident"', *at)
    checked(ledger.get(path, ledger.auditor))


def test_a_checkpoint_that_no_trusted_key_signed_proves_nothing(ledger: SignedLedger) -> None:
    [position] = ledger.record(use(new_resident()))
    ledger.sign(Signer.from_seed(NAME, b"\x07" * 32))
    partition = Position.parse(position).partition
    try:
        record = f"/v1/records/{position}"
        for path in (f"{record}/evidence", f"{record}/proof", f"/tlog/{partition}/checkpoint"):
            assert ledger.get(path, ledger.auditor).status_code == 503
    finally:
        ledger.sign()
    assert ledger.get(f"/v1/records/{position}/evidence", ledger.auditor).status_code == 200


# --- from the command line --------------------------------------------------------------------------------------


@pytest.fixture
def as_auditor(ledger: SignedLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONSENT_LEDGER_URL", ledger.door.url)
    monkeypatch.setenv("CONSENT_LEDGER_TOKEN", ledger.auditor)


@pytest.mark.usefixtures("as_auditor")
def test_the_command_fetches_a_bundle_as_a_whole_or_not_at_all_and_waits_for_a_checkpoint(
    ledger: SignedLedger, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    subject, file = new_resident(), tmp_path / "evidence.zip"
    _, _, position = ledger.record(notice(subject), collection(subject), use(subject))
    assert cli.run(["evidence", position, "-o", str(file), "--patience", "0"]) == 3
    assert list(tmp_path.iterdir()) == []
    codes: list[int] = []
    waiting = threading.Thread(
        target=lambda: codes.append(cli.run(["evidence", position, "-o", str(file), "--patience", "90"]))
    )
    waiting.start()
    ledger.sign()
    waiting.join(100)
    assert codes == [0]
    assert list(tmp_path.iterdir()) == [file]
    first = file.read_bytes()
    assert verify(first, KEYS).verdict["position"] == position
    capfd.readouterr()
    assert cli.run(["evidence", position, "--complete", "--known-at", position, "-o", str(file), "--json"]) == 0
    [said] = [line for line in capfd.readouterr().out.splitlines() if line.startswith("{")]  # the door logs there too
    assert orjson.loads(said) == {"position": position, "file": str(file), "bytes": file.stat().st_size}
    question = verify(file.read_bytes(), KEYS).question
    assert (question.complete, str(question.known_at)) == (True, position)
    assert cli.run(["verify", str(file), "--trusted-key", SIGNER.verifier.vkey]) == 0
    partition = tmp_path / "partition.ndjson"
    partition.write_bytes(b"".join(value + b"\n" for value in ledger.values(ledger.partition_of(subject))))
    capfd.readouterr()
    assert cli.run(["verify", str(file), "--trusted-key", SIGNER.verifier.vkey, "--partition", str(partition)]) == 0
    assert "completeness proven" in capfd.readouterr().out


@pytest.mark.usefixtures("as_auditor")
def test_a_bundle_that_cannot_be_written_leaves_nothing_behind(ledger: SignedLedger, tmp_path: Path) -> None:
    [position] = ledger.record(use(new_resident()))
    ledger.sign()
    folder = tmp_path / "taken"
    folder.mkdir()
    assert cli.run(["evidence", position, "-o", str(folder)]) == 2
    assert cli.run(["evidence", position, "-o", str(tmp_path / "none" / "evidence.zip")]) == 2
    assert list(tmp_path.iterdir()) == [folder]
    assert cli.run(["evidence", f"{Position.parse(position).partition}-999999", "-o", str(tmp_path / "a.zip")]) == 3
    assert list(tmp_path.iterdir()) == [folder]


def test_a_resident_with_a_thousand_events_gets_them_all_in_one_bundle(ledger: SignedLedger) -> None:
    subject = new_resident()
    ledger.record(notice(subject), collection(subject))
    results = ledger.door.batch([use(subject, time=rfc3339(ledger.clock())) for _ in range(998)])
    ledger.sign()
    path = f"/v1/records/{results[-1]['position']}/evidence"
    response = ledger.get(path, ledger.resident(subject), complete="true")
    report = checked(response, ledger.values(ledger.partition_of(subject)))
    assert report.completeness.proven
    assert sum(entry.event.subject == subject for entry in report.records) == 1_000


# --- proofs -----------------------------------------------------------------------------------------------------


def test_an_emitter_exchanges_its_receipt_for_a_proof_and_that_is_no_read(ledger: SignedLedger) -> None:
    subject = new_resident()
    answered = ledger.door.post(notice(subject)).json()
    ledger.sign()
    position = Position.parse(answered["position"])
    response = ledger.get(f"/v1/records/{position}/proof", ledger.service)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    [value] = [r.value for r in ledger.door.records() if r.position == position]
    proven = verify_proof(response.content, leaf_hash(value), KEYS, position.partition)
    assert proven.checkpoint.size > proven.index
    assert ledger.views_of(subject) == []


def test_who_may_have_a_proof(ledger: SignedLedger) -> None:
    subject = new_resident()
    [position] = ledger.record(notice(subject))
    ledger.sign()
    path = f"/v1/records/{position}/proof"
    parks = ledger.door.issuer.service("parks-app", {EVENTS_WRITE: ["/services/parks"]})
    assert code_of(ledger.get(path, parks)) == (403, ["source"])
    assert code_of(ledger.get(path, ledger.operator)) == (403, ["scope"])
    assert code_of(ledger.get(path, ledger.resident(subject))) == (403, ["source"]), "a service emitted it"
    assert ledger.get(path).status_code == 401
    assert ledger.views_of(subject) == []
    assert ledger.get(path, ledger.auditor).status_code == 200
    assert [e["data"]["scope"] for e in ledger.views_of(subject)] == [f"proof/{position}"]
    nowhere = f"{Position.parse(position).partition}-999999"
    assert ledger.get(f"/v1/records/{nowhere}/proof", ledger.service).status_code == 404
    assert ledger.get("/v1/records/03-1/proof", ledger.service).status_code == 422


def test_a_resident_gets_the_proof_of_what_they_emitted_themselves(ledger: SignedLedger) -> None:
    subject = new_resident()
    chosen = KINDS["anonymity.chosen"](id=uuid4().hex, source="/my", subject=subject, time=USED, data=AnonymityChosen())
    me = Principal("my-pages", {SELF: ()}, subject)
    [recorded] = ledger.door.runtime.recorder.submit([chosen], me, Door.MY).result(timeout=60).results
    assert isinstance(recorded, Recorded)
    ledger.sign()
    path = f"/v1/records/{recorded.line.position}/proof"
    assert ledger.get(path, ledger.resident(subject)).status_code == 200
    assert ledger.views_of(subject) == []
    for token in (ledger.service, ledger.resident(new_resident())):
        assert code_of(ledger.get(path, token)) == (403, ["source"])


# --- the trees --------------------------------------------------------------------------------------------------


def test_an_auditor_checks_the_whole_tree_from_tiles_and_checkpoint(ledger: SignedLedger) -> None:
    subject = new_resident()
    ledger.door.batch([use(subject) for _ in range(600)])
    ledger.sign()
    partition = ledger.partition_of(subject)
    response = ledger.get(f"/tlog/{partition}/checkpoint", ledger.auditor)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    signed = open_checkpoint(response.content, KEYS, partition)
    fetched: list[str] = []

    def read(tiles: Any) -> list[bytes]:
        found = []
        for tile in tiles:
            got = ledger.get(f"/tlog/{partition}/{tile.path}", ledger.auditor)
            assert (got.status_code, got.headers["content-type"]) == (200, "application/octet-stream")
            assert ("immutable" in got.headers["cache-control"]) == (tile.width == 256)
            assert "private" in got.headers["cache-control"]
            fetched.append(tile.path)
            found.append(got.content)
        return found

    check_tiles(signed.size, signed.root, read)
    assert {"tile/0/000", "tile/0/001"} < set(fetched)
    assert leaf_hash(ledger.values(partition)[0]) == read([Tile(0, 0)])[0][:32]


def test_tiles_beyond_the_signed_size_and_bad_paths_are_404(ledger: SignedLedger) -> None:
    ledger.sign()
    partition = ledger.partition_of("res_x")
    size = open_checkpoint(ledger.get(f"/tlog/{partition}/checkpoint", ledger.auditor).content, KEYS, partition).size
    index, width = divmod(size, 256)
    beyond = Tile(0, index, width + 1).path
    misspelled = ("tile/0/x000/000", "tile/00/000", "tile/0/0", "tile/entries/000", "tile/0/000.p/0", "tile/64/000")
    for tile in (beyond, *misspelled):
        assert ledger.get(f"/tlog/{partition}/{tile}", ledger.auditor).status_code == 404
    for path in ("/tlog/6/checkpoint", "/tlog/00/checkpoint", "/tlog/x/checkpoint", "/tlog/-1/tile/0/000"):
        assert ledger.get(path, ledger.auditor).status_code == 404


def test_trees_are_for_auditors(ledger: SignedLedger) -> None:
    ledger.sign()
    for path in ("/tlog/0/checkpoint", "/tlog/0/tile/0/000.p/1"):
        assert ledger.get(path, ledger.auditor).status_code == 200
        for token in (ledger.service, ledger.operator, ledger.resident(new_resident())):
            assert code_of(ledger.get(path, token)) == (403, ["scope"])
        assert ledger.get(path).status_code == 401
