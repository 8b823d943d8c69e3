"""The benchmark of what steps cost: costs of mails, days and runs are told apart, on real desks."""

from __future__ import annotations

from collections.abc import Mapping

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
    _figures,
    embedded,
    lines,
    rates,
    scaling,
    shared_servers,
)
from benchmarks.scaling_run import REST

ENCODER = "all-minilm-l6-v2"


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


@pytest.fixture
def easily_promoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small desk has a champion."""
    monkeypatch.setattr("benchmarks.scaling.SETTINGS", {"TICKETS_MACRO_F1_FLOOR": "0"})


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("easily_promoted")
def test_desks_on_one_machine_are_measured() -> None:
    sizes = DeskSizes(few=200, many=300, days=14, more_days=18)

    found = scaling(embedded, ENCODER, sizes)

    assert_measured(found.cpu_seconds, found.peak_megabytes)
    (mail,) = (rate for store, rate in found.bytes.items() if "original mail" in store)
    assert 500_000 < mail.thousand < 10_000_000


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("easily_promoted")
def test_a_desk_on_shared_stores_is_measured() -> None:
    with shared_servers() as make:
        if make is None:
            pytest.skip("Postgres or moto is not installed")

        found = _figures(make, ENCODER, mails=200, days=14)

    assert_measured(found.cpu_seconds, found.peak_megabytes)
    (mail,) = (size for store, size in found.bytes.items() if "original mail" in store)
    assert 100_000 < mail < 2_000_000


def assert_measured(cpu_seconds: Mapping[str, object], peak_megabytes: dict[str, float]) -> None:
    """Each step's costs stand under its name, of a run that learns and of one that does not."""
    assert {IMPORT, f"{FIRST}, {REST}", f"{FIRST}, candidate_classifier"} < cpu_seconds.keys()
    assert f"{AGAIN}, ticket_predictions" in cpu_seconds
    assert f"{AGAIN}, candidate_classifier" not in cpu_seconds
    assert peak_megabytes[f"{FIRST}, ticket_embeddings"] > 100
