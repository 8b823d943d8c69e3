"""docker-compose.yml keeps its promises, as far as they can be read in it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.compose.compose_file import PROFILES, PROJECT, compose, configuration
from ticket_assets.orchestration.instance import TEMPLATE
from ticket_assets.settings import PREFIX, Settings

CORE = {"postgres", "chroma", "migrate", "code-location", "webserver", "daemon"}
MONITORING = {
    *("exporter", "evidently", "prometheus", "alertmanager", "grafana", "cadvisor"),
    "node-exporter",
}
STORES = {"postgres", "chroma", "object-store"}
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+(\.\d+)?[\w.-]*(@sha256:[0-9a-f]{64})?")
INSTANCE = PROJECT / "compose" / "instance"


@pytest.fixture(scope="module")
def everything() -> dict[str, Any]:
    return configuration(*PROFILES)


@pytest.fixture(scope="module")
def services(everything: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found = everything["services"]
    assert isinstance(found, dict)
    return found


def is_product(service: dict[str, Any]) -> bool:
    return "build" in service


def one_shot(service: dict[str, Any]) -> bool:
    return bool(service["restart"] == "no")


@pytest.mark.parametrize(
    ("profiles", "expected"),
    [
        ((), CORE),
        (("monitoring",), CORE | MONITORING),
        (("object-store",), CORE | {"object-store"}),
        (PROFILES, CORE | MONITORING | {"object-store"}),
    ],
)
def test_compose_takes_the_file_with_each_profile(
    profiles: tuple[str, ...], expected: set[str]
) -> None:
    chosen = [argument for profile in profiles for argument in ("--profile", profile)]

    done = compose(*chosen, "config", "--quiet", SECRETS="./secrets")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert configuration(*profiles)["services"].keys() == expected


def test_without_passwords_it_is_refused_with_a_sentence() -> None:
    done = compose("config", "--quiet")

    assert done.returncode == 1
    assert "SECRETS is missing a value: It names the folder of the passwords." in done.stderr
    assert "Run `make secrets`" in done.stderr


def test_every_image_is_pinned(services: dict[str, dict[str, Any]]) -> None:
    version = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]

    for name, service in services.items():
        assert PINNED.fullmatch(service["image"]), name
        if is_product(service):
            assert service["image"] == f"ticket-assets:{version}"


def test_every_service_has_limits_and_as_few_rights_as_can_be(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service.get("privileged"), name
        assert float(service["cpus"]) > 0, name
        assert int(service["mem_limit"]) > 0, name
        assert service["pids_limit"] > 0, name
        assert service["user"], name
        assert service["logging"]["options"]["max-size"], name
    with_rights = {name for name, service in services.items() if service.get("cap_add")}
    as_root = {name for name, service in services.items() if service["user"] in {"root", "0"}}
    assert with_rights == {"cadvisor"}
    assert as_root == {"cadvisor", "object-store"}


def test_every_service_is_watched_and_starts_after_what_it_needs(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        check = service["healthcheck"]
        if one_shot(service):
            assert check == {"disable": True}
            continue
        assert service["restart"] == "unless-stopped", name
        assert check["test"][0] == "CMD", name
        assert {"interval", "timeout", "retries", "start_period"} <= check.keys(), name
    for name, service in services.items():
        for other, dependency in service.get("depends_on", {}).items():
            ends = one_shot(services[other])
            condition = "service_completed_successfully" if ends else "service_healthy"
            assert dependency["condition"] == condition, (name, other)
    assert starts_before(services, "webserver") >= {"postgres", "migrate", "chroma"}
    assert starts_before(services, "daemon") >= {"postgres", "migrate", "chroma"}


def starts_before(services: dict[str, dict[str, Any]], name: str) -> set[str]:
    direct = services[name].get("depends_on", {}).keys()
    return set(direct).union(*(starts_before(services, other) for other in direct))


def test_the_object_store_need_not_be_there() -> None:
    needed = configuration()["services"]["code-location"]["depends_on"]

    assert "object-store" not in needed or not needed["object-store"]["required"]


def test_ports_are_open_on_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    published = {
        name: [(port["host_ip"], port["published"]) for port in service["ports"]]
        for name, service in services.items()
        if service.get("ports")
    }

    assert published == {
        "webserver": [("127.0.0.1", "3000")],
        "evidently": [("127.0.0.1", "3002")],
        "grafana": [("127.0.0.1", "3003")],
        "prometheus": [("127.0.0.1", "9090")],
        "alertmanager": [("127.0.0.1", "9093")],
    }


def test_the_stores_are_reached_by_the_desk_alone(
    everything: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    assert everything["networks"]["stores"]["internal"] is True
    for name in STORES:
        assert services[name]["networks"].keys() == {"stores"}
    for name, service in services.items():
        if not is_product(service) and name not in STORES:
            assert service["networks"].keys() == {"watching"}, name


def test_every_file_that_is_mounted_exists(services: dict[str, dict[str, Any]]) -> None:
    sources = {
        Path(volume["source"])
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    }
    ours = {source for source in sources if source.is_relative_to(PROJECT)}

    assert {str(source) for source in sources - ours} == {
        *("/", "/sys", "/var/run", "/var/lib/docker")
    }
    assert len(ours) > 5
    for source in ours:
        assert source.exists(), source


def test_nobody_writes_to_a_mounted_file(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            assert volume["type"] == "volume" or volume["read_only"], name


def test_every_volume_has_a_name_and_is_used(
    everything: dict[str, Any], services: dict[str, dict[str, Any]]
) -> None:
    used = {
        volume["source"]
        for service in services.values()
        for volume in service.get("volumes", ())
        if volume["type"] == "volume"
    }

    assert used == everything["volumes"].keys()


def test_the_variables_of_the_desk_are_settings(services: dict[str, dict[str, Any]]) -> None:
    for service in filter(is_product, services.values()):
        fields = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in service.get("environment", {}).items()
            if name.startswith(PREFIX)
        }
        assert fields.keys() <= Settings.model_fields.keys()
        Settings(_env_file=None, **fields)


def test_no_password_stands_in_a_variable_and_each_file_of_one_is_there(
    services: dict[str, dict[str, Any]],
) -> None:
    for name, service in services.items():
        files = {f"/run/secrets/{secret['source']}" for secret in service.get("secrets", ())}
        files |= {secret["target"] for secret in service.get("secrets", ())}
        for variable, value in service.get("environment", {}).items():
            if "PASSWORD" in variable or "SECRET" in variable:
                assert variable.endswith("_FILE"), (name, variable)
                assert value in files, (name, variable)


def test_each_process_has_only_the_secrets_that_it_needs(
    services: dict[str, dict[str, Any]],
) -> None:
    secrets = {
        name: {secret["source"] for secret in service.get("secrets", ())}
        for name, service in services.items()
    }

    assert secrets["webserver"] == secrets["daemon"] == secrets["postgres"] == {"postgres-password"}
    assert secrets["grafana"] == {"grafana-password"}
    assert {name for name, of_service in secrets.items() if "imap-password" in of_service} == {
        "code-location"
    }


def test_the_instance_is_that_of_every_desk_and_writes_to_a_volume() -> None:
    instance = yaml.safe_load((INSTANCE / "dagster.yaml").read_text())
    everywhere = yaml.safe_load(TEMPLATE.read_text())

    assert instance == everywhere | {
        name: instance[name] for name in ("storage", "local_artifact_storage", "compute_logs")
    }
    assert instance["storage"]["custom"]["class"] == "PooledPostgresStorage"
    for name in ("local_artifact_storage", "compute_logs"):
        assert instance[name]["config"]["base_dir"].startswith("/var/lib/ticket-assets/dagster")


def test_the_workspace_is_the_code_location(services: dict[str, dict[str, Any]]) -> None:
    workspace = yaml.safe_load((INSTANCE / "workspace.yaml").read_text())
    (server,) = (entry["grpc_server"] for entry in workspace["load_from"])

    assert server["host"] in services
    command = services[server["host"]]["command"]
    assert f"--port={server['port']}" in command
    assert f"--location-name={server['location_name']}" in command


@pytest.mark.parametrize("variable", ["TICKETS_CHROMA_URL", "TICKETS_DAGSTER_POSTGRES"])
def test_the_stores_of_the_desk_are_services(
    services: dict[str, dict[str, Any]], variable: str
) -> None:
    host = urlsplit(services["code-location"]["environment"][variable]).hostname

    assert host in STORES
    assert services["code-location"]["networks"].keys() & services[host]["networks"].keys()
