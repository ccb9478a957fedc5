"""What the log alone says, on a real broker: equal wherever it is read, and equal to what the views say in SQL."""

import asyncio
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import orjson
import psycopg
import pytest

from ledger import codec
from ledger.errors import ConfigurationError, LogError, Malformed, Unavailable
from ledger.events import JUDGED, KINDS, ComplaintFiled, ComplaintResolved, Data, Event
from ledger.kafka import topics
from ledger.kafka.log import KafkaLog
from ledger.log import Entry, Position
from ledger.policy import my_san_jose
from projections import audit as views
from projections.answers import Answers, Filters
from projections.schema import Dsns
from projections.summary import OUTCOMES, Summary
from replay.analysis import audit, partitions, reading, what_if
from replay.analysis.judging import Draft, PartitionJudge, purposes_of
from replay.analysis.reading import Progress, Share
from tests.projected import append, history, many, new_schema, project, records
from tests.property.dice import Dice
from tests.property.reference_facts import policy
from tests.unit.test_cli import Done
from tests.unit.test_cli import run as run_here

PARTITIONS = 3


def run(*arguments: str | Path, settings: dict[str, str]) -> Done:
    return run_here(*arguments, **settings)  # type: ignore[arg-type]


def draft() -> Draft:
    return Draft(msgspec.structs.replace(policy(Dice(77), 3), version="draft"))


def complaints(partition: int) -> list[Event]:
    """One open, one answered, one answered before it came and filed twice, one answer without a complaint."""

    def about(kind: str, number: int, case: str, day: int, data: Data) -> Event:
        time, source = f"2026-03-{day:02d}T12:00:00Z", f"/s/{case}"
        return KINDS[kind](id=f"k{number}", source=source, subject=f"p{partition}r0", time=time, data=data)

    def filed(case: str) -> Data:
        return ComplaintFiled(complaint_id=case, kind="complaint", text="t")

    def answered(case: str) -> Data:
        return ComplaintResolved(complaint_id=case, outcome="settled", answer="t")

    return [
        about("complaint.filed", 1, "open", 2, filed("open")),
        about("complaint.filed", 2, "parks", 3, filed("k1")),
        about("complaint.resolved", 3, "permits", 4, answered("k1")),
        about("complaint.resolved", 4, "permits", 9, answered("k2")),
        about("complaint.filed", 5, "permits", 8, filed("k2")),
        about("complaint.filed", 6, "parks", 6, filed("k2")),
        about("complaint.resolved", 7, "parks", 6, answered("no-such")),
    ]


def filled(log: KafkaLog, histories: int) -> KafkaLog:
    for partition in range(PARTITIONS):
        found = [*history(500 + partition, partition), *many(partition, 520 + partition, histories)]
        append(log, partition, [*found, *complaints(partition)])
    return log


@pytest.fixture(scope="module")
def topic(kafka_address: str) -> str:
    """One log for all that only read it."""
    name = f"test.{uuid.uuid4().hex}"
    topics.create(kafka_address, {name: (topics.Kind.RECORDS, PARTITIONS)})
    return name


@pytest.fixture(scope="module")
def log(kafka_address: str, topic: str) -> Iterator[KafkaLog]:
    with KafkaLog(kafka_address, topic, linger_ms=1, deadline_s=60) as opened:
        yield filled(opened, 4)


@pytest.fixture
def short(make_topic: Callable[..., str], make_log: Callable[..., KafkaLog]) -> tuple[KafkaLog, str]:
    """A short log of the test's own, and its topic."""
    name = make_topic(PARTITIONS)
    return filled(make_log(topic=name), 0), name


# --- audit: the views against the fold --------------------------------------------------------------------------


