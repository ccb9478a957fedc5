"""A policy as data: whether it is well-formed, and its trees and relations in a form that judging can ask.

Purposes, categories and operations are trees. `Policy` answers the questions of verdicts.md:

>>> from ledger.policy import my_san_jose
>>> policy = Policy(my_san_jose())
>>> policy.within_purpose("4.2/pothole-report", "4.2"), policy.within_purpose("4.2", "4.2/pothole-report")
(True, False)
>>> policy.consistent("4.6", "4.2")
True
>>> policy.has(("contact",), "email")
True

An id unknown to the policy is within itself only. No I/O but for reading the policy that ships with the product.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec

from ledger.errors import Malformed, MalformedPolicy, Problem
from ledger.events import PolicyPublished

MY_SAN_JOSE = "my-san-jose-2018-04-18.json"
_CACHE_LIMIT = 100_000
_MEMO_LIMIT = 4_096


def my_san_jose() -> PolicyPublished:
    """The My San Jose policy of 2018-04-18, as it ships with the product."""
    return load(resources.files("ledger").joinpath("policies", MY_SAN_JOSE).read_bytes())


def load(raw: bytes) -> PolicyPublished:
    """Reads the `data` of a `policy.published` and checks it; raises `Unparsable` or `Malformed`."""
    from ledger import codec  # the codec checks policies inside events, so it imports this module

    codec.strict_members(raw)
    try:
        policy = msgspec.json.decode(raw, type=PolicyPublished)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Malformed([codec.problem_of(error)], "the policy breaks the contract") from None
    found = [*codec.common_problems(policy, ""), *problems(policy)]
    if found:
        raise MalformedPolicy(found)
    return policy


def problems(policy: PolicyPublished) -> list[Problem]:
    """What makes the policy malformed: ids that repeat, references that lead nowhere, parents in a cycle."""
    return list(_problems(policy))


def _problems(policy: PolicyPublished) -> Iterator[Problem]:
    statements = {s.id for s in policy.statements} | {p.id for p in policy.purposes}
    purposes = {p.id for p in policy.purposes}
    categories = {c.id for c in policy.categories}
    named: list[tuple[str, list[str]]] = [
        ("statements", [s.id for s in policy.statements]),
        ("purposes", [p.id for p in policy.purposes]),
        ("categories", [c.id for c in policy.categories]),
        ("operations", [o.id for o in policy.operations]),
        ("recipients", [r.kind for r in policy.recipients]),
        ("legal_bases", [b.id for b in policy.legal_bases]),
    ]
    for name, ids in named:
        yield from _repeats(name, ids)
    trees: list[tuple[str, dict[str, str | None], Sequence[str]]] = [
        ("purposes", {p.id: p.parent for p in policy.purposes}, named[1][1]),
        ("categories", {c.id: c.parent for c in policy.categories}, named[2][1]),
        ("operations", {o.id: o.parent for o in policy.operations}, named[3][1]),
    ]
    for name, parents, order in trees:
        yield from _tree(name, parents, order)
    for i, p in enumerate(policy.purposes):
        yield from _unknown(f"/purposes/{i}/categories", p.categories or (), categories, "unknown-category")
    for i, pair in enumerate(policy.consistent):
        yield from _reference(f"/consistent/{i}/purpose", pair.purpose, purposes, "unknown-purpose")
        yield from _reference(f"/consistent/{i}/with", pair.with_, purposes, "unknown-purpose")
    for i, r in enumerate(policy.recipients):
        yield from _reference(f"/recipients/{i}/statement", r.statement, statements, "unknown-statement")
    for channel in policy.channels.values():
        yield from _reference("/channels", channel.statement, statements, "unknown-statement")
    yield from _unknown("/automatic/categories", policy.automatic.categories, categories, "unknown-category")
    social = policy.social_login
    yield from _unknown("/social_login/categories", social.categories, categories, "unknown-category")
    yield from _unknown("/social_login/purposes", social.purposes, purposes, "unknown-purpose")


def _repeats(name: str, ids: Sequence[str]) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, item in enumerate(ids):
        if item in seen:
            yield Problem(f"/{name}/{i}", "repeated-id")
        seen.add(item)


def _reference(pointer: str, item: str, known: set[str], code: str) -> Iterator[Problem]:
    if item not in known:
        yield Problem(pointer, code)


def _unknown(pointer: str, items: Iterable[str], known: set[str], code: str) -> Iterator[Problem]:
    for i, item in enumerate(items):
        if item not in known:
            yield Problem(f"{pointer}/{i}", code)


def _tree(name: str, parents: Mapping[str, str | None], order: Sequence[str]) -> Iterator[Problem]:
    for i, item in enumerate(order):
        parent = parents[item]
        if parent is not None and parent not in parents:
            yield Problem(f"/{name}/{i}/parent", "unknown-parent")
        elif _in_cycle(item, parents):
            yield Problem(f"/{name}/{i}/parent", "cycle")


def _in_cycle(item: str, parents: Mapping[str, str | None]) -> bool:
    at = parents[item]
    for _ in range(len(parents)):
        if at is None or at not in parents:
            return False
        if at == item:
            return True
        at = parents[at]
    return False  # leads into a cycle that it is not part of: the members are named


class Chains(dict[str, tuple[str, ...]]):
    """Every id of a tree with itself and its ancestors, nearest first; an id that is not in the tree alone."""

    def __missing__(self, item: str) -> tuple[str, ...]:
        return (item,)


def _chains(parents: Mapping[str, str | None]) -> Chains:
    chains = Chains()
    for item in parents:
        chain, at = [item], parents[item]
        while at is not None:
            chain.append(at)
            at = parents[at]
        chains[item] = tuple(chain)
    return chains


class Policy:
    """A well-formed policy, made ready to be asked. Immutable but for caches of its own answers."""

    def __init__(self, data: PolicyPublished) -> None:
        self.data = data
        self.version = data.version
        self.policy_id = data.policy_id
        self.name = (data.policy_id, data.version)
        self.identifying = {c.id: c.identifying for c in data.categories}
        self.channels = data.channels
        self.recipients = {r.kind: r for r in data.recipients}
        self.legal_bases = {b.id: b for b in data.legal_bases}
        self.providers = data.social_login.providers
        self.purposes = _chains({p.id: p.parent for p in data.purposes})
        self.categories = _chains({c.id: c.parent for c in data.categories})
        self._operations = _chains({o.id: o.parent for o in data.operations})
        self._necessary = {p.id: p.categories for p in data.purposes}
        self._has: dict[tuple[tuple[str, ...], str], bool] = {}
        self._memo: dict[object, Any] = {}
        self._consistent: dict[tuple[str, str], bool] = {}

    def knows_purpose(self, purpose: str) -> bool:
        """Whether the policy has this purpose."""
        return purpose in self.purposes

    def knows_category(self, category: str) -> bool:
        """Whether the policy has this category."""
        return category in self.categories

    def within_purpose(self, p: str, q: str) -> bool:
        """within(p, q): p is q or a descendant of q."""
        return q in self.purposes[p]

    def within_any_purpose(self, p: str, purposes: Sequence[str]) -> bool:
        """Whether p is within one of the purposes."""
        for q in self.purposes[p]:  # noqa: SIM110 - a generator costs more than the rest of it
            if q in purposes:
                return True
        return False

    def within_operation(self, operation: str, operations: Sequence[str]) -> bool:
        """Whether the operation is within one of these."""
        return any(o in operations for o in self._operations[operation])

    def has(self, categories: tuple[str, ...], category: str) -> bool:
        """Whether the list *has* the category: it is within one of its items."""
        key = (categories, category)
        answer = self._has.get(key)
        if answer is None:
            answer = any(c in categories for c in self.categories[category])
            if len(self._has) >= _CACHE_LIMIT:
                self._has.clear()
            self._has[key] = answer
        return answer

    def overlaps(self, category: str, categories: Sequence[str]) -> bool:
        """Whether the category overlaps one of these: either is within the other."""
        up = self.categories[category]
        return any(c in up or category in self.categories[c] for c in categories)

    def consistent(self, p: str, q: str) -> bool:
        """consistent(p, q): some pair has within(p, pair.purpose) and within(q, pair.with)."""
        answer = self._consistent.get((p, q))
        if answer is None:
            answer = any(
                self.within_purpose(p, pair.purpose) and self.within_purpose(q, pair.with_)
                for pair in self.data.consistent
            )
            if len(self._consistent) >= _CACHE_LIMIT:
                self._consistent.clear()
            self._consistent[p, q] = answer
        return answer

    def remembered(self, asked: object) -> Any:
        """What `remember` was told about this; None when that was nothing, or is forgotten."""
        return self._memo.get(asked)

    def remember(self, asked: object, answer: Any) -> None:
        """Keeps an answer that follows from this policy and from what is asked alone."""
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        self._memo[asked] = answer

    def __deepcopy__(self, memo: object) -> "Policy":
        return self  # nothing in it changes, but for caches

    def necessary(self, purpose: str) -> tuple[str, ...]:
        """The categories necessary for a purpose: its own list, or its nearest ancestor's; none when unknown."""
        for p in self.purposes[purpose]:
            categories = self._necessary.get(p)
            if categories is not None:
                return categories
        return ()

    def identifies(self, category: str) -> bool:
        """A category's own flag; an unknown category counts as identifying."""
        return self.identifying.get(category, True)
