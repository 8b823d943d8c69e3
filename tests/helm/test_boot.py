"""The chart boots: its manifests, adapted by helm/play_kube.py, in podman's containers."""

import json
import socket
import subprocess
import sys
import time
from contextlib import suppress
from http.client import HTTPConnection
from uuid import uuid4

import pytest
import yaml

from tests.helm.rendering import ROOT, rendered
from tests.loopback import free_port
from tests.services import skip_without, wait_until
from tests.services.s3 import SERVER

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500, func_only=True)]

SERVES = ["chroma", "code-location", "daemon", "evidently", "exporter", "postgresql", "webserver"]
BUCKET = "desk"
NAME = f"boot-{uuid4().hex[:8]}"
"""Begins the names of all that podman makes, of this session alone."""
PLAY_SECONDS = 300


class Release:
    """A release of the chart in podman, with an object store on this machine."""

    def __init__(self, containers, network, manifests):
        self._containers, self._network, self.manifests = containers, network, manifests

    def play(self, *options):
        """Starts what `helm/play_kube.py` makes of the manifests with these options."""
        adapted = subprocess.run(
            [sys.executable, ROOT / "helm/play_kube.py", *options],
            input=yaml.safe_dump_all(self.manifests),
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        done = subprocess.run(
            ["podman", "play", "kube", "--network", self._network, "-"],
            input=adapted,
            env=self._containers.environment,
            capture_output=True,
            check=False,
            text=True,
            timeout=PLAY_SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def state(self, component, container):
        """What podman knows of a container, by its pod and name."""
        name = f"{NAME}-{component}-{container}"
        (described,) = json.loads(self._containers.podman("inspect", name).stdout)
        return described

    def ended(self, component, seconds):
        """Exit code and log of a pod that ends by itself."""

        def has_ended():
            return self.state(component, component)["State"]["Status"] == "exited"

        wait_until(has_ended, f"the end of {component}", seconds)
        code = self.state(component, component)["State"]["ExitCode"]
        return code, self.log(component, component)

    def log(self, component, container):
        done = self._containers.podman("logs", f"{NAME}-{component}-{container}", check=False)
        return done.stdout + done.stderr

    def execute(self, component, container, *command):
        name = f"{NAME}-{component}-{container}"
        return self._containers.podman("exec", name, *command, check=False)

    def container_of(self, component):
        """The container of the component as it was rendered."""
        (container,) = (
            container
            for item in self.manifests
            if item["metadata"]["name"] == f"{NAME}-{component}"
            and item["kind"] in {"Deployment", "StatefulSet"}
            for container in item["spec"]["template"]["spec"]["containers"]
        )
        return container


@pytest.fixture(scope="module")
def network(containers):
    """A network of containers with names; its gateway is this machine."""
    skip_without(containers.podman("network", "ls", check=False).returncode == 0, "podman")
    name = f"tickets-{uuid4().hex[:8]}"
    containers.podman("network", "create", name)
    yield name
    containers.podman("network", "rm", "--force", name, check=False)


@pytest.fixture(scope="module")
def gateway(containers, network):
    (described,) = json.loads(containers.podman("network", "inspect", network).stdout)
    return described["subnets"][0]["gateway"]


@pytest.fixture(scope="module")
def object_store(gateway, tmp_path_factory):
    """The address of an S3 server on this machine that the containers reach, with a bucket."""
    port = free_port()
    log = tmp_path_factory.mktemp("objects") / "log"
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER, "0.0.0.0", str(port)],  # noqa: S104
            stdout=output,
            stderr=output,
        )

    def answers():
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    wait_until(answers, "the S3 server")
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"/{BUCKET}")
    assert connection.getresponse().status == 200
    connection.close()
    yield f"http://{gateway}:{port}"
    server.terminate()
    server.wait(30)


@pytest.fixture(scope="module")
def release(containers, network, object_store, product_image, postgres_image):
    """The release, played; it goes with everything that it has written."""
    product, _, tag = product_image.rpartition(":")
    database, _, database_tag = postgres_image.rpartition(":")
    values = {
        "fullnameOverride": NAME,
        "image": {"repository": product, "tag": tag, "pullPolicy": "Never"},
        "settings": {
            "TICKETS_FILES": f"s3://{BUCKET}/desk",
            "TICKETS_WAREHOUSE_DATA": f"s3://{BUCKET}/tables",
            "TICKETS_S3_ENDPOINT": object_store,
            "TICKETS_S3_REGION": "eu-west-1",
            "TICKETS_S3_KEY_ID": "desk",
        },
        "secrets": {"s3Secret": "s3cret/with+signs="},
        "postgresql": {
            "postgresqlPassword": "p'a ss wörd",
            "image": {"repository": database, "tag": database_tag, "pullPolicy": "Never"},
        },
        "dagsterWebserver": {"service": {"port": 3000}},
    }
    release = Release(containers, network, rendered(values, upgrade=True))
    try:
        release.play()
        yield release
    finally:
        _remove(containers)


