"""Who speaks in the city: six services, two offices, and the residents themselves through `/my`.

>>> principal_of("/services/parks", "res_0000")
(Principal(client_id='parks-app', scopes={'events:write': ('/services/parks',)}, subject=None), <Door.EVENTS: 'events'>)

Each has a client of its own, with no more scope than it needs, so the story is recorded as its emitters would send it.
"""

from typing import NamedTuple

from ledger.authority import MY_SOURCE, SELF, Door, Principal
from ledger.events import EVENTS_WRITE, RULES_WRITE

PERMITS = "/services/permits"
REQUESTS = "/services/requests"
PARKS = "/services/parks"
NOTIFICATIONS = "/services/notifications"
LIBRARY = "/services/library"
ANALYTICS = "/services/analytics"
PRIVACY_OFFICE = "/offices/privacy"
SECURITY_OFFICE = "/offices/security"
MY = MY_SOURCE


class Service(NamedTuple):
    """A service of the city: its source, its names for people, and the purposes it says it acts for."""

    source: str
    en: str
    es: str
    vi: str
    department: str
    purposes: tuple[str, ...]


SERVICES = (
    Service(
        PERMITS,
        "Permits",
        "Permisos",
        "Giấy phép",
        "Planning, Building and Code Enforcement",
        ("4.2/permit", "4.6/request-update"),
    ),
    Service(
        REQUESTS,
        "311 requests and accounts",
        "Solicitudes 311 y cuentas",
        "Yêu cầu 311 và tài khoản",
        "Customer Service",
        ("4.1", "4.2", "4.6"),
    ),
    Service(
        PARKS,
        "Parks and recreation",
        "Parques y recreación",
        "Công viên và giải trí",
        "Parks, Recreation and Neighborhood Services",
        ("4.2", "4.6", "4.7/event-invitation"),
    ),
    Service(
        NOTIFICATIONS,
        "Notifications and newsletter",
        "Notificaciones y boletín",
        "Thông báo và bản tin",
        "Communications",
        ("4.7", "4.8", "4.9"),
    ),
    Service(
        LIBRARY,
        "Public library",
        "Biblioteca pública",
        "Thư viện công cộng",
        "Library",
        ("4.2", "4.7/event-invitation"),
    ),
    Service(
        ANALYTICS,
        "Platform analytics",
        "Análisis de la plataforma",
        "Phân tích nền tảng",
        "Information Technology",
        ("4.3", "4.4", "4.5"),
    ),
)

_OFFICES = {PRIVACY_OFFICE: "Privacy office", SECURITY_OFFICE: "Information security office"}
_BY_SOURCE = {service.source: service for service in SERVICES}


def name_of(source: str) -> str:
    """What people call a source; the source itself when the city does not know it."""
    service = _BY_SOURCE.get(source)
    return service.en if service else _OFFICES.get(source, source)


def principal_of(source: str, subject: str | None) -> tuple[Principal, Door]:
    """The client that speaks for a source, and the door it comes through."""
    if source == MY:
        assert subject is not None, "a resident speaks for themselves"
        return Principal("my-san-jose", {SELF: ()}, subject), Door.MY
    name = f"{source.rsplit('/', 1)[1]}-{'app' if source in _BY_SOURCE else 'office'}"
    if source == PRIVACY_OFFICE:
        return Principal(name, {RULES_WRITE: (source,)}), Door.EVENTS
    if source == SECURITY_OFFICE:
        return Principal(name, {EVENTS_WRITE: (source,), RULES_WRITE: (source,)}), Door.EVENTS
    return Principal(name, {EVENTS_WRITE: (source,)}), Door.EVENTS
