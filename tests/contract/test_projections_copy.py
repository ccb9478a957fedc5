"""What is written as ready lines of COPY comes back as it stood in the log, whatever the text."""

from collections.abc import Callable

import psycopg
import pytest

from ledger import codec
from ledger import events as e
from ledger.kafka.log import KafkaLog
from ledger.log import Entry
from projections.cells import NULL, escaped
from tests.projected import new_schema, project

MakeTopic = Callable[..., str]
MakeLog = Callable[..., KafkaLog]
HOSTILE = (
    "\\",
    "\\N",
    "\\.",
    "\n\\.\n",
    "\\\\n",
    "a\tb\nc\rd",
    "\r\n",
    '{"a":"\\"\\\\ \\t \\u0000"}',
    "é𝄞\u2028\u0085",
    "'; DROP TABLE timeline; --",
    "\\x41\\101",
    "",
)


def test_hostile_text_survives_a_line_of_copy(fresh_database: str) -> None:
    with psycopg.connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE said (number integer, nothing text, text text, last text)")
        with cursor.copy("COPY said FROM STDIN") as copy:
            for i, text in enumerate(HOSTILE):
                copy.write(f"{i}\t{NULL}\t{escaped(text)}\t{escaped(text)}\n".encode())
        found = cursor.execute("SELECT number, nothing, text, last FROM said ORDER BY number").fetchall()
    assert found == [(i, None, text, text) for i, text in enumerate(HOSTILE)]


def loose(event: e.Event) -> bytes:
    """The same event as JSON of another hand: tabs, line ends and carriage returns between its parts."""
    return codec.encode(event).replace(b'"data":{', b'"data"\t:\r\n\t{\n').replace(b',"time"', b'\n,\t\r"time"')


@pytest.mark.timeout(600)
def test_records_that_only_other_hands_would_write_keep_their_bytes_in_the_views(
    kafka_address: str, fresh_database: str, make_topic: MakeTopic, make_log: MakeLog
) -> None:
    topic = make_topic(1)
    log = make_log(topic=topic)
    about = e.About(source="/s/a%09b'(x)", id="N.:_-")
    data: list[tuple[str, e.Data]] = [
        ("disclosure.withheld", e.DisclosureWithheld(about=about, citation=text, until="2026-04-01T00:00:00Z"))
        for text in ("\\N", "\\.", "a\\tb\tc\nd\re", '"\\"')
    ]
    law = e.ByLaw(legal_basis="warrant", citation='\\N\t\\\\"')
    data.append(("data.used", e.DataUsed(categories=("email",), purpose="4.2", operation="consult", basis=law)))
    data.append(("data.collected", e.DataCollected(categories=("n", "null"), purposes=("null",), origin="resident")))
    made = [
        e.KINDS[kind](id=f"e{i}", source="/s/%5CN/b'(x)", subject="N_-n", time="2026-03-03T12:00:00.5+23:59", data=one)
        for i, (kind, one) in enumerate(data)
    ]
    sent = [body for event in made for body in (loose(event),)]
    for future in log.append([Entry(0, "N_-n", body) for body in sent]):
        future.result(timeout=60)
    dsns = new_schema(fresh_database)
    assert project(kafka_address, topic, dsns, log) == {}
    with psycopg.connect(dsns.owner) as connection:
        bodies = connection.execute('SELECT body, source, subject, recorded FROM timeline ORDER BY "offset"').fetchall()
        citations = connection.execute('SELECT citation FROM withheld ORDER BY "offset"').fetchall()
        held = connection.execute("SELECT category, purposes, told, notice_id FROM holdings ORDER BY 1").fetchall()
        judged = connection.execute("SELECT kind, known_until, policy_id, basis FROM verdicts ORDER BY 1").fetchall()
    assert bodies == [(body.decode(), "/s/%5CN/b'(x)", "N_-n", None) for body in sent]
    assert [text for (text,) in citations] == ["\\N", "\\.", "a\\tb\tc\nd\re", '"\\"']
    assert held == [("n", ["null"], [], None), ("null", ["null"], [], None)]
    assert judged == [("data.collected", None, None, []), ("data.used", None, None, [])]
