"""What the City's identifiers are called for people: services, purposes, categories, channels, recipients.

    names = await names_of(view, words)          # one snapshot of the published rules
    names.service("/services/parks"), names.purpose("4.2"), names.categories(("email", "phone"))

A service has the names it was registered with; purposes and categories have the newest published policy's texts, and of
those the translation where there is one. What has no name is shown by its identifier. Notes in a text that something is
our reading stand on the policy's own page and are left out of sentences.
"""

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from api.pages.words import Words
from ledger import codec
from ledger.authority import LEDGER_SOURCE, MY_SOURCE
from ledger.events import PolicyPublished, ServiceRegistered
from ledger.policy import my_san_jose
from projections.answers import View


class Text(NamedTuple):
    """A text for people, and the language it is in."""

    text: str
    language: str


class Names:
    """The names in one language."""

    def __init__(self, words: Words, policy: PolicyPublished, services: Mapping[str, ServiceRegistered]) -> None:
        self._words, self.policy, self.registered = words, policy, services
        self._purposes = {purpose.id: purpose.text for purpose in policy.purposes}
        self._categories = {category.id: category.label for category in policy.categories}
        self._operations = {operation.id: operation.label for operation in policy.operations}
        self._statements = {statement.id: statement.text for statement in policy.statements}

    def service(self, source: str) -> str:
        """Who says something."""
        if source == MY_SOURCE:
            return self._words.text("You")
        if source == LEDGER_SOURCE:
            return self._words.text("This ledger")
        found = self.registered.get(source)
        return getattr(found.names, self._words.language) if found is not None else source

    def purpose(self, purpose: str) -> str:
        """A reason, as a phrase; without a text its identifier."""
        return self._said(self._purposes.get(purpose), purpose)

    def purposes(self, purposes: Iterable[str]) -> str:
        """Several reasons."""
        return "; ".join(self.purpose(purpose) for purpose in purposes)

    def category(self, category: str) -> str:
        """A kind of data."""
        return self._said(self._categories.get(category), category)

    def categories(self, categories: Iterable[str]) -> str:
        """Several kinds of data, as a list in a sentence."""
        return self._words.list([self.category(category) for category in categories])

    def operation(self, operation: str) -> str:
        """What is done with data."""
        return self._said(self._operations.get(operation), operation)

    def statement(self, number: str) -> Text | None:
        """The text of a statement, or of a purpose where that is what a finding names."""
        text = self._statements.get(number) or self._purposes.get(number)
        if text is None:
            return None
        return Text(self._words.text(text), self._words.language if self._words.knows(text) else "en")

    def channel(self, channel: str) -> str:
        """A way to reach a resident."""
        known = {
            "email": self._words.text("email"),
            "mobile-notification": self._words.text("notification on your mobile device"),
            "sms": self._words.text("text message"),
            "phone": self._words.text("telephone"),
            "post": self._words.text("post"),
            "in-app": self._words.text("message in the app"),
            "web": self._words.text("web page"),
        }
        return known.get(channel, channel)

    def _said(self, text: str | None, identifier: str) -> str:
        return identifier if text is None else short(self._words.text(text))


def short(text: str) -> str:
    """A text of the policy without the note that it is our reading.

    >>> short("Phone number (our reading)"), short("Número de teléfono (nuestra lectura)")
    ('Phone number', 'Número de teléfono')
    """
    return _NOTES.sub("", text)


_NOTES = re.compile(
    r"\s*\((?:[^()]*our reading|[^()]*nuestra lectura|[^()]*cách hiểu của chúng tôi|no está en el texto[^()]*)\)"
)


async def names_of(view: View, words: Words) -> Names:
    """The names in this language, by what is published."""
    published = await view.policies()
    services: dict[str, ServiceRegistered] = {}
    for fact in await view.services():
        data = codec.read(fact.body.encode()).data
        assert isinstance(data, ServiceRegistered), "asked for services"
        services[data.service] = data
    policy = my_san_jose()
    if published:
        newest = codec.read(published[-1].body.encode()).data
        assert isinstance(newest, PolicyPublished), "asked for policies"
        policy = newest
    return Names(words, policy, services)
