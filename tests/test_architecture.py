"""What may import what: the product works without Dagster, and its commands start at once."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import ticket_assets
from tests.slow_cases import slow
from ticket_assets.settings import PREFIX

PACKAGE = Path(ticket_assets.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
DAGSTER_SIDE = ("definitions.py", "defs", "orchestration")
"""What may import Dagster: the graph as Dagster shows it, and what drives it from outside."""
COMMAND = ("cli", "__main__.py")


def is_part(path: Path, parts: tuple[str, ...]) -> bool:
    return path.relative_to(PACKAGE).parts[0] in parts


PLAIN = [path for path in MODULES if not is_part(path, DAGSTER_SIDE)]
GRAPH = [path for path in MODULES if is_part(path, ("defs",))]


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


def imported(path: Path) -> Iterator[str]:
    """Modules that a file imports anywhere, also inside functions or for type checking."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_circle(modules: dict[str, Path]) -> list[str]:
    """Modules of which each imports the next, and the last is the first again; empty if none."""
    imports = {
        # A package names itself where it imports one of its own modules.
        name: (modules.keys() & set(imported(path))) - {name}
        for name, path in modules.items()
    }
    # Dagster imports all of defs/ when it reads the definitions.
    imports["ticket_assets.definitions"] |= {
        name for name in modules if name.startswith("ticket_assets.defs.")
    }
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        # graphlib names each module before the one that imports it.
        return list(reversed(error.args[1]))
    return []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {module_name(path): path for path in MODULES}

    assert import_circle(modules) == []


def test_a_circle_is_seen_also_inside_functions_and_for_type_checking(tmp_path: Path) -> None:
    texts = {
        "definitions": "",
        "a": "def f() -> None:\n    from ticket_assets.b import g\n",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ticket_assets.c\n",
        "c": "from ticket_assets import a\n",
    }
    modules = {f"ticket_assets.{name}": tmp_path / f"{name}.py" for name in texts}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text, "utf-8")

    first, *others, last = import_circle(modules)

    assert first == last
    assert {first, *others} == {"ticket_assets.a", "ticket_assets.b", "ticket_assets.c"}


def imports(paths: Iterable[Path], is_unwanted: Callable[[str], bool]) -> list[str]:
    """The unwanted imports of these files, each with its file."""
    return [
        f"{path.relative_to(PACKAGE)}: {name}"
        for path in paths
        for name in imported(path)
        if is_unwanted(name)
    ]


def test_plain_packages_do_not_import_dagster() -> None:
    def is_dagster(name: str) -> bool:
        root = name.split(".", maxsplit=1)[0]
        return root == "dagster" or root.startswith("dagster_")

    assert imports(PLAIN, is_dagster) == []


def test_only_the_command_knows_of_dagsters_side() -> None:
    above = tuple(f"ticket_assets.{part.removesuffix('.py')}" for part in (*DAGSTER_SIDE, "cli"))
    below = (path for path in PLAIN if not is_part(path, COMMAND))

    assert imports(below, lambda name: name.startswith(above)) == []


def test_the_graph_does_not_know_what_drives_it() -> None:
    above = ("ticket_assets.orchestration", "ticket_assets.cli")
    # Sensors have to know a dead run from one that is at work, and where runs are started; the
    # nightly job removes old runs.
    below = tuple(
        f"ticket_assets.orchestration.{name}"
        for name in ("launcher", "living_runs", "pruning", "run_jobs")
    )

    assert imports(GRAPH, lambda name: name.startswith(above) and not name.startswith(below)) == []


def test_the_environment_is_read_in_the_settings_alone() -> None:
    readers = {
        str(path.relative_to(PACKAGE))
        for path in PLAIN
        if path != PACKAGE / "__init__.py"  # it only sets what libraries read
        for node in nodes(path)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }

    assert readers == {"settings.py"}


def test_everything_that_is_printed_goes_through_the_console() -> None:
    """There it becomes text: elsewhere a name from outside could be markup or control a terminal.

    prepared.py is what builds an image, and prints names of its own alone."""
    printers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        for node in nodes(path)
        if (isinstance(node, ast.Name) and node.id == "print")
        or (isinstance(node, ast.Attribute) and node.attr in {"echo", "secho", "from_markup"})
        or (
            (isinstance(node, ast.Attribute) and node.attr in {"stdout", "stderr"})
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
        )
        or (isinstance(node, ast.alias) and node.name in {"rich.markup", "Console"})
    }

    assert printers - {"embedding/prepared.py"} == {"cli/console.py", "cli/__init__.py"}


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        (
            "ticket_assets.cli",
            "pandas torch dagster transformers sklearn chromadb evidently matplotlib duckdb numpy",
        ),
        *slow(
            (
                "ticket_assets.definitions",
                "torch transformers sklearn chromadb evidently matplotlib",
            ),
            # What `tickets dev` serves the drift reports with.
            ("ticket_assets.drift.report_server", "pandas numpy sklearn evidently dagster"),
            # What each of the processes that parse and clean mail imports.
            ("ticket_assets.mail.raw_tickets", "pandas torch dagster duckdb numpy"),
            ("ticket_assets.text.cleaning", "pandas torch dagster duckdb numpy"),
        ),
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
