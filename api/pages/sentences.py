"""One plain sentence for each event, as its resident reads it.

    sentence(event, names, words)       # "Parks and recreation used your Email address: Process requests …"

Every kind of event has its sentence here, and only here. Kinds of data are named, never values: the ledger has none.
"""

from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from api.pages.names import Names
from api.pages.words import Words
from ledger import events as e
from ledger.authority import MY_SOURCE

NOTIFY = "notify"


def sentence(event: e.Event, names: Names, words: Words) -> str:
    """What happened."""
    return _SENTENCES[type(event.data)](event, event.data, names, words)


def _notice(event: e.Event, data: e.NoticeGiven, names: Names, words: Words) -> str:
    return words.text(
        "%(who)s told you what your data is for: %(why)s.",
        who=names.service(event.source),
        why=names.purposes(data.purposes),
    )


def _collected(event: e.Event, data: e.DataCollected, names: Names, words: Words) -> str:
    said = {
        "who": names.service(event.source),
        "what": names.categories(data.categories),
        "why": names.purposes(data.purposes),
    }
    if data.origin == "automatic":
        return words.text("%(who)s collected automatically: %(what)s. For: %(why)s.", **said)
    if data.origin == "social-login":
        return words.text("From a social account was collected: %(what)s. For: %(why)s.", **said)
    if data.origin == "third-party":
        return words.text("%(who)s got from somebody else: %(what)s. For: %(why)s.", **said)
    return words.text("%(who)s collected from you: %(what)s. For: %(why)s.", **said)


def _used(event: e.Event, data: e.DataUsed, names: Names, words: Words) -> str:
    said = {
        "who": names.service(event.source),
        "what": names.categories(data.categories),
        "why": names.purpose(data.purpose),
    }
    if data.channel is not UNSET:
        channel = names.channel(data.channel)
        return words.text("%(who)s sent you a message (%(channel)s). For: %(why)s.", channel=channel, **said)
    return words.text("%(who)s used: %(what)s. For: %(why)s.", **said)


def _shared(event: e.Event, data: e.DataShared, names: Names, words: Words) -> str:
    return words.text(
        "%(who)s gave to %(recipient)s: %(what)s. For: %(why)s.",
        who=names.service(event.source),
        recipient=data.recipient,
        what=names.categories(data.categories),
        why=names.purpose(data.purpose),
    )


def _consent_given(event: e.Event, data: e.ConsentGiven, names: Names, words: Words) -> str:
    return words.text("You consented. For: %(why)s.", why=names.purposes(data.purposes))


def _consent_withdrawn(event: e.Event, data: e.ConsentWithdrawn, names: Names, words: Words) -> str:
    return words.text("You took back a consent.")


def _preference(event: e.Event, data: e.PreferenceSet, names: Names, words: Words) -> str:
    if data.allowed:
        return words.text("You allowed messages by this way: %(channel)s.", channel=names.channel(data.channel))
    return words.text("You want no messages by this way: %(channel)s.", channel=names.channel(data.channel))


def _anonymity_chosen(event: e.Event, data: e.AnonymityChosen, names: Names, words: Words) -> str:
    return words.text("You chose to stay anonymous.")


def _anonymity_ended(event: e.Event, data: e.AnonymityEnded, names: Names, words: Words) -> str:
    return words.text("You stopped being anonymous.")


def _reviewed(event: e.Event, data: e.DataReviewed, names: Names, words: Words) -> str:
    return words.text("You looked at what is held about you.")


def _access_requested(event: e.Event, data: e.AccessRequested, names: Names, words: Words) -> str:
    if data.kind == "update":
        return words.text("You asked to have what is held about you updated.")
    return words.text("You asked to see what is held about you.")


def _access_answered(event: e.Event, data: e.AccessAnswered, names: Names, words: Words) -> str:
    said = {
        "granted": words.text("%(who)s granted your request.", who=names.service(event.source)),
        "refused": words.text("%(who)s refused your request.", who=names.service(event.source)),
        "partly": words.text("%(who)s granted a part of your request.", who=names.service(event.source)),
    }
    return said[data.outcome]


def _updated(event: e.Event, data: e.DataUpdated, names: Names, words: Words) -> str:
    what = names.categories(data.categories)
    if data.by == "resident":
        return words.text("You updated: %(what)s.", what=what)
    return words.text("%(who)s updated: %(what)s.", who=names.service(event.source), what=what)


