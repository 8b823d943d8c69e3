"""The benchmark of the whole job, at a size that shows no more than that its figures are true."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.job import BenchError, Desk


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    return Desk(tmp_path_factory.mktemp("desk"), "all-minilm-l6-v2")


@pytest.mark.slow
def test_the_job_its_plain_peer_and_new_tickets_are_measured(desk: Desk) -> None:
    cost = desk.sort_sample(400)
    script = desk.plain_script()
    added = desk.sort_new(20)
    again = desk.sort_new(20, seed=9)

    work = cost.encoding_seconds + cost.indexing_seconds + cost.fitting_seconds
    assert min(cost.encoding_seconds, cost.indexing_seconds, cost.fitting_seconds) > 0
    assert cost.other_share == pytest.approx(1 - work / cost.seconds)
    assert {"raw_tickets", "drift_report"} < cost.step_seconds.keys()
    assert script.parts.keys() == {"encoding", "indexing", "fitting", "neighbours", "drift"}
    assert sum(script.parts.values()) < script.seconds
    for new in (added, again):
        assert (new.messages, new.texts_encoded, new.vectors_upserted) == (20, 20, 20)


def test_a_command_that_fails_is_told_with_its_reason(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk", "all-minilm-l6-v2")

    with pytest.raises(BenchError, match="Nothing has landed in"):
        desk.tickets("run")
