"""docker-compose.yml keeps to the Compose Specification, and names no setting or variable that does not exist."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from api.cli.operator import _PASSWORDS, SETUP_DATABASE
from api.settings import PREFIX, Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SCHEMA = ROOT / "tests" / "vectors" / "compose" / "compose-spec.json"
OURS = ("setup", "api", "worker", "record", "signer")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text("utf-8"))
    return loaded


def names(env_file: str) -> set[str]:
    lines = (ROOT / env_file).read_text("utf-8").splitlines()
    return {line.partition("=")[0] for line in lines if line and not line.startswith("#")}


def test_it_is_a_compose_file(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    jsonschema.validate(compose, schema, jsonschema.Draft202012Validator)


def test_the_schema_would_notice_a_mistake(compose: dict[str, Any]) -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    wrong = {**compose, "services": {**compose["services"], "api": {"imagge": "x"}}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema, jsonschema.Draft202012Validator)


def test_every_service_that_stays_up_has_a_health_check(compose: dict[str, Any]) -> None:
    staying = {name: service for name, service in compose["services"].items() if name != "setup"}
    assert sorted(staying) == ["api", "kafka", "postgres", "record", "signer", "worker"]
    assert all(service["healthcheck"]["test"] for service in staying.values())


def test_every_setting_exists(compose: dict[str, Any]) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    known |= {PREFIX + name for name in (SETUP_DATABASE, *_PASSWORDS.values())}
    named = names("docker/ledger.env")
    for service in OURS:
        named |= set(compose["services"][service]["environment"])
    assert named and all(name in known for name in named)


def test_every_variable_is_in_the_example(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text("utf-8")))
    assert used == names("docker/example.env")


def test_a_variable_without_a_value_stops_compose(compose: dict[str, Any]) -> None:
    text = COMPOSE.read_text("utf-8")
    for name in names("docker/example.env"):
        assert f"${{{name}:?" in text, name


def test_no_password_is_in_the_repository() -> None:
    for line in (ROOT / "docker" / "example.env").read_text("utf-8").splitlines():
        assert "PASSWORD" not in line.partition("=")[0] or line.endswith("=")


def test_the_image_has_what_the_commands_name(compose: dict[str, Any]) -> None:
    from api.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert {compose["services"][service]["command"][0] for service in OURS} <= commands
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert all(f"COPY {package} " in dockerfile for package in ("ledger", "projections", "replay", "api"))


def test_images_have_versions(compose: dict[str, Any]) -> None:
    images = {name: compose["services"][name]["image"] for name in ("kafka", "postgres")}
    assert images == {"kafka": "apache/kafka:4.4.0", "postgres": "postgres:18"}


def test_the_signers_key_and_password_are_the_signers_alone(compose: dict[str, Any]) -> None:
    services = compose["services"]
    mounted = {name: {v.split(":")[0] for v in s.get("volumes", ())} for name, s in services.items()}
    [volume] = mounted.pop("signer")
    assert not [name for name, volumes in mounted.items() if volume in volumes]
    others = {name: service for name, service in services.items() if name != "signer"}
    assert "CHECKPOINT_KEY" not in (ROOT / "docker" / "ledger.env").read_text("utf-8")
    for name, service in others.items():
        given = json.dumps(service.get("environment", {}))
        assert "CHECKPOINT_KEY" not in given, name
        assert name == "setup" or "SIGNER_PASSWORD" not in given, name
    private = ("VAULT", "RECEIPTS", "READER", "PROJECTOR", "OWNER", "POSTGRES_PASSWORD")
    assert not [word for word in private if word in json.dumps(services["signer"]["environment"])]
    trusting = [n for n, s in services.items() if "CONSENT_LEDGER_CHECKPOINT_VKEYS" in s.get("environment", {})]
    assert trusting == ["api", "worker", "record", "signer"]


def test_the_intake_holds_no_key_and_only_reads(compose: dict[str, Any]) -> None:
    record = compose["services"]["record"]
    assert "volumes" not in record
    given = json.dumps(record["environment"])
    assert not [word for word in ("KEY_FILE", "VAULT", "PROJECTOR", "SIGNER", "OWNER", "POSTGRES_") if word in given]
