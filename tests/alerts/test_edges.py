"""What is told when problems come and go."""

import pytest

from ticket_assets.alerts.edges import KINDS, Problem, edges

UI = "http://ui:3000/"
CHECK = "clean_tickets:no_text_is_empty"


def run(day: str) -> Problem:
    return Problem("run", "", day, detail="not made: raw_tickets", page=f"/runs/{day}")


@pytest.mark.parametrize(
    ("case", "former", "present", "sentences"),
    [
        ("nothing", [], [], []),
        ("no news", [run("2025-06-01")], [run("2025-06-01")], []),
        (
            "a retry failed in another place, on another page",
            [run("2025-06-01")],
            [Problem("run", "", "2025-06-01", "not made: drift_report", "/runs/2")],
            [],
        ),
        (
            "one problem, with its page",
            [],
            [Problem("check", CHECK, "2025-06-01", page="/assets/clean_tickets?view=checks")],
            [
                "A check failed: clean_tickets:no_text_is_empty, 2025-06-01. The page of a check"
                " shows its figures; what comes after a blocking one waits:"
                " http://ui:3000/assets/clean_tickets?view=checks"
            ],
        ),
        (
            "many of a kind are one sentence, with the page of all",
            [],
            [run(f"2025-06-{day:02}") for day in range(1, 9)],
            [
                "8 runs failed: 2025-06-01 (not made: raw_tickets); 2025-06-02 (not made:"
                " raw_tickets); 2025-06-03 (not made: raw_tickets); 2025-06-04 (not made:"
                " raw_tickets); 2025-06-05 (not made: raw_tickets); and 3 more. The page of a run"
                " says why; new mail that failed is tried again by itself: http://ui:3000/runs"
            ],
        ),
        (
            "only what is new is told",
            [Problem("late", "drift_report")],
            [Problem("late", "drift_report"), Problem("late", "raw_tickets", page="/assets/r")],
            [
                "An asset is late: raw_tickets. See whether its runs fail, or whether automation is"
                " stopped: http://ui:3000/assets/r"
            ],
        ),
        (
            "well again",
            [Problem("tick", "new_mail"), Problem("tick", "automation")],
            [],
            ["2 sensors and schedules work again: automation; new_mail."],
        ),
        (
            "one is gone while another appears",
            [Problem("standing", "", "2025-06-01")],
            [Problem("standing", "", "2025-06-02")],
            [
                "The mail of a day could not be sorted and is not tried again: 2025-06-02."
                " `tickets run --day DAY` tries it now",
                "The mail of a day that had failed is sorted or changed: 2025-06-01.",
            ],
        ),
        (
            "a check that warned and fails now is not well",
            [Problem("warning", CHECK, "2025-06-01")],
            [Problem("check", CHECK, "2025-06-01", page="/c")],
            [
                f"A check failed: {CHECK}, 2025-06-01. The page of a check shows its figures;"
                " what comes after a blocking one waits: http://ui:3000/c"
            ],
        ),
        (
            "the run of an asset is well, the asset is still late",
            [Problem("run", "ticket_labels"), Problem("late", "ticket_labels")],
            [Problem("late", "ticket_labels")],
            ["What a run had failed to make is there: ticket_labels."],
        ),
        (
            "a file may be named after a person",
            [],
            [Problem("refused", "0a1b"), Problem("refused", "2c3d")],
            ["2 files cannot be read. `tickets status` names such files and says why"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_edges(
    case: str, former: list[Problem], present: list[Problem], sentences: list[str]
) -> None:
    assert edges(former, present, UI) == sentences


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2])
def test_every_kind_is_told_once_when_it_comes_and_once_when_it_goes(
    kind: str, number: int
) -> None:
    problems = [Problem(kind, f"name-{each}") for each in range(number)]

    (appeared,) = edges([], problems, UI)
    (gone,) = edges(problems, [], UI)

    assert appeared != gone
    assert "{" not in appeared + gone
