"""Containers by buildah and podman: the product's own image, and images of what it works with."""

from __future__ import annotations

import configparser
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import platformdirs
import pytest

from tests.services import skip_without

PROJECT = Path(__file__).parents[2]
CACHE = Path(
    os.environ.get("TICKETS_TEST_CONTAINERS")
    or platformdirs.user_cache_path("ticket-assets") / "containers"
)
"""Images are made once and kept here between sessions; it may be removed at any time."""
CANARY = "secret-that-is-in-no-layer"
"""Stands in the pip configuration of each build."""
PRODUCT = "localhost/ticket-assets"
BASE_IMAGE = "localhost/ticket-assets-base:1"
BASE_PACKAGES = "python3,python3-venv,ca-certificates,tini"
SUITE = "bookworm"
KEPT_IMAGES = 2
"""The image of today and the one before, whose layers a build takes where nothing changed."""
KEPT_LAYERS = "48h"
"""Layers without an image (stages of builds) are kept as long, in a store of these tests' own."""
GRACE_SECONDS = 30

# Root in a container of its own has neither the cgroups that crun wants, nor may it raise limits.
CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
UNWRITABLE = (
    # Podman of itself adds writable /run, /tmp and /var/tmp; Docker and Kubernetes do not.
    *("--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"),
    *("--security-opt", "no-new-privileges"),
)
"""Podman's options for a container that writes in its volumes alone."""
HARDENED = (*UNWRITABLE, "--tmpfs", "/tmp:rw,mode=1777")  # noqa: S108
"""Podman's options for what the cluster demands of every pod."""


@dataclass
class Container:
    """A container that runs in the background."""

    engine: Containers
    name: str

    def run(self, *command: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What a command says inside it."""
        return self.engine.podman("exec", self.name, *command, check=check)

    @property
    def state(self) -> dict[str, object]:
        """What podman knows of it: `Running`, `ExitCode`, `OOMKilled` and others."""
        (described,) = json.loads(self.engine.podman("inspect", self.name).stdout)
        state: dict[str, object] = described["State"]
        return state

    def log(self) -> str:
        """Its standard output and error so far."""
        done = self.engine.podman("logs", self.name)
        return done.stdout + done.stderr

    def stop(self, seconds: int = GRACE_SECONDS) -> int:
        """Its exit code after SIGTERM: 137 where it was killed after `seconds`."""
        self.engine.podman("stop", "--time", seconds, self.name)
        return int(str(self.state["ExitCode"]))

    def remove(self) -> None:
        self.engine.podman("rm", "--force", "--time", 0, "--volumes", self.name, check=False)


@dataclass
class Containers:
    """Buildah and podman with the environment in which they work here."""

    folder: Path
    environment: dict[str, str]
    own_store: bool
    """Whether nothing but these tests keeps images there."""
    started: list[Container] = field(default_factory=list)

    def podman(
        self, *arguments: object, check: bool = True, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        return self._call("podman", *arguments, check=check, timeout=timeout)

    def run(
        self,
        image: str,
        *command: object,
        options: Sequence[object] = (),
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a container to its end; `options` are those of `podman run`."""
        arguments = ("run", "--rm", *options, image, *command)
        return self.podman(*arguments, check=check, timeout=timeout)

    def start(
        self, image: str, *command: object, options: Sequence[object] = (), name: str | None = None
    ) -> Container:
        """Starts a container; it is removed at the end of the session, if not before."""
        name = name or f"tickets-{uuid4().hex[:12]}"
        self.podman("run", "--detach", "--name", name, *options, image, *command)
        self.started.append(Container(self, name))
        return self.started[-1]

    def build(self, context: Path, tag: str, *options: object) -> None:
        """Builds the Dockerfile of `context`, with the layers of earlier builds where they fit.

        What pip is told on this machine (index, certificates, wheels) is there while it builds.
        """
        mounts = [option for path in _pip_paths() for option in ("--volume", f"{path}:{path}:ro")]
        secret = self.folder / "pip.conf"
        secret.write_text(_pip_configuration(), "utf-8")
        self._call(
            *("nice", "buildah", "build", "--layers", "--network", "host"),
            *("--secret", f"id=pip.conf,src={secret}", *mounts, *options),
            *("--tag", tag, context),
        )

    def build_product(self, project: Path, tag: str, base: str) -> None:
        """Builds the product's image from a copy of the project."""
        # Where this machine's pip is told where packages are, that goes for PyTorch too.
        torch_index = ("--build-arg", "TORCH_INDEX=") if _pip_settings() else ()
        self.build(project, tag, "--build-arg", f"BASE={base}", *torch_index)

    def has(self, image: str) -> bool:
        return self.podman("image", "exists", image, check=False).returncode == 0

    @contextmanager
    def only_builder(self) -> Iterator[None]:
        """One process at a time builds; the others wait, and find what it built."""
        with (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _call(
        self, *command: object, check: bool = True, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*map(str, command)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            text=True,
            timeout=timeout,
        )
        if check:
            said = (done.stdout + done.stderr)[-4000:]
            assert done.returncode == 0, f"{' '.join(map(str, command))}\n{said}"
        return done


def _pip_settings() -> dict[str, str]:
    """What `pip config list` says, by key; the environment goes before files, as in pip."""
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, check=True, text=True
    ).stdout
    pairs = (line.partition("=")[::2] for line in said.splitlines())
    by_origin = {name: value.strip("'") for name, value in pairs}
    ordered = sorted(by_origin, key=lambda name: name.startswith(":env:"))
    return {name.rpartition(".")[2]: by_origin[name] for name in ordered}


def _pip_configuration() -> str:
    parser = configparser.RawConfigParser()
    parser["global"] = _pip_settings()
    lines = [f"{key} = {' '.join(value.split())}" for key, value in parser["global"].items()]
    return "\n".join([f"# {CANARY}", "[global]", *lines, ""])


def _pip_paths() -> list[Path]:
    """Files and folders of this machine that pip's settings name."""
    words = (word for value in _pip_settings().values() for word in value.split())
    paths = (Path(word.removeprefix("file://")) for word in words)
    # An index in a folder leads to files beside it.
    folders = (path.parent if path.name == "simple" else path for path in paths)
    return sorted({path for path in folders if path.is_absolute() and path.exists()})


def _in_cache(folder: Path) -> Containers:
    """Buildah and podman with the machine's own stores, but for root, whose images and containers
    on the machine are left alone."""
    environment = dict(os.environ)
    if os.getuid() != 0 or "CONTAINERS_CONF" in environment:
        return Containers(folder, environment, own_store=False)
    for name, content in {"containers": CONTAINERS_CONF, "storage": STORAGE_CONF}.items():
        (folder / f"{name}.conf").write_text(content.format(folder=folder), "utf-8")
    environment |= {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "BUILDAH_ISOLATION": "chroot",
    }
    return Containers(folder, environment, own_store=True)


def _made_base(containers: Containers) -> str:
    """A base without a registry, of Debian's packages; else the one that the Dockerfile names."""
    if containers.has(BASE_IMAGE):
        return BASE_IMAGE
    if os.getuid() != 0 or not shutil.which("debootstrap"):
        return _default_base()
    root = containers.folder / "base"
    shutil.rmtree(root, ignore_errors=True)
    containers._call(
        *("nice", "debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", SUITE, root),
    )
    archive = root.with_suffix(".tar")
    containers._call("tar", "--create", "--file", archive, "--directory", root, ".")
    containers.podman("import", archive, BASE_IMAGE)
    archive.unlink()
    shutil.rmtree(root)
    return BASE_IMAGE


def _default_base() -> str:
    """The base that the Dockerfile names, with the Python that runs the tests."""
    lines = (PROJECT / "Dockerfile").read_text("utf-8").splitlines()
    base = next(line for line in lines if line.startswith("ARG BASE=")).partition("=")[2]
    repository, _, tag = base.partition("@")[0].rpartition(":")
    here = ".".join(map(str, sys.version_info[:2]))
    version, _, variant = tag.partition("-")
    return base if version.startswith(f"{here}.") else f"{repository}:{here}-{variant}"


def context_files(project: Path) -> list[Path]:
    """The files of a build, as .dockerignore names them."""
    lines = (project / ".dockerignore").read_text("utf-8").splitlines()
    named = [project / line.removeprefix("!") for line in lines if line.startswith("!")]
    files = [
        path
        for place in named
        for path in ([place] if place.is_file() else sorted(place.rglob("*")))
        if path.is_file()
    ]
    hidden = [path for path in files if "__pycache__" in path.parts or path.name.startswith(".")]
    return [project / "Dockerfile", *(path for path in files if path not in hidden)]


def _state(project: Path, *others: str) -> str:
    """Twelve characters that change with what the image is built from."""
    digest = hashlib.sha256("\n".join(others).encode())
    for path in context_files(project):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(project)} {content}\n".encode())
    return digest.hexdigest()[:12]


