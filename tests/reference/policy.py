"""A policy for the reference judge: trees walked parent by parent, nothing computed ahead.

>>> from types import SimpleNamespace as N
>>> category = N(id="email", parent="contact", identifying=True)
>>> parent = N(id="contact", parent=None, identifying=True)
>>> policy = Policy(N(purposes=(), categories=(category, parent), operations=(), recipients=(), legal_bases=()))
>>> policy.has(("contact",), "email"), policy.has(("email",), "contact"), policy.overlap_any("contact", ("email",))
(True, False, True)
"""

from collections.abc import Iterable, Mapping
from typing import Any


def within(one: str, other: str, items: Mapping[str, Any]) -> bool:
    """ "p is q or a descendant of q (through `parent`)"; "An id unknown to the policy is within itself only." """
    if one == other:
        return True
    item = items.get(one)
    return item is not None and item.parent is not None and within(item.parent, other, items)


class Policy:
    """The policy in force at the judged event's time, "for older notices and collections too"."""

    def __init__(self, published: Any) -> None:
        self.published = published
        self.purposes = {purpose.id: purpose for purpose in published.purposes}
        self.categories = {category.id: category for category in published.categories}
        self.operations = {operation.id: operation for operation in published.operations}
        self.identifying = {category.id: category.identifying for category in published.categories}
        self.recipients = {recipient.kind: recipient for recipient in published.recipients}
        self.legal_bases = {legal_basis.id: legal_basis for legal_basis in published.legal_bases}

    def has(self, categories: Iterable[str], c: str) -> bool:
        """ "A list of categories *has* c when c is within one of its items" """
        return any(within(c, item, self.categories) for item in categories)

    def overlap_any(self, c: str, others: Iterable[str]) -> bool:
        """ "Two categories *overlap* when either is within the other." """
        return any(within(c, x, self.categories) or within(x, c, self.categories) for x in others)

    def purpose_within_any(self, p: str, purposes: Iterable[str]) -> bool:
        """within(p, one of these purposes)"""
        return any(within(p, q, self.purposes) for q in purposes)

    def operation_within_any(self, operation: str, operations: Iterable[str]) -> bool:
        """within, "the same for categories and operations" """
        return any(within(operation, other, self.operations) for other in operations)

    def consistent(self, p: str, q: str) -> bool:
        """ "some pair has within(p, pair.purpose) and within(q, pair.with). One step, one way." """
        return any(
            within(p, pair.purpose, self.purposes) and within(q, pair.with_, self.purposes)
            for pair in self.published.consistent
        )

    def necessary_for(self, p: str) -> tuple[str, ...]:
        """ "`null`: the nearest ancestor's list"; "A root with `categories: null` has none" """
        purpose = self.purposes.get(p)
        while purpose is not None and purpose.categories is None:
            purpose = None if purpose.parent is None else self.purposes[purpose.parent]
        return () if purpose is None else tuple(purpose.categories)
