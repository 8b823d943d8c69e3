"""What stands as failed, from one look to the next."""

import pytest

from ticket_assets.alerts.edges import Problem
from ticket_assets.alerts.memory import FILE, Memory
from ticket_assets.storage.blobs import Blobs

CHAIN = ["raw_tickets", "clean_tickets", "drift_report"]


def standing(memory: Memory) -> dict[str, str]:
    return {problem.day or problem.name: problem.detail for problem in memory.problems()}


def test_a_failed_run_stands_until_what_it_did_not_make_is_made() -> None:
    memory = Memory()
    memory.run_ended("1", ["2025-06-01"], ["raw_tickets"], ["clean_tickets", "drift_report"])
    assert standing(memory) == {"2025-06-01": "not made: clean_tickets and 1 more"}

    memory.run_ended("2", ["2025-06-01"], ["raw_tickets", "clean_tickets"])
    assert standing(memory) == {"2025-06-01": "not made: drift_report"}

    memory.run_ended("3", ["2025-06-01"], ["drift_report"])
    assert standing(memory) == {}
    assert memory == Memory()


def test_a_run_over_many_days_is_made_good_day_by_day() -> None:
    memory = Memory()
    memory.run_ended("1", ["2025-06-01", "2025-06-02"], [], CHAIN)

    memory.run_ended("2", ["2025-06-02"], CHAIN)

    assert list(standing(memory)) == ["2025-06-01"]


def test_days_and_what_has_no_days_are_told_apart() -> None:
    memory = Memory()
    memory.run_ended("1", [], [], ["ticket_labels"])

    memory.run_ended("2", ["2025-06-01"], ["ticket_labels"])

    assert memory.problems() == {Problem("run", "ticket_labels")}


def test_a_retry_that_fails_is_the_same_problem_on_a_newer_page() -> None:
    memory = Memory()
    memory.run_ended("1", ["2025-06-01"], [], CHAIN)
    (former,) = memory.problems()

    memory.run_ended("2", ["2025-06-01"], CHAIN[:1], CHAIN[1:])

    (present,) = memory.problems()
    assert (present, present.page) == (former, "/runs/2")


def test_a_run_that_a_person_deleted_is_no_problem() -> None:
    memory = Memory()
    memory.run_ended("1", ["2025-06-01"], [], CHAIN)

    memory.forget_runs({"1"})

    assert memory == Memory()


def test_the_latest_verdict_of_a_check_on_a_day_counts() -> None:
    memory = Memory()
    memory.judged("a:b", "2025-06-01", "check")
    memory.judged("a:b", "2025-06-02", "warning")
    memory.judged("a:b", "2025-06-01", None)

    assert memory.problems() == {Problem("warning", "a:b", "2025-06-02")}

    memory.judged("a:b", "2025-06-02", None)
    assert memory == Memory()


def test_the_memory_is_read_as_it_was_written(file_store: Blobs) -> None:
    memory = Memory(seen={"RUN_FAILURE": (12, 1750000000.5)})
    memory.run_ended("1", ["2025-06-01"], [], CHAIN)
    memory.judged("a:b", "", "check")
    memory.told["log"] = sorted(memory.problems())

    memory.write(file_store)

    assert Memory.read(file_store) == memory


@pytest.mark.parametrize("content", ["", "[]", '{"told": 3}', '{"told": {}, "other": 1}', "{}"])
def test_a_damaged_blob_is_as_good_as_none(file_store: Blobs, content: str) -> None:
    file_store.replace(FILE, content.encode())

    assert Memory.read(file_store) == Memory()
