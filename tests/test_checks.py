"""`tickets checks`: a fault in the product, its settings or its labels fails the gate it is for."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ticket_assets.checks_table import CheckedGraph, CheckOutcome
from ticket_assets.cli import app
from ticket_assets.sample.mailbox import generate, write_mailbox

PROJECT = Path(__file__).parent.parent
SCRIPT = Path(__file__).with_name("faulty_command.py")


class Checks:
    """Runs `tickets checks` on a mailbox of its own; keywords are environment variables."""

    def __init__(self, folder: Path, mailbox: Path) -> None:
        self.folder = folder
        self.mailbox = mailbox
        self.summary = folder / "checks.md"

    def __call__(
        self, *arguments: str, fault: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        outer = {name: text for name, text in os.environ.items() if not name.startswith("TICKETS_")}
        return subprocess.run(
            [
                *(sys.executable, "-P", str(SCRIPT), fault, "checks", *arguments),
                *("--mailbox", str(self.mailbox), "--summary", str(self.summary)),
            ],
            cwd=self.folder,
            env={
                **outer,
                "PYTHONPATH": str(PROJECT),
                "TICKETS_DATA_DIR": str(self.folder / "data"),
                "TICKETS_MIN_CLASS_TICKETS": "5",
                "TICKETS_MACRO_F1_FLOOR": "0.4",
                "TICKETS_HOLDOUT_SHARE": "0.3",
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def failed(self) -> set[str]:
        """The checks that the summary shows as failed."""
        rows = [line.split(" | ") for line in self.summary.read_text().splitlines()]
        return {row[1] for row in rows if len(row) > 2 and row[2] == "**failed**"}

    def relabel(self, change: Callable[[list[str]], list[str]]) -> None:
        """Replaces the categories in the mailbox's labels."""
        path = self.mailbox / "labels.csv"
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        for row, category in zip(rows, change([row["category"] for row in rows]), strict=True):
            row["category"] = category
        with path.open("w", newline="") as file:
            table = csv.DictWriter(file, rows[0])
            table.writeheader()
            table.writerows(rows)


def checks_of(folder: Path, messages: int) -> Checks:
    mails = generate(messages=messages, days=14, until=date(2026, 6, 28), labelled_share=0.95)
    write_mailbox(folder / "mailbox", mails)
    return Checks(folder, folder / "mailbox")


@pytest.fixture
def checks(tmp_path: Path) -> Checks:
    """On a mailbox with enough mail for the gates before learning."""
    return checks_of(tmp_path, 40)


@pytest.mark.slow
def test_labels_that_are_not_configured_fail_their_gate(checks: Checks) -> None:
    checks.relabel(lambda categories: ["coffee", *categories[1:]])

    assert checks().returncode == 1
    assert checks.failed == {"labels_are_configured"}
    assert r"'category': \['coffee'\]" in checks.summary.read_text()


@pytest.mark.slow
def test_a_candidate_of_other_tickets_labels_fails_its_gate_and_no_desk_is_touched(
    tmp_path: Path,
) -> None:
    checks = checks_of(tmp_path, 200)  # `make checks` shows that a sound product passes
    checks.relabel(lambda categories: [*categories[50:], *categories[:50]])

    done = checks(
        DAGSTER_HOME=str(tmp_path / "dagster"),
        TICKETS_CHROMA_URL="http://127.0.0.1:9",
        TICKETS_FIRST_DAY="2026-06-28",
    )

    assert done.returncode == 1
    assert "candidate_reaches_the_floor" in checks.failed
    summary = checks.summary.read_text()
    assert summary.strip() == done.stdout.strip()
    assert (
        "| ticket_collection | a_vector_finds_itself | passed | ERROR, blocks | 0 of 14 |"
        in summary
    )
    assert "| ticket_classifier |  | not materialised |" in summary
    assert {path.name for path in tmp_path.iterdir()} == {"mailbox", "checks.md"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "gates"),
    [
        (
            "repeated_ticket",
            {"ticket_ids_are_unique", "received_dates_are_inside_the_partition"},
        ),
        ("unmasked_telephones", {"no_personal_data_is_left"}),
        ("long_vectors", {"vectors_are_finite_and_of_unit_length"}),
    ],
)
def test_a_damaged_part_fails_the_gates_after_it(
    checks: Checks, fault: str, gates: set[str]
) -> None:
    assert checks(fault=fault).returncode == 1
    assert checks.failed == gates
    assert "| ticket_predictions |  | not materialised |" in checks.summary.read_text()
    assert "This does not hold:" in checks.summary.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--fail-on", "never"),
        ("--mailbox", "nowhere"),
        ("--mailbox", "."),
        ("--summary", "nowhere/checks.md"),
    ],
)
def test_a_wrong_option_is_bad_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)

    done = CliRunner().invoke(app, ["checks", *arguments])

    assert done.exit_code == 2
    assert arguments[0] in done.output


def outcome(*verdicts: bool, severity: str = "ERROR", blocking: bool = True) -> CheckOutcome:
    """A check that is judged on the days from 1 June on."""
    made = CheckOutcome("vectors_are_unit_length", blocking)
    for day, passed in enumerate(verdicts, 1):
        made.record(f"2026-06-{day:02}", severity, {"wrong": day * (not passed)}, passed=passed)
    return made


def test_the_row_of_a_check_shows_its_first_failed_day() -> None:
    graph = CheckedGraph({"ticket_embeddings": [outcome(True, False, False, True)]})

    (row,) = [line for line in graph.to_markdown("ERROR").splitlines() if "vectors" in line]

    assert row == (
        "| ticket_embeddings | vectors_are_unit_length | **failed** | ERROR, blocks | 2 of 4 |"
        " day: 2026-06-02, wrong: 2 |"
    )


@pytest.mark.parametrize(
    ("check", "fails_on_error", "fails_on_warnings"),
    [
        (outcome(True, True), False, False),
        (outcome(True, False), True, True),
        (outcome(False, blocking=False), True, True),
        (outcome(True, False, severity="WARN"), False, True),
        (outcome(), True, True),  # what is before it has failed, or nothing runs it
    ],
)
def test_errors_fail_and_warnings_only_where_that_is_asked_for(
    check: CheckOutcome, fails_on_error: bool, fails_on_warnings: bool
) -> None:
    graph = CheckedGraph({"ticket_embeddings": [check]})

    assert (not graph.passes("ERROR"), not graph.passes("WARN")) == (
        fails_on_error,
        fails_on_warnings,
    )


def test_a_step_that_failed_fails_and_says_why() -> None:
    graph = CheckedGraph({"ticket_embeddings": [outcome(True)]}, failed_steps={"drift": "no disk"})

    assert not graph.passes("ERROR")
    assert "| drift | no disk |" in graph.to_markdown("ERROR")