def _remove(containers):
    for kind, field in (("pod", "Name"), ("secret", "Name"), ("volume", "Name")):
        listed = containers.podman(kind, "ls", "--format", f"{{{{.{field}}}}}").stdout.split()
        names = [name for name in listed if NAME in name]
        if names:
            force = () if kind == "secret" else ("--force",)
            containers.podman(kind, "rm", *force, *names, check=False)


def test_what_helm_test_runs_passes(release):
    """The webserver answers, the code location loads, the daemon beats, and the rest answers."""
    release.play("--job", "test")

    code, log = release.ended("test", 400)

    others = {name: release.log(name, name)[-1500:] for name in SERVES}
    assert code == 0, (log, others)
    lines = dict(line.split(": ", 1) for line in log.splitlines() if ": " in line)
    assert lines.keys() == {
        *("webserver", "code_location", "daemon", "chroma", "exporter", "evidently"),
    }
    assert lines["code_location"] == "ticket_assets is loaded"


@pytest.mark.parametrize("component", SERVES)
def test_the_probes_of_a_pod_pass_in_it(release, component):
    container = release.container_of(component)
    ports = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
    probes = [container[name] for name in ("startupProbe", "readinessProbe") if name in container]
    assert probes
    for probe in [*probes, container["livenessProbe"]]:
        command = _as_command(probe, ports)
        deadline = time.monotonic() + 240
        while True:
            done = release.execute(component, component, *command)
            if done.returncode == 0 or time.monotonic() > deadline:
                break
            time.sleep(3)
        assert done.returncode == 0, (component, command, done.stdout + done.stderr)


def _as_command(probe, ports):
    """What Kubernetes tries from outside, tried inside the container."""
    if "exec" in probe:
        return probe["exec"]["command"]
    if "grpc" in probe:
        return ["dagster", "api", "grpc-health-check", "-p", str(probe["grpc"]["port"])]
    http = probe["httpGet"]
    url = f"http://127.0.0.1:{ports[http['port']]}{http['path']}"
    return ["python", "-c", f"import urllib.request; urllib.request.urlopen({url!r}, timeout=20)"]


@pytest.mark.parametrize("component", SERVES)
def test_a_pod_runs_as_it_was_rendered(release, component):
    """Without rights, a root file system that is read-only, a user that is not root."""
    described = release.state(component, component)

    uid = "999:999" if component == "postgresql" else "10001:10001"
    assert described["Config"]["User"] == uid
    assert described["HostConfig"]["ReadonlyRootfs"] is True
    assert not described["EffectiveCaps"]
    assert "no-new-privileges" in described["HostConfig"]["SecurityOpt"]
    assert described["State"]["Status"] == "running"


def test_the_migration_of_an_upgrade_passes(release):
    release.play("--job", "migrate")

    code, log = release.ended("migrate", 300)

    assert code == 0, log
    assert "Dagster's storage is up to date." in log


def test_a_desk_works_in_it(release):
    """Mail is imported and sorted in the pod of the code location, by the stores of the release."""
    written = release.execute(
        *("code-location", "code-location", "tickets", "sample", "/tmp/sample"),  # noqa: S108
        *("--messages", "120", "--days", "14"),
    )
    assert written.returncode == 0, written.stdout + written.stderr
    imported = release.execute(
        *("code-location", "code-location", "tickets", "import", "/tmp/sample/mailbox.mbox"),  # noqa: S108
        *("--labels", "/tmp/sample/labels.csv"),  # noqa: S108
    )
    assert imported.returncode == 0, imported.stdout + imported.stderr

    run = release.execute(
        "code-location", "code-location", "tickets", "run", "--only", "raw_tickets"
    )

    assert run.returncode == 0, run.stdout + run.stderr
    # With the messages that it rejects.
    assert "2 assets materialised" in run.stdout
