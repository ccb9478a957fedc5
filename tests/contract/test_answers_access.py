"""Who may read what: every role at every reading door, their own and somebody else's; and what anyone may read."""

from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import psycopg
import pytest
import yaml
from jsonschema import Draft202012Validator
from prometheus_client.parser import text_string_to_metric_families

from ledger import asyncapi, schemas
from ledger.events import EVENTS
from ledger.log import Entry
from tests.answering import AnsweringLedger, a_policy, collection, new_resident, notice, open_ledger, soon, use
from tests.door import STRUCTURED, consent, event

LISTS = ("log", "consents", "data", "preferences", "anonymity", "cases")
ROLES = ("nobody", "resident", "other resident", "auditor", "operator", "emitter", "other emitter", "rules", "no scope")
# Each reading door with the roles that may pass; everybody else is refused, 401 without a token and 403 with one.
DOORS: dict[str, tuple[str, ...]] = {
    "/v1/records/{position}": ("resident", "auditor"),
    "/v1/records/{position}/verdict": ("resident", "auditor"),
    "/v1/records/{position}/verdict?known_at={position}": ("resident", "auditor"),
    "/v1/records/{position}/history": ("resident", "auditor"),
    "/v1/records?source=/services/permits&id={id}": ("auditor", "emitter"),
    **{f"/v1/residents/{{subject}}/{name}": ("resident", "auditor") for name in LISTS},
    # One's own are always one's own: another resident reads theirs.
    **{f"/v1/me/{name}": ("resident", "other resident") for name in LISTS},
    "/v1/records/{agreement}": ("auditor",),
    "/v1/records/{policy}": ("resident", "other resident", "auditor"),
    "/metrics": ("operator",),
    "POST /v1/check": ("emitter",),
    "/v1/policies": ROLES,
    "/v1/policies/2018-04-18": ROLES,
    "/v1/purposes": ROLES,
    "/v1/schemas/": ROLES,
    "/schemas/data.used.v1.json": ROLES,
    "/v1/asyncapi.yaml": ROLES,
    "/livez": ROLES,
    "/readyz": ROLES,
}


@pytest.fixture(scope="module")
def ledger(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AnsweringLedger]:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("answers")) as opened:
        yield opened


@pytest.fixture(scope="module")
def known(ledger: AnsweringLedger) -> dict[str, str]:
    """What the paths name: a resident's use, an agreement, the policy."""
    subject = new_resident()
    sent = use(subject)
    agreement = event(
        "agreement.signed",
        subject=None,
        data={
            "agreement_id": "a1",
            "recipient": "mailer-inc",
            "purposes": ["4.2"],
            "categories": ["email"],
            "safeguards": ["encryption"],
            "valid_from": "2026-01-01T00:00:00Z",
        },
    )
    _, _, position, signed = ledger.record(notice(subject), collection(subject), sent, agreement)
    return {"subject": subject, "position": position, "id": sent["id"], "agreement": signed, "policy": "0-0"}


@pytest.fixture(scope="module")
def tokens(ledger: AnsweringLedger, known: dict[str, str]) -> dict[str, str | None]:
    issuer = ledger.door.issuer
    return {
        "nobody": None,
        "resident": issuer.resident(known["subject"]),
        "other resident": issuer.resident(new_resident()),
        "auditor": issuer.auditor(),
        "operator": issuer.operator(),
        "emitter": issuer.service("permits-app", {"events:write": ["/services/permits"]}),
        "other emitter": issuer.service("parks-app", {"events:write": ["/services/parks"]}),
        "rules": issuer.service("clerk", {"rules:write": ["/services/parks"]}),
        "no scope": issuer.mint("nothing", {}),
    }


def call(ledger: AnsweringLedger, door: str, known: dict[str, str], token: str | None) -> httpx.Response:
    method, _, path = door.rpartition(" ")
    if method != "POST":
        return ledger.get(path.format(**known), token)
    headers = {"content-type": STRUCTURED}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    return ledger.door.client.post(path, content=orjson.dumps(use(known["subject"])), headers=headers)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_passes_where_the_contract_lets_it_and_is_refused_everywhere_else(
    ledger: AnsweringLedger, known: dict[str, str], tokens: dict[str, str | None], door: str, role: str
) -> None:
    heads = ledger.door.heads()
    response = call(ledger, door, known, tokens[role])
    if role in DOORS[door]:
        assert response.status_code == 200, response.text
        return
    assert response.status_code == (401 if role == "nobody" else 403), response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert known["subject"] not in response.text
    assert ledger.door.heads() == heads, "what is refused leaves no record"


def test_an_expired_or_foreign_token_reads_nothing(ledger: AnsweringLedger, known: dict[str, str]) -> None:
    issuer = ledger.door.issuer
    expired = issuer.mint("auditor", {"audit:read": []}, lifetime_s=-3600)
    elsewhere = issuer.mint("auditor", {"audit:read": []}, audience="another-product")
    for token in (expired, elsewhere, "a.b.c"):
        assert ledger.get(f"/v1/residents/{known['subject']}/log", token).status_code == 401


