"""The rules for `data.used` and `data.shared`: purpose limitation and what goes with it (statements 1, 2, 5, 6, 8).

`judge_handling(question, data)` adds its findings to the question. Source: contract/verdicts.md.
"""

from collections.abc import Callable, Sequence

from msgspec import UNSET

from ledger import events as e
from ledger.facts import Coverage
from ledger.findings import CAUTION, HOLDS, UNKNOWN, VIOLATED, Candidates, Question, finding, first_between
from ledger.stamps import Stamp, until

SHARE = "share"
"""The operation of every share."""


def judge_handling(q: Question, data: e.DataUsed | e.DataShared) -> None:
    """Adds what the rules find about a use or a share."""
    basis, lawful = data.basis, False
    operation = data.operation if isinstance(data, e.DataUsed) else SHARE
    if isinstance(basis, e.ByLaw):
        lawful = basis.legal_basis in q.policy.legal_bases and basis.citation != ""
        result, code = (HOLDS, "law") if lawful else (VIOLATED, "unknown-legal-basis")
        q.add(finding("purpose-limitation", result, code, sorted(set(data.categories)), (q.policy_offset,), None))
    else:
        _purpose_limitations(q, data.purpose, data.categories, operation)
    if isinstance(data, e.DataUsed):
        if data.channel is not UNSET:
            _communication_preference(q, data.channel)
    else:
        _share(q, data, lawful)
    if lawful:
        assert isinstance(basis, e.ByLaw)
        _legal_demand(q, basis, data.recipient if isinstance(data, e.DataShared) else None)
    if q.facts.anonymity:
        _anonymity(q)
    if q.facts.contests:
        _accuracy(q)


def _purpose_limitations(q: Question, purpose: str, categories: Sequence[str], operation: str) -> None:
    """The findings of all categories, each under the first of steps 3 to 9 that fits it."""
    held: dict[str, list[str]] = {}
    cited: dict[str, set[int]] = {}
    for category in categories:
        code, evidence = _holds(q, purpose, category, operation)
        if code is None:
            result, code = _fails(q, purpose, category)
            failed = _failed(q, purpose, category, operation)
            q.find("purpose-limitation", result, code, category, failed=failed)
        elif code in held:
            held[code].append(category)
            cited[code].update(evidence)
        else:
            held[code], cited[code] = [category], {q.policy_offset, *evidence}
    for code, of_code in held.items():
        if len(of_code) > 1:
            of_code = sorted(set(of_code))
        q.add(finding("purpose-limitation", HOLDS, code, of_code, sorted(cited[code]), None))


def _holds(q: Question, purpose: str, category: str, operation: str) -> tuple[str | None, Sequence[int]]:
    """Steps 3 to 5: the code under which the purpose holds, and the offsets of the records that show it."""
    policy, facts = q.policy, q.facts
    if purpose in policy.purposes:
        after = facts.erased_until(policy, category, q.t) + 1 if facts.erasures else 0
        chain = policy.purposes[purpose]
        stated = consistent = None
        for c in policy.categories[category]:
            by = facts.collected.get(c)
            if by is not None:
                for p in chain:
                    stamps = by.get(p)
                    if stamps is not None:
                        stated = _first_stated(q, category, after, p, stamps, stated)
        if stated is not None:
            return "stated-purpose", (stated[0][1], stated[1][1])
        for c in policy.categories[category]:
            by = facts.collected.get(c)
            if by is not None:
                for p, stamps in by.items():
                    if policy.consistent(purpose, p):
                        consistent = _first_stated(q, category, after, p, stamps, consistent)
        if consistent is not None:
            return "consistent-purpose", (consistent[0][1], consistent[1][1])
    consent = facts.consent(policy, purpose, category, operation, q.t) if facts.consents else None
    return (None, ()) if consent is None else ("consent", (consent[1],))


def _first_stated(
    q: Question, category: str, after: int, purpose: str, stamps: list[Stamp], first: tuple[Stamp, Stamp] | None
) -> tuple[Stamp, Stamp] | None:
    """The first collection for a purpose that the resident had been told by then, with that notice; or `first`."""
    notice = q.facts.told(q.policy, purpose, category)
    if notice is None:
        return first
    told = notice[0]
    collection = first_between(stamps, told if told > after else after, q.t)
    if collection is None or (first is not None and first <= (collection, notice)):
        return first
    return collection, notice


def _fails(q: Question, purpose: str, category: str) -> tuple[str, str]:
    """Steps 6 to 9: why it does not hold."""
    policy, t = q.policy, q.t
    if purpose not in policy.purposes:
        return VIOLATED, "unknown-purpose"
    after = q.facts.erased_until(policy, category, t) + 1
    chain, collected, declared = policy.purposes[purpose], False, False
    for c in policy.categories[category]:
        for p, stamps in q.facts.collected.get(c, _NONE).items():
            if first_between(stamps, after, t):
                collected = True
                declared = declared or p in chain or policy.consistent(purpose, p)
    if not collected:
        return UNKNOWN, "no-collection-on-record"
    return VIOLATED, "purpose-not-told" if declared else "purpose-not-stated"


