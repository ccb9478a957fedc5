"""The tables of findings: one judged event, everything that is known, the policy in force at its time.

Every rule is a method, and every line of it a quoted sentence; see `tests.reference.judge`.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET

from tests.reference.policy import Policy
from tests.reference.records import Record, instant, latest

Finding = tuple[str, str, str, tuple[str, ...]]
"""(`rule`, `result`, `code`, `categories`), the categories sorted."""


class Case:
    """One judged event, everything known, and the policy in force at its time."""

    def __init__(self, judged: Record, records: Sequence[Record], policy: Policy) -> None:
        self.data = judged.data
        self.kind = judged.kind
        self.t = judged.time
        self.policy = policy
        self.records = [r for r in records if r.event.subject is UNSET or r.event.subject == judged.event.subject]

    def of(self, *kinds: str, until: int | None = None) -> list[Record]:
        """The records of these kinds, this resident's or reference facts, with `time` ≤ t (or `until`)."""
        limit = self.t if until is None else until
        return [r for r in self.records if r.kind in kinds and r.time <= limit]

    def told(self, q: str, c: str, at: int) -> bool:
        """ "a notice to this resident with `time` ≤ t', holding c, with within(q, one of its purposes)" """
        return any(
            self.policy.has(notice.data.categories, c) and self.policy.purpose_within_any(q, notice.data.purposes)
            for notice in self.of("notice.given", until=at)
        )

    def anonymous(self) -> bool:
        """ "the latest (`time`, position) with `time` ≤ t" """
        last = latest(self.of("anonymity.chosen", "anonymity.ended"))
        return last is not None and last.kind == "anonymity.chosen"

    def revealing(self) -> list[str]:
        """ "identifying (a category's own flag, not an ancestor's) or unknown categories" """
        return [c for c in self.data.categories if self.policy.identifying.get(c, True)]

    def active_consents(self) -> list[Record]:
        """ "Active when that is a `consent.given` and t < `expires_at`" """
        events = self.of("consent.given", "consent.withdrawn")
        active = []
        for consent_id in {r.data.consent_id for r in events}:
            # "the latest (`time`, position) among its given and withdrawn events with `time` ≤ t"
            last = latest([r for r in events if r.data.consent_id == consent_id])
            if last is None or last.kind != "consent.given":
                continue
            if last.data.expires_at is UNSET or self.t < instant(last.data.expires_at):
                active.append(last)
        return active

    def covers(self, consent: Record, p: str, c: str) -> bool:
        """ "A consent covers (p, c): …" """
        # "(a share's operation is `share`)"
        operation = "share" if self.kind == "data.shared" else self.data.operation
        given = consent.data
        return (
            # "within(p, one of its purposes)"
            self.policy.purpose_within_any(p, given.purposes)
            # "its categories are absent or have c"
            and (given.categories is UNSET or self.policy.has(given.categories, c))
            # "its operations are absent or the event's operation is within one of them"
            and (given.operations is UNSET or self.policy.operation_within_any(operation, given.operations))
        )

    # --- `data.collected` ---

    def collection(self) -> list[Finding]:
        """The table of `data.collected`."""
        findings = [self.purposes_known(), *(self.necessary(c) for c in self.data.categories)]
        findings += [self.notice(c) for c in self.data.categories]
        if self.anonymous():
            # "identifying … or unknown categories → `violated/identifying-while-anonymous` with those"
            those = tuple(self.revealing())
            if those:
                findings.append(("anonymity", "violated", "identifying-while-anonymous", those))
            else:
                findings.append(("anonymity", "holds", "anonymous-respected", ()))
        if self.data.origin == "social-login":
            findings.append(self.social_login())
        if self.data.origin == "automatic":
            findings.append(self.automatic())
        return findings

    def purposes_known(self) -> Finding:
        """ "when every purpose is in the policy" """
        if all(p in self.policy.purposes for p in self.data.purposes):
            return "purposes-known", "holds", "stated-in-policy", ()
        return "purposes-known", "violated", "unknown-purpose", ()

    def necessary(self, c: str) -> Finding:
        """ "no declared purpose's categories have it (`null`: the nearest ancestor's list)" """
        if c not in self.policy.categories:
            return "necessary", "violated", "unknown-category", (c,)
        if not any(self.policy.has(self.policy.necessary_for(p), c) for p in self.data.purposes):
            return "necessary", "violated", "category-not-necessary", (c,)
        return "necessary", "holds", "necessary", (c,)

    def notice(self, c: str) -> Finding:
        """ "per category: told(p, c, t) for every declared p" """
        if all(self.told(p, c, self.t) for p in self.data.purposes):
            return "notice", "holds", "notice-given", (c,)
        return "notice", "violated", "no-notice", (c,)

    def social_login(self) -> Finding:
        """ "provider not listed …; categories all listed and every purpose within a listed one …; else …" """
        listed = self.policy.published.social_login
        if self.data.provider not in listed.providers:
            return "social-login", "violated", "unknown-provider", ()
        if all(self.policy.has(listed.categories, c) for c in self.data.categories) and all(
            self.policy.purpose_within_any(p, listed.purposes) for p in self.data.purposes
        ):
            return "social-login", "holds", "within-social-login", ()
        return "social-login", "violated", "social-login-exceeds", ()

    def automatic(self) -> Finding:
        """ "the policy's list is empty …; all listed …; else `violated/not-listed` with the others" """
        listed = self.policy.published.automatic.categories
        others = tuple(c for c in self.data.categories if not self.policy.has(listed, c))
        if not listed:
            return "automatic", "unknown", "policy-silent", ()
        if not others:
            return "automatic", "holds", "listed", ()
        return "automatic", "violated", "not-listed", others

    # --- `data.used` and `data.shared` ---

    def use_or_share(self) -> list[Finding]:
        """The nine steps per category, then the table of `data.used` and `data.shared`."""
        findings: list[Finding] = []
        for c in self.data.categories:
            result, code = self.purpose_limitation(c, self.data.purpose)
            findings.append(("purpose-limitation", result, code, (c,)))
        if self.kind == "data.used":
            findings += self.communication_preference()
        else:
            findings += [*self.social_provider(), self.recipient(), *self.safeguards()]
        findings += self.legal_demand()
        # "while anonymous, some category identifying (or unknown)"
        if self.anonymous() and self.revealing():
            findings.append(("anonymity", "caution", "identified-while-anonymous", tuple(self.revealing())))
        return findings + self.accuracy()

    def lawful(self) -> bool:
        """ "legal basis known to the policy and `citation` not the empty string" """
        basis = self.data.basis
        return claims_law(basis) and basis.legal_basis in self.policy.legal_bases and basis.citation != ""

    def purpose_limitation(self, c: str, p: str) -> tuple[str, str]:
        """Steps 1 to 9 for one category and the purpose: (`result`, `code`)."""
        # 1. "basis `law`: … → `holds/law`, else `violated/unknown-legal-basis`. Stop."
        if claims_law(self.data.basis):
            return ("holds", "law") if self.lawful() else ("violated", "unknown-legal-basis")
        # 2. "Take the collections of c with `time` ≤ t and strictly later in `time` than every `data.erased` of c
        # with `time` ≤ t" (absent `categories` erase all)
        erased = [
            e.time
            for e in self.of("data.erased")
            if e.data.categories is UNSET or self.policy.has(e.data.categories, c)
        ]
        collections = [
            r
            for r in self.of("data.collected")
            if self.policy.has(r.data.categories, c) and all(r.time > when for when in erased)
        ]
        # "*Stated* = their purposes q with told(q, c, that collection's time)."
        stated = [q for r in collections for q in r.data.purposes if self.told(q, c, r.time)]
        untold = [q for r in collections for q in r.data.purposes if not self.told(q, c, r.time)]
        in_policy = p in self.policy.purposes
        # 3. "p in the policy and within a stated q"
        if in_policy and self.policy.purpose_within_any(p, stated):
            return "holds", "stated-purpose"
        # 4. "p in the policy and consistent with a stated q"
        if in_policy and any(self.policy.consistent(p, q) for q in stated):
            return "holds", "consistent-purpose"
        # 5. "an active consent covers (p, c)"
        if any(self.covers(consent, p, c) for consent in self.active_consents()):
            return "holds", "consent"
        # 6. "p not in the policy"
        if not in_policy:
            return "violated", "unknown-purpose"
        # 7. "no such collection"
        if not collections:
            return "unknown", "no-collection-on-record"
        # 8. "p within, or consistent with, a purpose that a collection declared but nobody was told"
        if any(self.policy.purpose_within_any(p, [q]) or self.policy.consistent(p, q) for q in untold):
            return "violated", "purpose-not-told"
        # 9. "else"
        return "violated", "purpose-not-stated"

    def communication_preference(self) -> list[Finding]:
        """ "use over a channel that requires a preference: last preference allows …, else (also when none)" """
        channel = self.policy.published.channels.get(self.data.channel)
        if channel is None or not channel.requires_preference:
            return []
        last = latest([r for r in self.of("preference.set") if r.data.channel == self.data.channel])
        if last is not None and last.data.allowed:
            return [("communication-preference", "holds", "preferred", ())]
        return [("communication-preference", "violated", "notification-not-preferred", ())]

    def social_provider(self) -> list[Finding]:
        """ "share, kind `social-provider` or recipient among `social_login.providers`, not lawful" """
        listed = self.policy.published.social_login.providers
        if (self.data.recipient_kind == "social-provider" or self.data.recipient in listed) and not self.lawful():
            return [("social-provider", "violated", "shared-with-social-provider", ())]
        return []

    def recipient(self) -> Finding:
        """ "lawful …; kind described in the policy …; each category has some active consent …; else …" """
        if self.lawful():
            return "recipient", "holds", "law", ()
        if self.data.recipient_kind in self.policy.recipients:
            return "recipient", "holds", "described", ()
        # "each category has some active consent, not necessarily the same one, that covers (p, c) and names the
        # recipient"
        naming = [
            consent
            for consent in self.active_consents()
            if consent.data.recipients is not UNSET and self.data.recipient in consent.data.recipients
        ]
        if all(any(self.covers(consent, self.data.purpose, c) for consent in naming) for c in self.data.categories):
            return "recipient", "holds", "consent", ()
        return "recipient", "violated", "recipient-not-described", ()

    def safeguards(self) -> list[Finding]:
        """ "share, kind requires an agreement, not lawful: one single active agreement with the recipient …" """
        kind = self.policy.recipients.get(self.data.recipient_kind)
        if kind is None or not kind.requires_agreement or self.lawful():
            return []
        for signed in (r for r in self.records if r.kind == "agreement.signed" and self.agreement_active(r)):
            if (
                signed.data.recipient == self.data.recipient
                # "has p within one of its purposes and has every category"
                and self.policy.purpose_within_any(self.data.purpose, signed.data.purposes)
                and all(self.policy.has(signed.data.categories, c) for c in self.data.categories)
            ):
                return [("safeguards", "holds", "agreement-active", ())]
        return [("safeguards", "violated", "no-active-agreement", ())]

    def agreement_active(self, signed: Record) -> bool:
        """ "active when `valid_from` ≤ t, t < `valid_until` if set, and no `agreement.ended` … with `time` ≤ t" """
        # "Every `agreement.signed` counts, whatever its own `time` and position"
        return (
            instant(signed.data.valid_from) <= self.t
            and (signed.data.valid_until is UNSET or self.t < instant(signed.data.valid_until))
            and not any(r.data.agreement_id == signed.data.agreement_id for r in self.of("agreement.ended"))
        )

    def legal_demand(self) -> list[Finding]:
        """The two rows of `legal-demand`."""
        if not self.lawful():
            return []
        basis = self.data.basis
        # "lawful, legal basis requires no decision → `caution/claimed-only`"
        if not self.policy.legal_bases[basis.legal_basis].requires_decision:
            return [("legal-demand", "caution", "claimed-only", ())]
        # "among the `legal-demand.decided` for that `demand_id` with `time` ≤ t, the same `legal_basis` as the
        # event's basis and, if they name a `recipient`, the event's (so never a use), the latest (…)"
        decision = latest(
            [
                r
                for r in self.of("legal-demand.decided")
                if r.data.demand_id == basis.demand_id
                and r.data.legal_basis == basis.legal_basis
                and (
                    r.data.recipient is UNSET
                    or (self.kind == "data.shared" and r.data.recipient == self.data.recipient)
                )
            ]
        )
        if decision is None:
            return [("legal-demand", "unknown", "undecided-demand", ())]
        if not decision.data.disclose:
            return [("legal-demand", "violated", "disclosure-refused", ())]
        # "some categories overlap an exempt one → `violated/exempt-from-disclosure` with those"
        exempt = tuple(c for c in self.data.categories if self.policy.overlap_any(c, decision.data.exempt_categories))
        if exempt:
            return [("legal-demand", "violated", "exempt-from-disclosure", exempt)]
        return [("legal-demand", "holds", "disclosure-decided", ())]

    def accuracy(self) -> list[Finding]:
        """ "a contest with `time` ≤ t whose `contest_id` has no resolution with `time` ≤ t (even one dated before)" """
        resolved = {r.data.contest_id for r in self.of("contest.resolved")}
        contested = [
            x for r in self.of("data.contested") if r.data.contest_id not in resolved for x in r.data.categories
        ]
        # "with the event's categories that overlap a contested one"
        those = tuple(c for c in self.data.categories if self.policy.overlap_any(c, contested))
        return [("accuracy", "caution", "contested", those)] if those else []


def claims_law(basis: Any) -> bool:
    """Whether the emitter claims that a law requires it."""
    return hasattr(basis, "legal_basis")