def test_a_resident_learns_nothing_of_others_from_what_is_refused(
    ledger: AnsweringLedger, known: dict[str, str], tokens: dict[str, str | None]
) -> None:
    other = tokens["other resident"]
    someone = ledger.get(f"/v1/residents/{known['subject']}/log", other)
    nobody = ledger.get(f"/v1/residents/{new_resident()}/log", other)
    assert (someone.status_code, someone.json()) == (nobody.status_code, nobody.json())


def test_an_auditor_who_asks_for_nobody_gets_a_404_and_makes_no_resident(ledger: AnsweringLedger) -> None:
    heads = ledger.door.heads()
    for subject in (new_resident(), "not%20a%20pseudonym", "x" * 65):
        assert ledger.get(f"/v1/residents/{subject}/log", ledger.auditor).status_code == 404
    assert ledger.door.heads() == heads


# --- what cannot be recorded is not read -----------------------------------------------------------------------


def test_a_read_that_cannot_be_recorded_is_refused_but_residents_still_read_their_own(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("silent")) as ledger:
        subject = new_resident()
        sent = use(subject)
        [position] = ledger.record(sent)
        ledger.door.runtime.recorder.stop()
        paths = [f"/v1/residents/{subject}/{name}" for name in LISTS]
        paths += [f"/v1/records/{position}", f"/v1/records/{position}/verdict"]
        found = f"/v1/records?source={sent['source']}&id={sent['id']}"
        for path, token in [(path, ledger.auditor) for path in [*paths, found]] + [(found, ledger.service)]:
            response = ledger.get(path, token)
            assert response.status_code == 503, path
            assert int(response.headers["retry-after"]) > 0
            assert sent["id"] not in response.text
        assert call(ledger, "POST /v1/check", {"subject": subject}, ledger.service).status_code == 503
        for path in paths:
            assert ledger.get(path, ledger.resident(subject)).status_code == 200, path
        assert ledger.views_of(subject) == []
        ready = ledger.get("/readyz")
        assert (ready.status_code, ready.json()["failing"]) == (503, ["log"])


# --- what anyone may read --------------------------------------------------------------------------------------


def test_policies_and_purposes_are_the_published_ones_and_nothing_is_recorded(ledger: AnsweringLedger) -> None:
    heads = ledger.door.heads()
    [policy] = ledger.get("/v1/policies").json()["policies"]
    sent = a_policy()["data"]
    assert {name: policy[name] for name in sent} == orjson.loads(orjson.dumps(sent))
    assert policy["position"] == "0-0"
    one = ledger.get("/v1/policies/2018-04-18")
    assert one.json() == policy
    assert one.headers["cache-control"] == "public, no-cache"
    assert ledger.get("/v1/policies/2018-04-18", headers={"if-none-match": one.headers["etag"]}).status_code == 304
    assert ledger.get("/v1/policies/1999").status_code == 404
    purposes = ledger.get("/v1/purposes").json()
    assert purposes["policy"]["version"] == "2018-04-18"
    assert purposes["purposes"] == policy["purposes"]
    assert ledger.door.heads() == heads


def test_a_ledger_without_a_policy_says_so(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("empty"), policy=False) as ledger:
        assert ledger.get("/v1/policies").json() == {"policies": []}
        assert ledger.get("/v1/purposes").json() == {"policy": None, "purposes": []}
        subject = new_resident()
        [position] = ledger.record(use(subject))
        verdict = ledger.get(f"/v1/records/{position}/verdict", ledger.resident(subject)).json()
        assert (verdict["outcome"], verdict["policy"]) == ("undetermined", None)


def test_every_schema_is_served_at_both_addresses_and_holds_for_records(
    ledger: AnsweringLedger, known: dict[str, str]
) -> None:
    listed = ledger.get("/v1/schemas/").json()["schemas"]
    assert [entry["type"] for entry in listed] == list(EVENTS)
    assert ledger.get("/v1/schemas").json()["schemas"] == listed
    for entry in listed:
        response = ledger.get(entry["schema"])
        assert response.headers["content-type"] == "application/schema+json"
        assert ledger.get(f"/v1{entry['schema']}").content == response.content
        assert response.json() == orjson.loads(orjson.dumps(schemas.of(entry["type"])))
    validator = Draft202012Validator(ledger.get("/schemas/data.used.v1.json").json())
    record = ledger.get(f"/v1/records/{known['position']}", ledger.auditor).json()
    assert validator.is_valid(record)
    assert not validator.is_valid({**record, "surplus": 1})
    for name in ("data.used.v2", "data.used", "..%2f..%2fetc"):
        assert ledger.get(f"/schemas/{name}.json").status_code == 404