def _contested(event: e.Event, data: e.DataContested, names: Names, words: Words) -> str:
    return words.text("You said that this is wrong: %(what)s.", what=names.categories(data.categories))


def _contest_resolved(event: e.Event, data: e.ContestResolved, names: Names, words: Words) -> str:
    who = names.service(event.source)
    said = {
        "corrected": words.text("%(who)s corrected what you said was wrong.", who=who),
        "upheld": words.text("%(who)s agreed that it was wrong.", who=who),
        "rejected": words.text("%(who)s found that it was right.", who=who),
    }
    return said[data.outcome]


def _complaint(event: e.Event, data: e.ComplaintFiled, names: Names, words: Words) -> str:
    said = {
        "complaint": words.text("You complained."),
        "question": words.text("You asked a question."),
        "comment": words.text("You made a comment."),
    }
    return said[data.kind]


def _complaint_resolved(event: e.Event, data: e.ComplaintResolved, names: Names, words: Words) -> str:
    return words.text("%(who)s answered what you wrote.", who=names.service(event.source))


def _withheld(event: e.Event, data: e.DisclosureWithheld, names: Names, words: Words) -> str:
    return words.text("%(who)s held back an entry of this record, as a law says.", who=names.service(event.source))


def _incident(event: e.Event, data: e.IncidentReported, names: Names, words: Words) -> str:
    return words.text(
        "%(who)s reported an incident with: %(what)s.",
        who=names.service(event.source),
        what=names.categories(data.categories),
    )


def _viewed(event: e.Event, data: e.LogViewed, names: Names, words: Words) -> str:
    who = {
        "auditor": words.text("An auditor"),
        "operator": words.text("An operator"),
        "service": words.text("A service of the City"),
        "staff": words.text("A member of the City's staff"),
    }.get(data.role, data.role)
    return words.text("%(who)s looked at your record.", who=who)


def _erasure_requested(event: e.Event, data: e.ErasureRequested, names: Names, words: Words) -> str:
    if data.categories is UNSET:
        return words.text("It was asked to erase everything about you.")
    return words.text("It was asked to erase: %(what)s.", what=names.categories(data.categories))


def _erased(event: e.Event, data: e.DataErased, names: Names, words: Words) -> str:
    if data.categories is UNSET:
        return words.text("Everything about you was erased.")
    return words.text("This was erased: %(what)s.", what=names.categories(data.categories))


def said_to_you(finding: dict[str, Any], words: Words) -> str:
    """What the main rule found, to the resident themselves; other findings keep the reason's own words."""
    told = {
        "stated-purpose": words.text("You were told about this reason."),
        "consistent-purpose": words.text("It fits a reason that you were told about."),
        "consent": words.text("You had consented to it."),
        "law": words.text("A law is named for it."),
        "unknown-legal-basis": words.text("The law named for it is not one that the policy knows."),
        "unknown-purpose": words.text("The policy does not state this reason."),
        "no-collection-on-record": words.text("It is not on record how the City came to have this data."),
        "purpose-not-told": words.text("The data was collected for this reason, but you were not told."),
        "purpose-not-stated": words.text("You were not told about this reason and had not consented to it."),
    }
    if finding["rule"] == "purpose-limitation" and finding["code"] in told:
        return told[finding["code"]]
    return words.text(finding["text"])


def own(event: e.Event) -> bool:
    """Whether the resident said this themselves."""
    return event.source == MY_SOURCE


_SENTENCES: dict[type, Callable[[e.Event, Any, Names, Words], str]] = {
    e.NoticeGiven: _notice,
    e.DataCollected: _collected,
    e.DataUsed: _used,
    e.DataShared: _shared,
    e.ConsentGiven: _consent_given,
    e.ConsentWithdrawn: _consent_withdrawn,
    e.PreferenceSet: _preference,
    e.AnonymityChosen: _anonymity_chosen,
    e.AnonymityEnded: _anonymity_ended,
    e.DataReviewed: _reviewed,
    e.AccessRequested: _access_requested,
    e.AccessAnswered: _access_answered,
    e.DataUpdated: _updated,
    e.DataContested: _contested,
    e.ContestResolved: _contest_resolved,
    e.ComplaintFiled: _complaint,
    e.ComplaintResolved: _complaint_resolved,
    e.DisclosureWithheld: _withheld,
    e.IncidentReported: _incident,
    e.LogViewed: _viewed,
    e.ErasureRequested: _erasure_requested,
    e.DataErased: _erased,
}
