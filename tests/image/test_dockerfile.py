"""The Dockerfile and its context as files, without a build."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services import skip_without
from tests.services.containers import PROJECT

DOCKERFILE = PROJECT / "Dockerfile"


def hadolint(path: Path) -> tuple[int, str]:
    program = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    skip_without(program is not None, "hadolint (pip install -c constraints.txt -e '.[dev]')")
    done = subprocess.run(
        [str(program), "--no-color", path], capture_output=True, check=False, text=True
    )
    return done.returncode, done.stdout + done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    assert hadolint(DOCKERFILE) == (0, "")


def test_hadolint_sees_a_base_without_a_tag(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM debian\n")

    code, said = hadolint(tmp_path / "Dockerfile")

    assert code != 0
    assert "DL3006" in said


def test_the_base_is_pinned_to_a_release() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)

    assert re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+-[\w.-]+(@sha256:[0-9a-f]{64})?", base)


def test_nothing_else_than_the_named_base_is_pulled() -> None:
    text = DOCKERFILE.read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE))
    sources = set(re.findall(r"^FROM (\S+)|--from=(\w+)", text, re.MULTILINE))

    assert {next(filter(None, names)) for names in sources} <= stages | {"${BASE}"}


@pytest.mark.slow
def test_what_converts_encoders_is_copied_whole(tmp_path: Path) -> None:
    """Its modules are copied by name, so that another change converts nothing anew."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    for line in re.findall(r"^COPY (ticket_assets/.*/src/.*)$", text, re.MULTILINE):
        *sources, place = line.split()
        target = tmp_path / place.removeprefix("/src/")
        for source in sources:
            if (PROJECT / source).is_dir():
                shutil.copytree(PROJECT / source, target)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(PROJECT / source, target)

    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            "import ticket_assets.embedding.conversion, ticket_assets.embedding.prepared as last;"
            "print(last.__file__)",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.stdout == f"{tmp_path}/ticket_assets/embedding/prepared.py\n", done.stderr