def filters_of(log: KafkaLog) -> list[Filters]:
    """Every filter alone, with values that are there and with some that are not; and some together."""
    events = [codec.read(record.value) for p in range(PARTITIONS) for record in records(log, p)]
    judged = [event for event in events if event.kind in JUDGED]
    moments = sorted(codec.instant(event.time) for event in judged)
    middle, later = moments[len(moments) // 3], moments[2 * len(moments) // 3]
    purposes = sorted({p for event in judged for p in purposes_of(event)})
    services = sorted({event.source for event in judged})
    return [
        Filters(),
        Filters(since=middle),
        Filters(until=middle),
        Filters(since=middle, until=later),
        *(Filters(purpose=purpose) for purpose in (*purposes, "nowhere")),
        *(Filters(service=service) for service in (*services, "/nowhere")),
        *(Filters(outcome=outcome) for outcome in OUTCOMES),
        *(Filters(kind=kind) for kind in JUDGED),
        Filters(since=middle, service=services[0], outcome="inconsistent", purpose=purposes[0], kind="data.used"),
    ]


def by_log(address: str, topic: str, filters: Filters, period: str, workers: int = 1) -> Summary:
    work = partial(audit.of_partition, filters=filters, period=period)
    return audit.summary(partitions.run(work, reading.shares_of(address, topic), workers))


def by_views(dsns: Dsns, wanted: list[tuple[Filters, str]]) -> list[Summary]:
    async def ask() -> list[Summary]:
        async with Answers(dsns.reader) as answers, answers.auditor() as view:
            return [await views.summary(view, filters, period) for filters, period in wanted]

    return asyncio.run(ask())


def test_the_views_count_what_the_fold_over_the_log_counts(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=40)
    wanted = [(filters, period) for filters in filters_of(log) for period in ("month", "day")]
    found = by_views(dsns, wanted)
    folds = [audit.AuditFold(partition) for partition in range(PARTITIONS)]
    for fold, partition in zip(folds, range(PARTITIONS), strict=True):
        for record in records(log, partition):
            fold.take(record.position.offset, codec.read(record.value))
    for (filters, period), summary in zip(wanted, found, strict=True):
        counts = [audit.PartitionAudit(reading.Part(0, 0, 0, None), fold.counts(filters, period)) for fold in folds]
        assert summary == audit.summary(counts), (filters, period)
    assert found[0] == by_log(kafka_address, topic, Filters(), "month")
    whole = found[0]
    assert whole.total.judged > 200
    assert min(whole.total[1:]) > 0, "every outcome, and changes, are there to be counted"
    assert whole.open_complaints >= PARTITIONS
    assert whole.answered_complaints >= 2 * PARTITIONS
    assert found[2 * filters_of(log).index(Filters(service="/s/parks"))].answered_complaints >= PARTITIONS


def test_pages_of_verdicts_are_the_pure_judge_s_in_log_order(
    kafka_address: str, fresh_database: str, log: KafkaLog, topic: str
) -> None:
    dsns = new_schema(fresh_database)
    project(kafka_address, topic, dsns, log, batch_events=40)
    pure = []
    for partition in range(PARTITIONS):
        judge = PartitionJudge(partition)
        for record in records(log, partition):
            judge.take(record.position.offset, codec.read(record.value))
        pure += [(Position(partition, one.offset), one) for one in judge.verdicts()]

    async def pages(filters: Filters, limit: int, scan: int) -> list[views.Line]:
        lines: list[views.Line] = []
        async with Answers(dsns.reader) as answers, answers.auditor() as view:
            after: Position | None = None
            for _ in itertools.count():
                page = await views.verdicts(view, filters, after, limit, scan)
                assert len(page.lines) <= limit
                lines += page.lines
                if page.following is None:
                    return lines
                assert after is None or page.following > after, "each page begins behind the one before"
                after = page.following
        raise AssertionError

    for filters in filters_of(log):
        expected = [
            (position, one.event.kind, one.recorded.outcome, one.recorded.first_outcome)
            for position, one in pure
            if audit._wanted(one, filters)
        ]
        for limit, scan in ((500, 10_000), (40, 10_000), (40, 25)):
            found = asyncio.run(pages(filters, limit, scan))
            assert [(line.position, line.kind, line.outcome, line.first_outcome) for line in found] == expected


def test_a_summary_that_takes_too_long_is_refused(fresh_database: str) -> None:
    dsns = new_schema(fresh_database)

    async def ask() -> None:
        async with Answers(dsns.reader) as answers:
            with pytest.raises(views.TooMuch):
                async with answers.auditor() as view:
                    await views.summary(view, Filters(), "month", timeout_s=0.2)

    with psycopg.connect(dsns.owner) as holding:
        holding.execute("LOCK TABLE verdicts")  # so that the counting waits
        asyncio.run(ask())


# --- the same wherever it is read -------------------------------------------------------------------------------


def test_worker_processes_come_to_what_one_process_comes_to(kafka_address: str, log: KafkaLog, topic: str) -> None:
    work = partial(what_if.of_partition, draft=draft(), samples=3)
    shares = reading.shares_of(kafka_address, topic)
    seen: list[int] = []
    alone = partitions.run(work, shares)
    many_of_them = partitions.run(work, shares, 2, lambda done: seen.append(sum(done)))
    assert many_of_them == alone
    assert sum(one.judged for one in alone) > 200
    assert max(seen) == sum(log.head(p) for p in range(PARTITIONS))
    assert by_log(kafka_address, topic, Filters(), "day", workers=3) == by_log(kafka_address, topic, Filters(), "day")


def test_until_reads_through_that_record_and_no_further(kafka_address: str, log: KafkaLog, topic: str) -> None:
    shares = reading.shares_of(kafka_address, topic, [Position(1, 9)])
    work = partial(audit.of_partition, filters=Filters(), period="month")
    parts = [one.part for one in partitions.run(work, shares)]
    assert [part.through for part in parts] == [f"0-{log.head(0) - 1}", "1-9", f"2-{log.head(2) - 1}"]
    assert parts[1].records == 10
    for until, error in (
        ([Position(1, 10_000)], LogError),
        ([Position(9, 0)], ConfigurationError),
        ([Position(1, 1), Position(1, 2)], ConfigurationError),
    ):
        with pytest.raises(error):
            reading.shares_of(kafka_address, topic, until)


def test_a_record_that_cannot_be_read_stops_its_partition_alone(
    kafka_address: str, short: tuple[KafkaLog, str]
) -> None:
    log, topic = short
    before = by_log(kafka_address, topic, Filters(), "month")
    head = log.head(1)
    for future in log.append([Entry(1, "p1r0", b'{"type":"org.consent-ledger.data.eaten.v1"}')]):
        future.result(timeout=30)
    append(log, 1, history(900, 1, residents=1))
    found = partitions.run(
        partial(what_if.of_partition, draft=draft(), samples=1), reading.shares_of(kafka_address, topic)
    )
    whole = what_if.together(found)
    assert [part.partition for part in whole.halted] == [1]
    assert whole.halted[0].halted == (f"1-{head}", "unknown-type")
    assert (whole.halted[0].records, whole.halted[0].through) == (head, f"1-{head - 1}")
    assert by_log(kafka_address, topic, Filters(), "month") == before, "nothing behind it is counted"


def _killed(share: Share, progress: Progress) -> int:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)
    return share.partition


