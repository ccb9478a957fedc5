"""The rules for `data.collected`: necessary, told, anonymous, social login, automatic (statements 1 to 4 and social).

`judge_collection(question, data)` adds its findings to the question. Source: contract/verdicts.md, `data.collected`.
"""

from collections.abc import Sequence

from msgspec import UNSET

from ledger import events as e
from ledger.findings import HOLDS, UNKNOWN, VIOLATED, Candidates, Finding, Question, finding
from ledger.stamps import until


def judge_collection(q: Question, data: e.DataCollected) -> None:
    """Adds what the rules find about a collection."""
    asked = (q.policy_offset, data.categories, data.purposes, data.origin, data.provider)
    by_policy = q.policy.remembered(asked)
    if by_policy is None:
        by_policy = _by_policy_alone(q, data)
        q.policy.remember(asked, by_policy)
    q.add_all(by_policy)
    _notice(q, data.categories, data.purposes)
    chosen = q.facts.anonymous(q.t) if q.facts.anonymity else None
    if chosen is not None:
        identifying = [c for c in data.categories if q.policy.identifies(c)]
        for category in identifying:
            q.find("anonymity", VIOLATED, "identifying-while-anonymous", category, [chosen])
        if not identifying:
            q.find("anonymity", HOLDS, "anonymous-respected", evidence=[chosen])


def _by_policy_alone(asked: Question, data: e.DataCollected) -> tuple[Finding, ...]:
    """What follows from the policy, whoever it is about and whenever: a city's services ask the same over and over."""
    q = Question(data, asked.t, asked.policy, asked.policy_offset, asked.facts, asked.rules)
    if all(q.policy.knows_purpose(p) for p in data.purposes):
        q.stands("purposes-known", HOLDS, "stated-in-policy")
    else:
        q.stands("purposes-known", VIOLATED, "unknown-purpose")
    for category in data.categories:
        _necessary(q, category, data.purposes)
    if data.origin == "social-login":
        _social_login(q, data)
    elif data.origin == "automatic":
        _automatic(q, data)
    return tuple(q.findings())


def _necessary(q: Question, category: str, purposes: Sequence[str]) -> None:
    if not q.policy.knows_category(category):
        q.find("necessary", VIOLATED, "unknown-category", category)
    elif any(q.policy.has(q.policy.necessary(p), category) for p in purposes):
        q.find("necessary", HOLDS, "necessary", category)
    else:
        q.find("necessary", VIOLATED, "category-not-necessary", category)


def _notice(q: Question, categories: Sequence[str], purposes: Sequence[str]) -> None:
    """Each category, by the first notice of each purpose."""
    policy, facts, t = q.policy, q.facts, q.t
    told: list[str] = []
    offsets = {q.policy_offset}
    for category in categories:
        cited = []
        for purpose in purposes:
            first = facts.told(policy, purpose, category)
            if first is None or first[0] > t:
                q.find("notice", VIOLATED, "no-notice", category, failed=_notices(q, category))
                break
            cited.append(first[1])
        else:
            told.append(category)
            offsets.update(cited)
    if told:
        q.add(finding("notice", HOLDS, "notice-given", sorted(set(told)), sorted(offsets), None))


def _notices(q: Question, category: str) -> Candidates:
    """The notices by then that hold the category."""
    failed: Candidates = {}
    for key, stamps in q.facts.notices.items():
        if q.policy.has(key[0], category) and (n := until(stamps, q.t)):
            failed[key] = (stamps, n)
    return failed


def _social_login(q: Question, data: e.DataCollected) -> None:
    allowed = q.policy.data.social_login
    if data.provider is UNSET or data.provider not in allowed.providers:
        q.stands("social-login", VIOLATED, "unknown-provider")
    elif all(q.policy.has(allowed.categories, c) for c in data.categories) and all(
        q.policy.within_any_purpose(p, allowed.purposes) for p in data.purposes
    ):
        q.stands("social-login", HOLDS, "within-social-login")
    else:
        q.stands("social-login", VIOLATED, "social-login-exceeds")


def _automatic(q: Question, data: e.DataCollected) -> None:
    listed = q.policy.data.automatic.categories
    if not listed:
        q.stands("automatic", UNKNOWN, "policy-silent")
        return
    others = [c for c in data.categories if not q.policy.has(listed, c)]
    for category in others:
        q.find("automatic", VIOLATED, "not-listed", category)
    if not others:
        q.stands("automatic", HOLDS, "listed")
