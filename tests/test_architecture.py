"""What may import what: the product works without Dagster, and its commands start at once."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ticket_assets
from ticket_assets.settings import PREFIX

PACKAGE = Path(ticket_assets.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
PLAIN = [
    path for path in MODULES if "defs" not in path.parts and path != PACKAGE / "definitions.py"
]


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also inside functions or for type checking."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_outside_defs_imports_dagster(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}

    assert not {root for root in roots if root == "dagster" or root.startswith("dagster_")}


@pytest.mark.parametrize(
    "path",
    [path for path in PLAIN if path.name not in ("cli.py", "__main__.py")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_only_the_command_knows_of_defs(path: Path) -> None:
    dagster_side = ("ticket_assets.defs", "ticket_assets.definitions", "ticket_assets.cli")

    assert not [name for name in imported(path) if name.startswith(dagster_side)]


def test_the_environment_is_read_in_the_settings_alone() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PLAIN
        if path != PACKAGE / "__init__.py"  # it only sets what libraries read
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }

    assert readers == {"settings.py"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "ticket_assets.cli",
            "pandas torch dagster transformers sklearn chromadb evidently matplotlib duckdb numpy",
        ),
        (
            "ticket_assets.definitions",
            "torch transformers sklearn chromadb evidently matplotlib",
        ),
        # What each of the processes that parse and clean mail imports.
        ("ticket_assets.mail.raw_tickets", "pandas torch dagster duckdb numpy"),
        ("ticket_assets.text.cleaning", "pandas torch dagster duckdb numpy"),
    ],
)
def test_importing_a_way_in_loads_nothing_heavy(tmp_path: Path, module: str, unwanted: str) -> None:
    program = (
        f"import sys, {module}; print(*sorted(set({unwanted.split()!r}) & sys.modules.keys()))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**environment, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