def _refuses(share: Share, progress: Progress) -> int:
    if share.partition == 1:
        raise Malformed([])
    progress(1)
    return share.partition


def test_a_worker_that_is_killed_ends_the_run_and_says_so() -> None:
    shares = [Share("nowhere:1", "t", p, 10) for p in range(4)]
    with pytest.raises(Unavailable, match="worker process has gone"):
        partitions.run(_killed, shares, 2)


def test_what_a_worker_raises_is_raised_here() -> None:
    shares = [Share("nowhere:1", "t", p, 10) for p in range(4)]
    with pytest.raises((Malformed, RuntimeError)):
        partitions.run(_refuses, shares, 2)


# --- the commands -----------------------------------------------------------------------------------------------


@pytest.fixture
def settings(kafka_address: str, log: KafkaLog, topic: str) -> dict[str, str]:
    return {"CONSENT_LEDGER_KAFKA": kafka_address, "CONSENT_LEDGER_TOPIC": topic}


@pytest.fixture
def draft_file(tmp_path: Path) -> Path:
    file = tmp_path / "draft.json"
    file.write_bytes(orjson.dumps(msgspec.to_builtins(draft().policy)))
    return file


def test_what_if_reports_and_exits_1_when_something_would_change(
    settings: dict[str, str], draft_file: Path, tmp_path: Path, kafka_address: str, topic: str
) -> None:
    page = tmp_path / "report.html"
    done = run("what-if", "--policy", draft_file, "--html", page, "--json", settings=settings)
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    work = partial(what_if.of_partition, draft=draft(), samples=5)
    whole = what_if.together(partitions.run(work, reading.shares_of(kafka_address, topic)))
    assert found == json.loads(orjson.dumps(whole.json(draft())))
    assert found["changed"] > 0
    assert all(part["halted"] is None for part in found["partitions"])
    text = page.read_text("utf-8")
    assert text.count("<svg") > 4
    told = run("what-if", "--policy", draft_file, "--workers", "2", settings=settings)
    assert told.returncode == 1
    assert f"{found['changed']:,} of {found['judged']:,} verdicts".encode() in told.stdout
    for subject in {f"p{p}r0" for p in range(PARTITIONS)}:
        assert subject not in text + done.stdout.decode() + told.stdout.decode(), "samples name no resident"


