"""What the port `ledger.log.Log` promises, kept by the adapter on a real broker."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.partitioner.default import DefaultPartitioner

from ledger.errors import ConfigurationError, LogError, MissingRecords, TooLarge, Unavailable, UnreadableRecord
from ledger.kafka import settings, topics
from ledger.kafka.log import KafkaLog, partition_of
from ledger.kafka.producer import MAX_VALUE_BYTES, Producer
from ledger.kafka.reader import Reader
from ledger.log import Entry, Log, Position

MakeLog = Callable[..., KafkaLog]
MakeTopic = Callable[..., str]


def whole(log: Log, partition: int) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []
    start = 0
    while records := log.read(partition, start):
        found += [(record.position.offset, record.value) for record in records]
        start = records[-1].position.offset + 1
    return found


def test_entries_of_a_partition_keep_their_order_and_get_rising_positions(make_log: MakeLog) -> None:
    log = make_log(partitions=3)
    entries = [Entry(i % 3, f"resident-{i}", b"%d" % i) for i in range(3_000)]
    positions = [future.result(timeout=30) for future in log.append(entries)]
    assert [p.partition for p in positions] == [entry.partition for entry in entries]
    for partition in range(3):
        offsets = [p.offset for p in positions if p.partition == partition]
        assert offsets == list(range(1_000))
        assert whole(log, partition) == [(i // 3, b"%d" % i) for i in range(partition, 3_000, 3)]


def test_every_position_given_is_where_the_bytes_are(make_log: MakeLog) -> None:
    log = make_log(partitions=2)
    values = {log.append([Entry(i % 2, None, bytes([i]))])[0].result(timeout=10): bytes([i]) for i in range(20)}
    for position, value in values.items():
        [record] = log.read(position.partition, position.offset, position.offset + 1)
        assert (record.position, record.value) == (position, value)
        assert record.timestamp_ms > 0


def test_the_bytes_come_back_as_they_were_given(make_log: MakeLog) -> None:
    log = make_log(partitions=1)
    values = [b"", b"\x00\xff\n", b'{"a":1}\r\n', bytes(range(256)) * 100]
    for future in log.append([Entry(0, None, value) for value in values]):
        future.result(timeout=10)
    assert [value for _, value in whole(log, 0)] == values


def test_appends_of_many_threads_do_not_mix_within_a_call(make_log: MakeLog) -> None:
    log = make_log(partitions=1)

    def call(number: int) -> list[int]:
        futures = log.append([Entry(0, None, b"%d" % number) for _ in range(50)])
        return [future.result(timeout=30).offset for future in futures]

    with ThreadPoolExecutor(8) as pool:
        for offsets in pool.map(call, range(40)):
            assert offsets == list(range(offsets[0], offsets[0] + 50))


def test_reading_at_the_head_gives_nothing_and_the_next_append_is_then_seen(make_log: MakeLog) -> None:
    log = make_log(partitions=2)
    assert log.head(0) == 0
    assert log.read(0, 0) == []
    log.append([Entry(0, None, b"first")])[0].result(timeout=10)
    assert log.head(0) == 1
    assert log.head(1) == 0
    assert [record.value for record in log.read(0, 0)] == [b"first"]
    assert log.read(0, 1) == []


def test_reads_before_stop_only(make_log: MakeLog) -> None:
    log = make_log(partitions=1)
    for future in log.append([Entry(0, None, b"%d" % i) for i in range(10)]):
        future.result(timeout=10)
    assert [record.position.offset for record in log.read(0, 3, 6)] == [3, 4, 5]
    assert [record.position.offset for record in log.read(0, 0, 2)] == [0, 1]
    assert log.read(0, 5, 5) == []


def test_a_position_past_the_head_is_missing_not_silently_empty(make_log: MakeLog) -> None:
    log = make_log(partitions=1)
    with pytest.raises(MissingRecords):
        log.read(0, 1)


def test_a_deleted_head_is_an_error_and_not_jumped_over(
    kafka_address: str, make_log: MakeLog, make_topic: MakeTopic
) -> None:
    topic = make_topic(1)
    log = make_log(topic=topic)
    for future in log.append([Entry(0, None, b"%d" % i) for i in range(10)]):
        future.result(timeout=10)
    with Reader(kafka_address, topic, {0: 0}) as reader:
        admin = KafkaAdminClient(**settings.admin(kafka_address))
        admin.delete_records({TopicPartition(topic, 0): 5})
        admin.close()
        with pytest.raises(MissingRecords):
            for _ in range(10):
                assert reader.poll(1) == {}
    with pytest.raises(MissingRecords, match="begins at offset 5, after 0"):
        log.read(0, 0)
    with pytest.raises(MissingRecords), Reader(kafka_address, topic, {0: 4}):
        pass
    assert log.read(0, 5)[0].value == b"5"


def test_a_reader_takes_its_partitions_in_batches_and_can_go_back(
    kafka_address: str, make_log: MakeLog, make_topic: MakeTopic
) -> None:
    topic = make_topic(3)
    log = make_log(topic=topic)
    for future in log.append([Entry(i % 3, None, b"%d" % i) for i in range(900)]):
        future.result(timeout=30)
    with Reader(kafka_address, topic, {0: 0, 2: 100}) as reader:
        assert reader.partitions == 3
        assert reader.heads() == {0: 300, 1: 300, 2: 300}
        assert reader.oldest(0) == {0: 0}
        seen: dict[int, list[int]] = {0: [], 2: []}
        while sum(map(len, seen.values())) < 500:
            polled = reader.poll(5, limit=120)
            assert 0 < sum(map(len, polled.values())) <= 120
            for partition, records in polled.items():
                seen[partition] += [record.position.offset for record in records]
        assert seen == {0: list(range(300)), 2: list(range(100, 300))}
        assert reader.position(2) == 300
        assert reader.poll(0.1) == {}
        reader.seek(2, 299)
        assert [record.value for record in reader.poll(5)[2]] == [b"899"]


def test_a_record_without_a_value_stops_its_partition_by_name(kafka_address: str, make_topic: MakeTopic) -> None:
    from kafka import KafkaProducer

    topic = make_topic(1)
    with KafkaProducer(**settings.producer(kafka_address)) as producer:
        producer.send(topic, value=b"good", partition=0)
        producer.send(topic, key=b"k", value=None, partition=0)
        producer.flush()
    with Reader(kafka_address, topic, {0: 0}) as reader:
        assert [record.value for record in reader.poll(5)[0]] == [b"good"]
        for _ in range(2):
            with pytest.raises(UnreadableRecord, match="0-1") as caught:
                reader.poll(5)
            assert caught.value.position == "0-1"


def test_a_resident_is_always_in_the_partition_that_kafka_would_choose() -> None:
    class Cluster:
        def topics(self) -> list[str]:
            return ["t"]

        def partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(6))

        def available_partitions_for_topic(self, topic: str) -> set[int]:
            return set(range(6))

    kafkas = DefaultPartitioner()
    for number in range(500):
        key = f"resident-{number}"
        assert partition_of(key, 6) == kafkas.partition("t", key, key.encode(), None, None, Cluster())


def test_an_oversize_record_is_refused_before_anything_is_appended(make_log: MakeLog) -> None:
    log = make_log(partitions=1)
    with pytest.raises(TooLarge):
        log.append([Entry(0, None, b"small"), Entry(0, None, b"x" * (MAX_VALUE_BYTES + 1))])
    assert log.head(0) == 0
    assert log.append([Entry(0, None, b"x" * MAX_VALUE_BYTES)])[0].result(timeout=10) == Position(0, 0)
    assert len(log.read(0, 0)[0].value) == MAX_VALUE_BYTES


def test_an_unknown_partition_fails_its_call_and_the_log_goes_on(make_log: MakeLog) -> None:
    log = make_log(partitions=1)
    with pytest.raises(Unavailable):
        log.append([Entry(7, None, b"x")])[0].result(timeout=10)
    for _ in range(100):
        try:
            log.append([Entry(0, None, b"y")])[0].result(timeout=10)
            break
        except Unavailable:
            threading.Event().wait(0.1)
    assert [value for _, value in whole(log, 0)] == [b"y"]
    assert log.replaced_clients == 1


def test_closing_waits_for_what_was_handed_over(kafka_address: str, make_topic: MakeTopic) -> None:
    topic = make_topic(1)
    with Producer(kafka_address, topic, linger_ms=200) as producer:
        futures = producer.append([Entry(0, None, b"%d" % i) for i in range(100)])
    assert [future.result(timeout=0).offset for future in futures] == list(range(100))


def test_a_cancelled_future_harms_nobody_else(make_log: MakeLog) -> None:
    log = make_log(partitions=1, linger_ms=100)
    futures = log.append([Entry(0, None, b"a"), Entry(0, None, b"b")])
    futures[0].cancel()
    assert futures[1].result(timeout=10) == Position(0, 1)
    assert log.append([Entry(0, None, b"c")])[0].result(timeout=10) == Position(0, 2)


def test_a_topic_that_does_not_exist_is_one_clear_error_and_is_not_made(kafka_address: str) -> None:
    with pytest.raises(LogError, match="does not exist"), KafkaLog(kafka_address, "test.nobody-made-this"):
        pass
    with pytest.raises(LogError, match="does not answer"), Producer(kafka_address, "test.nobody-made-this"):
        pass
    with KafkaAdminClient(**settings.admin(kafka_address)) as admin:
        assert "test.nobody-made-this" not in admin.list_topics()


def test_an_address_where_nobody_listens_is_unavailable() -> None:
    from ledger.kafka.process import free_port

    with pytest.raises(Unavailable), KafkaLog(f"127.0.0.1:{free_port()}", "ledger.events"):
        pass


def test_topics_are_made_as_the_contract_says_and_doctor_sees_every_difference(
    kafka_address: str, make_topic: MakeTopic
) -> None:
    name, inbox = make_topic(2), make_topic(1, topics.Kind.INTAKE)
    right = {name: (topics.Kind.RECORDS, 2), inbox: (topics.Kind.INTAKE, 1)}
    assert topics.differences(kafka_address, right) == []
    assert topics.create(kafka_address, right) == []
    with KafkaAdminClient(**settings.admin(kafka_address)) as admin:
        changes = {"retention.ms": "1000", "cleanup.policy": "compact", "flush.messages": "100"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, changes)])
    wrong = topics.differences(
        kafka_address, {**right, name: (topics.Kind.RECORDS, 6), "test.none": (topics.Kind.RECORDS, 1)}
    )
    assert {(d.topic, d.setting, d.wanted, d.found) for d in wrong} == {
        (name, "partitions", "6", "2"),
        (name, "retention.ms", "-1", "1000"),
        (name, "cleanup.policy", "delete", "compact"),
        (name, "flush.messages", "1", "100"),
        ("test.none", "exists", "yes", None),
    }


def test_the_settings_that_were_measured_are_the_settings_that_are_used() -> None:
    producer = settings.producer("a:1, b:2")
    assert producer["bootstrap_servers"] == ["a:1", "b:2"]
    assert (producer["acks"], producer["enable_idempotence"]) == ("all", True)
    assert producer["max_in_flight_requests_per_connection"] == 5
    assert producer["delivery_timeout_ms"] == 2_147_483_647
    assert (producer["linger_ms"], producer["batch_size"]) == (5, 262_144)
    reader = settings.reader("a:1")
    assert reader["auto_offset_reset"] == "none"
    assert reader["enable_auto_commit"] is False
    assert reader["check_crcs"] is True
    assert reader["isolation_level"] == "read_committed"
    assert (reader["max_poll_records"], reader["max_partition_fetch_bytes"]) == (10_000, 8_388_608)
    assert "group_id" not in reader
    assert producer["allow_auto_create_topics"] is reader["allow_auto_create_topics"] is False


def test_only_security_settings_may_be_added() -> None:
    secured = settings.reader("a:1", security={"security_protocol": "SSL", "ssl_cafile": "ca.pem"})
    assert secured["security_protocol"] == "SSL"
    with pytest.raises(ConfigurationError):
        settings.producer("a:1", security={"acks": 1})
    with pytest.raises(ConfigurationError):
        settings.producer(" , ")