def test_the_asyncapi_document_is_served_as_yaml(ledger: AnsweringLedger) -> None:
    for path in ("/asyncapi.yaml", "/v1/asyncapi.yaml"):
        response = ledger.get(path)
        assert response.headers["content-type"] == "application/yaml"
        assert yaml.safe_load(response.text) == orjson.loads(orjson.dumps(asyncapi.document()))


# --- health -----------------------------------------------------------------------------------------------------


def test_a_ledger_that_works_is_alive_and_ready(ledger: AnsweringLedger) -> None:
    assert ledger.get("/livez").json() == {"alive": True}
    ledger.settle()

    def ready() -> Any:
        return ledger.get("/readyz")

    soon(lambda: ready().status_code == 200)
    report = ready().json()
    assert (report["ready"], report["failing"]) == (True, [])
    assert list(report["parts"]) == ["log", "database", "projections", "vault", "checkpoints"]


def test_readiness_names_a_partition_that_stands_still(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("halted")) as ledger:
        subject = new_resident()
        partition = ledger.partition_of(subject)
        [future] = ledger.door.runtime.log.append([Entry(partition, subject, b"no event at all")])
        position = future.result(30)
        soon(lambda: ledger.get("/readyz").status_code == 503, 30)
        report = ledger.get("/readyz").json()
        assert "projections" in report["failing"]
        [stopped] = report["parts"]["projections"]["partitions"]
        assert (stopped["partition"], stopped["halted_at"]) == (partition, str(position))
        assert subject not in ledger.get("/readyz").text


def test_readiness_names_the_vault_when_it_is_away(
    kafka_address: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with open_ledger(kafka_address, database_url, tmp_path_factory.mktemp("away")) as ledger:
        ledger.door.runtime.vault.close()
        soon(lambda: ledger.get("/readyz").json()["failing"] == ["vault"])
        assert ledger.get("/livez").status_code == 200


@pytest.mark.long
def test_readiness_names_the_database_while_it_is_away_reads_are_503_and_all_comes_back_with_it(
    kafka_address: str, fresh_database: str, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(fresh_database)["dbname"]
    allow = "UPDATE pg_database SET datallowconn = %s WHERE datname = %s"
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    with (
        open_ledger(kafka_address, fresh_database, tmp_path_factory.mktemp("away")) as ledger,
        psycopg.connect(database_url, autocommit=True) as superuser,
    ):
        subject = new_resident()
        ledger.record(use(subject))
        superuser.execute(allow, (False, name))
        try:
            superuser.execute(end, (name,))
            soon(lambda: "database" in ledger.get("/readyz").json()["failing"], 30)
            assert ledger.get("/livez").status_code == 200
            for path in ("/v1/me/log", "/v1/policies"):
                assert ledger.get(path, ledger.resident(subject)).status_code == 503
        finally:
            superuser.execute(allow, (True, name))
        soon(lambda: ledger.get("/readyz").status_code == 200, 60)
        assert ledger.get("/v1/me/log", ledger.resident(subject)).status_code == 200


def test_metrics_name_no_resident_source_or_id(
    ledger: AnsweringLedger, known: dict[str, str], tokens: dict[str, str | None]
) -> None:
    assert ledger.get(f"/v1/residents/{known['subject']}/log", ledger.auditor).status_code == 200
    text = ledger.get("/metrics", ledger.operator).text
    for secret in (known["subject"], known["id"], "/services", "permits-app"):
        assert secret not in text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {"consent_ledger_reads", "consent_ledger_recorder_waiting", "consent_ledger_up"} <= set(families)
    assert {"consent_ledger_checkpoint_size", "consent_ledger_checkpoint_lag"} <= set(families)
    labels = {name for family in families.values() for sample in family.samples for name in sample.labels}
    assert not labels & {"subject", "resident", "source", "id", "client", "client_id"}
    reads = {(s.labels["what"], s.labels["role"]) for s in families["consent_ledger_reads"].samples}
    assert ("log", "auditor") in reads


def test_the_consents_of_the_reader_are_never_somebody_else_s(ledger: AnsweringLedger) -> None:
    one, other = new_resident(), new_resident()
    ledger.record(consent("c-one", subject=one), consent("c-other", subject=other))
    mine = ledger.get("/v1/me/consents", ledger.resident(one)).json()["consents"]
    assert [c["consent_id"] for c in mine] == ["c-one"]


def test_openapi_describes_every_reading_door_and_its_parameters(ledger: AnsweringLedger) -> None:
    paths = ledger.get("/openapi.json").json()["paths"]
    for door in DOORS:
        path = door.rpartition(" ")[2].partition("?")[0]
        if path.startswith(("/v1/records/{", "/v1/policies/")):
            path = path.replace("{agreement}", "{position}").replace("{policy}", "{position}")
            path = path.replace("2018-04-18", "{version}")
        if not path.startswith("/schemas"):
            assert path in paths, path
    names = [p["name"] for p in paths["/v1/me/log"]["get"]["parameters"]]
    assert names == ["from", "to", "service", "purpose", "outcome", "kind", "limit", "cursor", "ledger-position"]