def _remove_former(containers: Containers) -> None:
    names = ("--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference={PRODUCT}:*")
    newest_first = containers.podman("images", *names).stdout.split()
    for name in newest_first[KEPT_IMAGES:]:
        # One that another session uses stays.
        containers.podman("rmi", name, check=False)
    if containers.own_store:
        # A killed build leaves a container, which holds its layers.
        containers._call("buildah", "rm", "--all")
        unused = ("image", "prune", "--force", "--filter", f"until={KEPT_LAYERS}")
        containers.podman(*unused)


@pytest.fixture(scope="session")
def containers() -> Iterator[Containers]:
    """Buildah and podman, with a store of their own where root runs the tests."""
    present = all(map(shutil.which, ("buildah", "podman")))
    skip_without(present, "buildah and podman (Debian: buildah podman runc netavark debootstrap)")
    CACHE.mkdir(parents=True, exist_ok=True)
    containers = _in_cache(CACHE)
    yield containers
    for container in containers.started:
        container.remove()


@pytest.fixture(scope="session")
def base_image(containers: Containers) -> str:
    """The image that the others are built on: Debian with Python and tini."""
    with containers.only_builder():
        return _made_base(containers)


@pytest.fixture(scope="session")
def product_image(containers: Containers, base_image: str) -> str:
    """The name of the product's image, built from the working tree."""
    tag = f"{PRODUCT}:{_state(PROJECT, base_image)}"
    with containers.only_builder():
        if not containers.has(tag):
            containers.build_product(PROJECT, tag, base_image)
            _remove_former(containers)
    return tag


@pytest.fixture(scope="session")
def postgres_image(containers: Containers, base_image: str) -> str:
    """The name of an image of Postgres, with the variables and folders of the official one."""
    folder = Path(__file__).with_name("postgres_image")
    files = "\n".join(path.read_text("utf-8") for path in sorted(folder.iterdir()))
    state = hashlib.sha256(f"{base_image}\n{files}".encode()).hexdigest()[:12]
    tag = f"{PRODUCT}-postgres:{state}"
    with containers.only_builder():
        if not containers.has(tag):
            containers.build(folder, tag, "--build-arg", f"BASE={base_image}")
    return tag
