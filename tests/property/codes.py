"""Every (rule, result, code) of the contract, and how often histories brought each up.

>>> tally = Tally()
>>> tally.add([("purpose-limitation", "holds", "law", ("email",))])
>>> tally.seen["purpose-limitation", "holds", "law"], len(tally.below(1)) == len(CODES) - 1
(1, True)
"""

from collections import Counter
from collections.abc import Iterable

VERSION = "<version>"
"""Stands for the policy's version, which is the code of `policy-in-force: holds`."""

Code = tuple[str, str, str]

CODES: tuple[Code, ...] = (
    ("accuracy", "caution", "contested"),
    ("anonymity", "caution", "identified-while-anonymous"),
    ("anonymity", "holds", "anonymous-respected"),
    ("anonymity", "violated", "identifying-while-anonymous"),
    ("automatic", "holds", "listed"),
    ("automatic", "unknown", "policy-silent"),
    ("automatic", "violated", "not-listed"),
    ("communication-preference", "holds", "preferred"),
    ("communication-preference", "violated", "notification-not-preferred"),
    ("evidence", "caution", "backdated"),
    ("evidence", "caution", "recorded-later"),
    ("legal-demand", "caution", "claimed-only"),
    ("legal-demand", "holds", "disclosure-decided"),
    ("legal-demand", "unknown", "undecided-demand"),
    ("legal-demand", "violated", "disclosure-refused"),
    ("legal-demand", "violated", "exempt-from-disclosure"),
    ("necessary", "holds", "necessary"),
    ("necessary", "violated", "category-not-necessary"),
    ("necessary", "violated", "unknown-category"),
    ("notice", "holds", "notice-given"),
    ("notice", "violated", "no-notice"),
    ("policy-in-force", "holds", VERSION),
    ("policy-in-force", "unknown", "no-policy-in-force"),
    ("purpose-limitation", "holds", "consent"),
    ("purpose-limitation", "holds", "consistent-purpose"),
    ("purpose-limitation", "holds", "law"),
    ("purpose-limitation", "holds", "stated-purpose"),
    ("purpose-limitation", "unknown", "no-collection-on-record"),
    ("purpose-limitation", "violated", "purpose-not-stated"),
    ("purpose-limitation", "violated", "purpose-not-told"),
    ("purpose-limitation", "violated", "unknown-legal-basis"),
    ("purpose-limitation", "violated", "unknown-purpose"),
    ("purposes-known", "holds", "stated-in-policy"),
    ("purposes-known", "violated", "unknown-purpose"),
    ("recipient", "holds", "consent"),
    ("recipient", "holds", "described"),
    ("recipient", "holds", "law"),
    ("recipient", "violated", "recipient-not-described"),
    ("safeguards", "holds", "agreement-active"),
    ("safeguards", "violated", "no-active-agreement"),
    ("social-login", "holds", "within-social-login"),
    ("social-login", "violated", "social-login-exceeds"),
    ("social-login", "violated", "unknown-provider"),
    ("social-provider", "violated", "shared-with-social-provider"),
)


class Tally:
    """Counts findings; one that the contract does not know is an error at once."""

    def __init__(self) -> None:
        self.seen: Counter[Code] = Counter()

    def add(self, findings: Iterable[tuple[str, str, str, tuple[str, ...]]]) -> None:
        """Counts the findings of one verdict."""
        for rule, result, code, _ in findings:
            key = (rule, result, VERSION if (rule, result) == ("policy-in-force", "holds") else code)
            assert key in CODES, f"the contract knows no {key}"
            self.seen[key] += 1

    def below(self, least: int) -> list[Code]:
        """The codes that came up less often than that."""
        return [code for code in CODES if self.seen[code] < least]

    def table(self) -> str:
        """One line a code."""
        return "\n".join(f"{self.seen[code]:8}  {' / '.join(code)}" for code in CODES)
