"""One tree of errors for the whole product; adapters translate a library's errors into it once.

Every error says what is wrong and what to do, and none carries a value that somebody sent:
an input error names the place (a JSON pointer) and a code, never the content.

>>> error = Malformed([Problem("/data/purpose", "missing")])
>>> str(error)
'the event breaks the contract: /data/purpose missing'
>>> error.problems[0].code
'missing'
"""

from collections.abc import Sequence
from typing import NamedTuple


class ConsentLedgerError(Exception):
    """The root: catch this to catch everything this product raises on purpose."""


class Problem(NamedTuple):
    """One thing wrong with an input: `pointer` (RFC 6901) says where, `code` says what."""

    pointer: str
    code: str


class Unparsable(ConsentLedgerError):
    """The bytes are not JSON in valid UTF-8, nest too deeply, or are not one object (HTTP 400)."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the input cannot be read as one JSON object: {code}")
        self.code = code


class TooLarge(ConsentLedgerError):
    """An event or a body is larger than the contract allows (HTTP 413)."""


class Malformed(ConsentLedgerError):
    """The input is JSON but breaks events.md (HTTP 422)."""

    def __init__(self, problems: Sequence[Problem], what: str = "the event breaks the contract") -> None:
        self.problems = tuple(problems)
        super().__init__(f"{what}: " + "; ".join(f"{p.pointer or '/'} {p.code}" for p in self.problems))


class MalformedPolicy(Malformed):
    """A policy has repeated ids, unknown references or parents in a cycle."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems, "the policy breaks the contract")


class Forbidden(ConsentLedgerError):
    """The caller may not do this: scope, source, or somebody else's data (HTTP 403)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Unauthenticated(ConsentLedgerError):
    """No token, or one that cannot be trusted (HTTP 401)."""

    def __init__(self, code: str, message: str = "a valid bearer token is needed") -> None:
        super().__init__(message)
        self.code = code


class Conflict(ConsentLedgerError):
    """The id is known with other content (HTTP 409); `position` is the first record's, `P-O`."""

    def __init__(self, position: str | None) -> None:
        super().__init__("this source has used this id for other content: send a new id for a new fact")
        self.position = position


class Erased(ConsentLedgerError):
    """The resident's key was destroyed: nothing can be sealed or unsealed for them (HTTP 410)."""


class UnknownKey(ConsentLedgerError):
    """A sealed field names a key that the vault has never held."""


class NotFound(ConsentLedgerError):
    """There is no such thing, or none that the caller may know of (HTTP 404)."""


class NotYet(ConsentLedgerError):
    """The answer is on its way: try again (HTTP 503 with `Retry-After`)."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(NotYet):
    """A part is down: the log, the database or the vault. Nothing was half-written."""


class GivenAnew(NotYet):
    """The consumer group has given the partitions out anew: what is under way is read again by whoever has them now."""


class LogError(ConsentLedgerError):
    """The log contradicts itself or the settings it must have."""


class UnreadableRecord(LogError):
    """A record in the log that this version cannot read: its partition stops there."""

    def __init__(self, position: str, code: str) -> None:
        super().__init__(f"record {position} cannot be read ({code}): the partition stops here until it can")
        self.position = position
        self.code = code


class MissingRecords(LogError):
    """The log no longer holds records that it held before."""


class TwoRoots(LogError):
    """Two checkpoints of one size, both signed by the ledger's key, have different roots: there are two histories."""

    def __init__(self, partition: int, size: int) -> None:
        super().__init__(
            f"two roots for one size: two checkpoints of partition {partition}, both signed for size {size}, have "
            "different roots; stop everything, keep both, and find out which history is the log's"
        )
        self.partition = partition
        self.size = size


class LogDiffers(LogError):
    """Log and checkpoints contradict each other: `position` is the first place, `code` its kind, `what` says it."""

    REMEDY = (
        "nothing more is recorded or projected until log and checkpoints agree again; "
        "`consent-ledger verify-log` says more"
    )

    def __init__(self, position: str, code: str, what: str) -> None:
        super().__init__(f"{what}: {self.REMEDY}")
        self.position = position
        self.code = code
        self.what = what


class ProjectionError(ConsentLedgerError):
    """A projection and its position do not fit together."""


class AlteredViews(ProjectionError):
    """Views or trees are not what the log says: somebody altered them, or they were restored in part."""


class StaleWriter(ProjectionError):
    """Another worker has this partition, or has moved it on: this one must not write."""


class TreeMismatch(ProjectionError, LogError):
    """A stored tree does not fit its partition's position: rows were altered. The partition stops."""


class ConfigurationError(ConsentLedgerError):
    """A setting is missing or wrong: the message names it and the remedy."""


class Unwritable(ConsentLedgerError):
    """A file or folder that was asked for cannot be written."""


class LocalServerError(ConsentLedgerError):
    """A development server could not be started: the message says why and what to do."""


class InvalidNote(ConsentLedgerError):
    """A signed note, key or signature is malformed or not valid."""


class BadToken(Unauthenticated):
    """A token whose signature, algorithm, issuer, audience or expiry does not hold."""
