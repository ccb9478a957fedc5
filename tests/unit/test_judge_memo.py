"""What a policy's answers are kept for: the same policy record, and nothing else."""

from msgspec.structs import replace

from ledger import events as e
from ledger import policy as policies
from ledger.history import PartitionHistory
from ledger.policy import my_san_jose

JANUARY, MARCH, MAY = "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z"


def published(version: str, since: str, *, strict: bool = False) -> e.Event:
    """A policy; a strict one finds nothing necessary for anything."""
    shipped = my_san_jose()
    purposes = tuple(replace(p, categories=()) for p in shipped.purposes) if strict else shipped.purposes
    data = replace(shipped, version=version, effective_from=since, purposes=purposes)
    return e.KINDS["policy.published"](id=f"{version}-{since}", source="/office", time=since, data=data)


def collected(number: int, time: str) -> e.Event:
    data = e.DataCollected(categories=("email",), purposes=("4.2",), origin="resident")
    return e.KINDS["data.collected"](id=f"c{number}", source="/s", subject="r", time=time, data=data)


def necessary(history: PartitionHistory, offset: int, event: e.Event) -> list[tuple[int, str, tuple[int, ...]]]:
    """Of each row that is open after the event: its offset, what it says about necessity, and what that cites."""
    rows = [row for row in history.apply(offset, event) if row.known_until is None]
    return [(row.offset, f.result, f.evidence) for row in rows for f in row.verdict.findings if f.rule == "necessary"]


def test_the_same_collection_is_judged_anew_under_another_policy() -> None:
    history = PartitionHistory()
    history.apply(0, published("1", JANUARY))
    assert necessary(history, 1, collected(1, MARCH)) == [(1, "holds", (0,))]
    assert necessary(history, 2, collected(2, MARCH)) == [(2, "holds", (0,))]
    late = necessary(history, 3, published("2", "2026-02-01T00:00:00Z", strict=True))
    assert late == [(1, "violated", (3,)), (2, "violated", (3,))]
    assert necessary(history, 4, collected(3, "2026-01-15T00:00:00Z")) == [(4, "holds", (0,))]


def test_a_policy_published_again_is_cited_by_its_own_record() -> None:
    history = PartitionHistory()
    history.apply(0, published("1", JANUARY))
    history.apply(5, published("1", MAY))
    assert necessary(history, 6, collected(1, MARCH)) == [(6, "holds", (0,))]
    assert necessary(history, 7, collected(2, MAY)) == [(7, "holds", (5,))]


def test_one_policy_object_asked_under_two_offsets_keeps_both_apart() -> None:
    one, shared = PartitionHistory(), PartitionHistory()
    one.apply(0, published("1", JANUARY))
    [(since, _, policy)] = [one.rules.full.policy_at(2**60) or (0, 0, None)]
    shared.rules.full._policies.append((since, 9, policy))  # type: ignore[arg-type]
    assert necessary(one, 10, collected(1, MARCH)) == [(10, "holds", (0,))]
    assert necessary(shared, 10, collected(1, MARCH)) == [(10, "holds", (9,))]


def test_what_is_kept_is_bounded() -> None:
    policy = policies.Policy(my_san_jose())
    for i in range(3 * policies._MEMO_LIMIT):
        policy.remember(i, i)
    assert len(policy._memo) <= policies._MEMO_LIMIT and policy.remembered(3 * policies._MEMO_LIMIT - 1) is not None
