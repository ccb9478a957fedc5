"""Why a verdict is what it is: every (rule, result, code) once, with its policy statement and its words.

>>> reason("purpose-limitation", "violated", "purpose-not-stated").statement
'8'
>>> reason("policy-in-force", "holds", "2018-04-18").text
'This version of the policy was in force.'

Source: contract/verdicts.md. `statement` names a statement of the My San Jose policy; None where no statement is
what the rule rests on. `communication-preference` takes its statement from the policy's channel.
"""

from typing import NamedTuple


class Reason(NamedTuple):
    """The policy statement a finding rests on, and a plain sentence for people."""

    statement: str | None
    text: str


ANY_VERSION = "*"
"""Stands for the policy's version, which is the code of `policy-in-force: holds`."""

REASONS: dict[tuple[str, str, str], Reason] = {
    ("policy-in-force", "holds", ANY_VERSION): Reason(None, "This version of the policy was in force."),
    ("policy-in-force", "unknown", "no-policy-in-force"): Reason(None, "No policy was in force at that time."),
    ("purposes-known", "holds", "stated-in-policy"): Reason("4", "Every purpose is one the policy states."),
    ("purposes-known", "violated", "unknown-purpose"): Reason("4", "A purpose is not one the policy states."),
    ("necessary", "holds", "necessary"): Reason("1", "The data is necessary for a purpose it was collected for."),
    ("necessary", "violated", "unknown-category"): Reason("1", "The policy does not know this kind of data."),
    ("necessary", "violated", "category-not-necessary"): Reason(
        "1", "The data is not necessary for any purpose it was collected for."
    ),
    ("notice", "holds", "notice-given"): Reason("2", "The resident was told every purpose by the time of collection."),
    ("notice", "violated", "no-notice"): Reason(
        "2", "The resident was not told every purpose by the time of collection."
    ),
    ("anonymity", "holds", "anonymous-respected"): Reason(
        "1", "Nothing that identifies was collected while anonymous."
    ),
    ("anonymity", "violated", "identifying-while-anonymous"): Reason(
        "1", "Data that identifies was collected although the resident had chosen to stay anonymous."
    ),
    ("anonymity", "caution", "identified-while-anonymous"): Reason(
        "1", "Data that identifies was handled while the resident had chosen to stay anonymous."
    ),
    ("social-login", "holds", "within-social-login"): Reason(
        "social", "Only what a social account may give was collected."
    ),
    ("social-login", "violated", "unknown-provider"): Reason("social", "The policy does not name this social account."),
    ("social-login", "violated", "social-login-exceeds"): Reason(
        "social", "More was collected through a social account than name and email for sign-in."
    ),
    ("automatic", "unknown", "policy-silent"): Reason("3", "The policy does not say what is collected automatically."),
    ("automatic", "holds", "listed"): Reason("3", "The policy lists this as collected automatically."),
    ("automatic", "violated", "not-listed"): Reason("3", "The policy does not list this as collected automatically."),
    ("purpose-limitation", "holds", "law"): Reason("8", "A law is named that the policy knows."),
    ("purpose-limitation", "holds", "stated-purpose"): Reason("8", "The resident was told this purpose at collection."),
    ("purpose-limitation", "holds", "consistent-purpose"): Reason(
        "8", "The purpose is consistent with one the resident was told at collection."
    ),
    ("purpose-limitation", "holds", "consent"): Reason("8", "The resident had consented to this."),
    ("purpose-limitation", "violated", "unknown-legal-basis"): Reason(
        "8", "The law named is not one the policy knows, or it is not cited."
    ),
    ("purpose-limitation", "violated", "unknown-purpose"): Reason("8", "The purpose is not one the policy states."),
    ("purpose-limitation", "unknown", "no-collection-on-record"): Reason(
        "8", "No collection of this data is on record."
    ),
    ("purpose-limitation", "violated", "purpose-not-told"): Reason(
        "8", "The data was collected for this purpose, but the resident was not told."
    ),
    ("purpose-limitation", "violated", "purpose-not-stated"): Reason(
        "8", "The purpose is neither stated at collection, nor consistent with one that was, nor consented to."
    ),
    ("communication-preference", "holds", "preferred"): Reason("4.8", "The resident allows messages on this channel."),
    ("communication-preference", "violated", "notification-not-preferred"): Reason(
        "4.8", "The resident had not allowed messages on this channel."
    ),
    ("social-provider", "violated", "shared-with-social-provider"): Reason(
        "social", "Personal data was given to a social account provider."
    ),
    ("recipient", "holds", "law"): Reason("5", "A law is named for this disclosure."),
    ("recipient", "holds", "described"): Reason("5", "The policy describes this kind of recipient."),
    ("recipient", "holds", "consent"): Reason("5", "The resident had consented to this recipient."),
    ("recipient", "violated", "recipient-not-described"): Reason(
        "5", "The policy does not describe this recipient, and the resident had not consented."
    ),
    ("safeguards", "holds", "agreement-active"): Reason("6", "An agreement with the recipient covered this."),
    ("safeguards", "violated", "no-active-agreement"): Reason("6", "No agreement with the recipient covered this."),
    ("legal-demand", "caution", "claimed-only"): Reason("8", "Nobody but the service says that the law requires this."),
    ("legal-demand", "unknown", "undecided-demand"): Reason("8", "The City has not decided on this demand."),
    ("legal-demand", "violated", "disclosure-refused"): Reason("8", "The City had refused this disclosure."),
    ("legal-demand", "violated", "exempt-from-disclosure"): Reason(
        "8", "The City had exempted this data from disclosure."
    ),
    ("legal-demand", "holds", "disclosure-decided"): Reason("8", "The City had decided to disclose."),
    ("accuracy", "caution", "contested"): Reason("2", "The resident contests this data, and that is not resolved."),
    ("evidence", "caution", "recorded-later"): Reason(None, "The answer changed with records that came later."),
    ("evidence", "caution", "backdated"): Reason(None, "The answer rests on records dated back by more than a day."),
}


def reason(rule: str, result: str, code: str) -> Reason:
    """The reason of a finding; raises KeyError for one the contract does not have."""
    if rule == "policy-in-force" and result == "holds":
        code = ANY_VERSION
    return REASONS[rule, result, code]