def test_what_if_exits_0_when_nothing_would_change(
    kafka_address: str, make_topic: Callable[..., str], make_log: Callable[..., KafkaLog], tmp_path: Path
) -> None:
    topic = make_topic(1)
    log, rule = make_log(topic=topic), tmp_path / "rule.json"
    rule.write_bytes(orjson.dumps(msgspec.to_builtins(my_san_jose())))
    settings = {"CONSENT_LEDGER_KAFKA": kafka_address, "CONSENT_LEDGER_TOPIC": topic}
    empty = run("what-if", "--policy", rule, "--json", settings=settings)
    assert empty.returncode == 3, "never 0 for nothing judged"
    assert json.loads(empty.stdout)["judged"] == 0
    assert run("audit", "--from-log", settings=settings).returncode == 3
    lines = (Path(__file__).parents[1] / "vectors" / "examples" / "v05-consent-then-withdrawn.ndjson").read_bytes()
    events: list[Event] = [codec.read(line) for line in lines.splitlines()]
    append(log, 0, events)
    done = run("what-if", "--policy", rule, "--json", settings=settings)
    assert (done.returncode, json.loads(done.stdout)["changed"]) == (0, 0)
    assert json.loads(done.stdout)["judged"] > 0


def test_audit_from_the_log_counts_and_fails_on_what_it_is_told(settings: dict[str, str]) -> None:
    done = run("audit", "--from-log", "--json", settings=settings)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["judged"] == sum(found[outcome] for outcome in OUTCOMES)
    assert len(found["complete_through"]) == PARTITIONS
    for outcome in ("inconsistent", "undetermined"):
        assert found[outcome] > 0
        assert run("audit", "--from-log", "--fail-on", outcome, settings=settings).returncode == 1
        only = ["--from-log", "--outcome", "consistent", "--fail-on", outcome]
        assert run("audit", *only, settings=settings).returncode == 0
    assert run("audit", "--from-log", "--purpose", "nowhere", settings=settings).returncode == 3
    csv = run("audit", "--from-log", "--format", "csv", settings=settings).stdout
    assert csv.startswith(b"group,name,count,consistent,inconsistent,undetermined,changed\r\nall,,")
    assert csv.count(b"\n") == csv.count(b"\r\n") > 8


def test_a_record_that_cannot_be_read_makes_both_commands_exit_3(
    kafka_address: str, short: tuple[KafkaLog, str], draft_file: Path
) -> None:
    log, topic = short
    settings = {"CONSENT_LEDGER_KAFKA": kafka_address, "CONSENT_LEDGER_TOPIC": topic}
    for future in log.append([Entry(0, "p0r0", b"nonsense")]):
        future.result(timeout=30)
    for arguments in (["what-if", "--policy", draft_file, "--json"], ["audit", "--from-log", "--json"]):
        done = run(*map(str, arguments), settings=settings)
        assert done.returncode == 3
        assert json.loads(done.stdout)["judged"] > 0, "what could be read is counted"
        assert f"record 0-{log.head(0) - 1} (json)".encode() in done.stderr
