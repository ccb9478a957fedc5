"""The rules for `data.collected`: necessary, told, anonymous, social login, automatic (statements 1 to 4 and social).

`judge_collection(question, data)` adds its findings to the question. Source: contract/verdicts.md, `data.collected`.
"""

from collections.abc import Sequence

from msgspec import UNSET

from ledger import events as e
from ledger.findings import HOLDS, UNKNOWN, VIOLATED, Candidates, Question
from ledger.stamps import until


def judge_collection(q: Question, data: e.DataCollected) -> None:
    """Adds what the rules find about a collection."""
    if all(q.policy.knows_purpose(p) for p in data.purposes):
        q.find("purposes-known", HOLDS, "stated-in-policy")
    else:
        q.find("purposes-known", VIOLATED, "unknown-purpose")
    for category in data.categories:
        _necessary(q, category, data.purposes)
        _notice(q, category, data.purposes)
    chosen = q.facts.anonymous(q.t)
    if chosen is not None:
        identifying = [c for c in data.categories if q.policy.identifies(c)]
        for category in identifying:
            q.find("anonymity", VIOLATED, "identifying-while-anonymous", category, [chosen])
        if not identifying:
            q.find("anonymity", HOLDS, "anonymous-respected", evidence=[chosen])
    if data.origin == "social-login":
        _social_login(q, data)
    elif data.origin == "automatic":
        _automatic(q, data)


def _necessary(q: Question, category: str, purposes: Sequence[str]) -> None:
    if not q.policy.knows_category(category):
        q.find("necessary", VIOLATED, "unknown-category", category)
    elif any(q.policy.has(q.policy.necessary(p), category) for p in purposes):
        q.find("necessary", HOLDS, "necessary", category)
    else:
        q.find("necessary", VIOLATED, "category-not-necessary", category)


def _notice(q: Question, category: str, purposes: Sequence[str]) -> None:
    told = [q.facts.told(q.policy, p, category) for p in purposes]
    in_time = [stamp for stamp in told if stamp is not None and stamp[0] <= q.t]
    if len(in_time) == len(purposes):
        q.find("notice", HOLDS, "notice-given", category, in_time)
        return
    failed: Candidates = {}
    for key, stamps in q.facts.notices.items():
        if q.policy.has(key[0], category) and (n := until(stamps, q.t)):
            failed["notice", *key] = (stamps, n)
    q.find("notice", VIOLATED, "no-notice", category, failed=failed)


def _social_login(q: Question, data: e.DataCollected) -> None:
    allowed = q.policy.data.social_login
    if data.provider is UNSET or data.provider not in allowed.providers:
        q.find("social-login", VIOLATED, "unknown-provider")
    elif all(q.policy.has(allowed.categories, c) for c in data.categories) and all(
        q.policy.within_any_purpose(p, allowed.purposes) for p in data.purposes
    ):
        q.find("social-login", HOLDS, "within-social-login")
    else:
        q.find("social-login", VIOLATED, "social-login-exceeds")


def _automatic(q: Question, data: e.DataCollected) -> None:
    listed = q.policy.data.automatic.categories
    if not listed:
        q.find("automatic", UNKNOWN, "policy-silent")
        return
    others = [c for c in data.categories if not q.policy.has(listed, c)]
    for category in others:
        q.find("automatic", VIOLATED, "not-listed", category)
    if not others:
        q.find("automatic", HOLDS, "listed")
