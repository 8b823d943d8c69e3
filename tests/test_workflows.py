"""The workflows of GitHub: without faults that linters know, and no other gates than `.ci/run`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT = Path(__file__).parent.parent
GITHUB = PROJECT / ".github"
CI, RELEASE = (GITHUB / "workflows" / name for name in ("ci.yml", "release.yml"))
UNSAFE = """
on: pull_request
permissions: {}
jobs:
  greet:
    runs-on: ubuntu-latest
    steps:
      - run: echo "${{ github.event.pull_request.title }}"
"""


def run_linter(name: str, *arguments: str, cwd: Path = PROJECT) -> tuple[int, str]:
    """Exit code and output of a linter of the development dependencies."""
    path = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if path is None and not os.environ.get("CI"):
        pytest.skip(f"{name} is not installed: pip install -c constraints.txt -e '.[dev]'")
    assert path, f"these tests need {name}"
    done = subprocess.run([path, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def actionlint(*paths: Path) -> tuple[int, str]:
    return run_linter("actionlint", *map(str, paths))


def zizmor(*paths: Path) -> tuple[int, str]:
    return run_linter("zizmor", "--offline", "--persona=auditor", *map(str, paths))


def test_actionlint_has_nothing_to_say_of_the_workflows() -> None:
    assert actionlint(CI, RELEASE) == (0, "")


def test_zizmor_has_nothing_to_say_of_the_workflows_and_dependabot() -> None:
    code, output = zizmor(GITHUB)

    assert code == 0, output
    for name in ("ci.yml", "release.yml", "dependabot.yml"):
        assert re.search(rf"completed \S*{name}", output)


@pytest.mark.parametrize("linter", [actionlint, zizmor])
def test_the_linters_see_a_title_that_becomes_a_command(tmp_path: Path, linter: Any) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "greet.yml").write_text(UNSAFE)

    code, output = linter(folder / "greet.yml")

    assert code != 0
    assert "pull_request.title" in output


def workflow(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


def make_targets(script: str) -> list[str]:
    return re.findall(r"^make (\S+)$", script, re.MULTILINE)


def test_the_workflow_and_ci_run_have_the_same_gates() -> None:
    local = make_targets((PROJECT / ".ci/run").read_text("utf-8"))
    on_github = [
        target for step in steps(CI) for target in make_targets(step.get("run", "").strip())
    ]

    assert sorted(on_github) == sorted(local) == ["checks", "lint", "test", "validate"]


def test_both_install_the_same_packages_of_the_system() -> None:
    packages = re.compile(r"apt-get install (?:-\S+ )*([a-z][a-z0-9 -]*)")
    on_github = [step for step in steps(CI) if "apt-get" in step.get("run", "")]

    (there,) = packages.findall(on_github[0]["run"].strip())
    (here,) = packages.findall((PROJECT / ".ci/run").read_text("utf-8"))
    # GitHub's machines have Chrome; there, Ubuntu's package of Chromium would be a snap.
    assert there.split() == [package for package in here.split() if package != "chromium"]


def test_the_tests_run_on_every_python_that_the_product_is_for() -> None:
    pythons = re.findall(
        r"Programming Language :: Python :: (3\.\d+)", (PROJECT / "pyproject.toml").read_text()
    )

    assert workflow(CI)["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons


@pytest.mark.parametrize("path", [CI, RELEASE], ids=lambda path: path.name)
def test_actions_are_pinned_by_commit_and_say_their_version(path: Path) -> None:
    used = re.findall(r"uses: (.*)", path.read_text("utf-8"))

    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line) for line in used)


def test_the_two_workflows_use_the_same_commit_of_an_action() -> None:
    used = {step["uses"] for path in (CI, RELEASE) for step in steps(path) if "uses" in step}

    assert len(used) == len({action.partition("@")[0] for action in used})


def test_a_job_may_write_only_where_it_publishes() -> None:
    permissions = {
        f"{path.name} {name}": job["permissions"]
        for path in (CI, RELEASE)
        for name, job in workflow(path)["jobs"].items()
    }

    assert workflow(CI)["permissions"] == workflow(RELEASE)["permissions"] == {}
    assert {name: rights for name, rights in permissions.items() if "write" in rights.values()} == {
        "release.yml pypi": {"contents": "read", "id-token": "write"},
        "release.yml github": {"contents": "write"},
    }


def test_the_tools_of_a_release_are_pinned_by_their_content() -> None:
    text = (GITHUB / "release-tools.txt").read_text("utf-8").replace("\\\n", "")
    pins = [line for line in text.splitlines() if not line.startswith("#")]

    assert all(re.fullmatch(r"\S+==\S+\s+--hash=sha256:[0-9a-f]{64}", pin) for pin in pins)
    assert {"build", "cyclonedx-bom", "twine"} <= {pin.partition("==")[0] for pin in pins}
