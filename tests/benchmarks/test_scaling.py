"""The benchmark of what steps cost: costs of mails, days and runs are told apart, on real desks."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from benchmarks.scaling import (
    AGAIN,
    FIRST,
    IMPORT,
    ONE_MACHINE,
    DeskSizes,
    Figures,
    Rate,
    Scaling,
    embedded,
    lines,
    rates,
    scaling,
    shared_servers,
)
from benchmarks.scaling_run import REST


def test_costs_of_mails_days_and_runs_are_told_apart() -> None:
    desks = [
        Figures(mails, days, {"parse": 2 * mails / 1000 + 0.5 * days + 7}, {}, {})
        for mails, days in ((1000, 10), (3000, 10), (1000, 30))
    ]

    (rate,) = rates(desks, lambda desk: desk.cpu_seconds).values()

    assert (rate.thousand, rate.day, rate.run) == pytest.approx((2, 0.5, 7))


def test_the_dearest_step_comes_first() -> None:
    found = Scaling(
        {"cheap": Rate(0.5, 0.25, 1), "dear": Rate(3, 0, 20)},
        {"file": Rate(2e6, 1e3, 5e6)},
        {"dear": 512.4},
    )  # fmt: skip

    assert [(line.figure, line.value) for line in lines(ONE_MACHINE, found)] == [
        (
            "one machine, dear",
            "3.00 CPU s for 1,000 mails, 0.000 for each day, 20.0 for a run; up to 512 MB",
        ),
        ("one machine, cheap", "0.50 CPU s for 1,000 mails, 0.250 for each day, 1.0 for a run"),
        ("one machine, file", "2.00 MB for 1,000 mails, 0.001 for each day, 5.0 at first"),
    ]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", ["embedded", "shared"])
def test_a_desk_is_measured(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that a small desk has a champion.
    monkeypatch.setattr("benchmarks.scaling.SETTINGS", {"TICKETS_MACRO_F1_FLOOR": "0"})
    sizes = DeskSizes(few=200, many=300, days=14, more_days=18)
    with shared_servers() if kind == "shared" else nullcontext(embedded) as make:
        if make is None:
            pytest.skip("Postgres or moto is not installed")

        found = scaling(make, "all-minilm-l6-v2", sizes)

    assert {IMPORT, f"{FIRST}, {REST}", f"{FIRST}, candidate_classifier"} < found.cpu_seconds.keys()
    assert f"{AGAIN}, ticket_predictions" in found.cpu_seconds
    assert f"{AGAIN}, candidate_classifier" not in found.cpu_seconds
    assert found.peak_megabytes[f"{FIRST}, ticket_embeddings"] > 100
    (mail,) = (rate for store, rate in found.bytes.items() if "original mail" in store)
    assert 500_000 < mail.thousand < 10_000_000
