"""The one place where the Kafka client's errors become ours.

with translated("reading ledger.events"):
    consumer.poll()
"""

import contextlib
from collections.abc import Iterator

from kafka import errors as kafka_errors

from ledger.errors import ConsentLedgerError, LogError, MissingRecords, Unavailable


def translate(error: BaseException, doing: str) -> ConsentLedgerError:
    """Our error for one of the client's. The client's text is not passed on: it may quote a record."""
    name = type(error).__name__
    match error:
        case ConsentLedgerError():
            return error
        case kafka_errors.OffsetOutOfRangeError() | kafka_errors.NoOffsetForPartitionError():
            return MissingRecords(f"{doing}: the log does not hold the record asked for ({name})")
        case kafka_errors.LogTruncationError():
            return MissingRecords(f"{doing}: the log has become shorter than it was ({name})")
        case kafka_errors.AuthorizationError():
            return LogError(f"{doing}: the broker refuses this client ({name}); check its rights")
        case kafka_errors.RetriableError() | OSError():
            return Unavailable(f"{doing}: the log cannot be reached ({name})")
        case _:
            return LogError(f"{doing}: {name}")


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raises our errors for the client's."""
    try:
        yield
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, doing) from error