_NONE: dict[str, list[Stamp]] = {}


def _failed(q: Question, purpose: str, category: str, operation: str) -> Candidates:
    """The consents that once covered this, and the collections of the category, by t."""
    policy, t = q.policy, q.t
    failed = _failed_consents(q, lambda c: c.covers(policy, purpose, category, operation))
    for key, stamps in q.facts.collections.items():
        if policy.has(key[0], category) and (n := until(stamps, t)):
            failed[key] = (stamps, n)
    return failed


def _failed_consents(q: Question, matches: Callable[[Coverage], bool]) -> Candidates:
    """Consents that would have covered this, given by t and no longer active."""
    failed: Candidates = {}
    for coverage, intervals in q.facts.consents.items():
        if matches(coverage) and (n := until(intervals.starts, q.t)):
            failed[coverage] = (intervals.starts, n)  # of four parts, so never the name of a group of collections
    return failed


def _communication_preference(q: Question, name: str) -> None:
    channel = q.policy.channels.get(name)
    if channel is None or not channel.requires_preference:
        return
    last = q.facts.last_preference(name, q.t)
    offsets = {q.policy_offset} if last is None else {q.policy_offset, last[1]}
    if last is not None and last[2]:
        made = finding("communication-preference", HOLDS, "preferred", (), sorted(offsets), None)
    else:
        code = "notification-not-preferred"
        made = finding("communication-preference", VIOLATED, code, (), sorted(offsets), None)
    q.add(made._replace(statement=channel.statement))


def _share(q: Question, data: e.DataShared, lawful: bool) -> None:
    if lawful:
        q.stands("recipient", HOLDS, "law")
        return
    described = q.policy.recipients.get(data.recipient_kind)
    if data.recipient_kind == "social-provider" or data.recipient in q.policy.providers:
        q.stands("social-provider", VIOLATED, "shared-with-social-provider")
    if described is not None:
        q.stands("recipient", HOLDS, "described")
    else:
        _recipient_consent(q, data)
    if described is not None and described.requires_agreement:
        _safeguards(q, data)


def _recipient_consent(q: Question, data: e.DataShared) -> None:
    consents = [q.facts.consent(q.policy, data.purpose, c, SHARE, q.t, data.recipient) for c in data.categories]
    given = [stamp for stamp in consents if stamp is not None]
    if len(given) == len(consents):
        q.find("recipient", HOLDS, "consent", evidence=given)
        return
    missing = [c for c, stamp in zip(data.categories, consents, strict=True) if stamp is None]
    failed = _failed_consents(
        q,
        lambda coverage: (
            data.recipient in (coverage.recipients or ())
            and any(coverage.covers(q.policy, data.purpose, c, SHARE) for c in missing)
        ),
    )
    q.find("recipient", VIOLATED, "recipient-not-described", failed=failed)


def _safeguards(q: Question, data: e.DataShared) -> None:
    signed = q.rules.agreements(data.recipient)
    for agreement in signed:
        if (
            q.rules.active(agreement, q.t)
            and q.policy.within_any_purpose(data.purpose, agreement.purposes)
            and all(q.policy.has(agreement.categories, c) for c in data.categories)
        ):
            q.find("safeguards", HOLDS, "agreement-active", evidence=[agreement[:2]])
            return
    # Only those begun by t: one that begins later touches no earlier event, so it may not stand in its verdict.
    stamps = [agreement[:2] for agreement in signed if agreement.valid_from <= q.t]
    q.find("safeguards", VIOLATED, "no-active-agreement", failed={("agreement",): (stamps, len(stamps))})


def _legal_demand(q: Question, basis: e.ByLaw, recipient: str | None) -> None:
    if not q.policy.legal_bases[basis.legal_basis].requires_decision:
        q.stands("legal-demand", CAUTION, "claimed-only")
        return
    demand_id = None if basis.demand_id is UNSET else basis.demand_id
    found = q.rules.decision(demand_id, basis.legal_basis, recipient, q.t) if demand_id is not None else None
    if found is None:
        q.stands("legal-demand", UNKNOWN, "undecided-demand")
        return
    decision, cited = found[2], [found[:2]]
    exempt = [c for c in q.categories if q.policy.overlaps(c, decision.exempt_categories)]
    if not decision.disclose:
        q.find("legal-demand", VIOLATED, "disclosure-refused", evidence=cited)
    elif exempt:
        for category in exempt:
            q.find("legal-demand", VIOLATED, "exempt-from-disclosure", category, cited)
    else:
        q.find("legal-demand", HOLDS, "disclosure-decided", evidence=cited)


def _anonymity(q: Question) -> None:
    chosen = q.facts.anonymous(q.t)
    if chosen is not None:
        for category in q.categories:
            if q.policy.identifies(category):
                q.find("anonymity", CAUTION, "identified-while-anonymous", category, [chosen])


def _accuracy(q: Question) -> None:
    for contested, intervals in q.facts.contests.items():
        first = intervals.first_covering(q.t)
        if first is None:
            continue
        for category in q.categories:
            if q.policy.overlaps(category, contested):
                q.find("accuracy", CAUTION, "contested", category, [first])
