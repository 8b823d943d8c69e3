"""What the exporter counts, over restarts."""

from pathlib import Path

import pytest

from ticket_assets.metrics.counters import FILE, REMEMBERED, Counters, Histogram
from ticket_assets.metrics.families import histogram
from ticket_assets.storage.folder_blobs import FolderBlobs


@pytest.fixture
def cursors(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path)


def test_a_restart_goes_on_counting(cursors: FolderBlobs) -> None:
    before = Counters()
    before.seen["ASSET_CHECK_EVALUATION"] = (12, 1750000000.5)
    before.ticks_seen["sensor"] = (3, 1750000000.5)
    before.add("runs", ("sort", "success"), 2)
    before.observe("duration", ("sort",), 7.5, [5, 10])
    before.is_new("run 1")
    before.write(cursors)

    after = Counters.read(cursors)

    assert after == before
    after.add("runs", ("sort", "success"))
    assert after.counts["runs"] == {("sort", "success"): 3.0}
    assert not after.is_new("run 1")
    assert after.is_new("run 2")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"seen": {}, "ticks": {"a": 1}}'])
def test_a_damaged_blob_counts_from_zero(cursors: FolderBlobs, content: bytes) -> None:
    cursors.replace(FILE, content)

    assert Counters.read(cursors) == Counters()


def test_runs_are_not_remembered_for_ever() -> None:
    counters = Counters()
    for number in range(REMEMBERED + 1):
        counters.is_new(f"run {number}")

    assert len(counters.runs) == REMEMBERED
    assert not counters.is_new(f"run {REMEMBERED}")


def test_a_value_counts_in_the_bucket_that_ends_with_it_and_in_all_above() -> None:
    durations = Histogram([1, 5])
    for value in (0.5, 1.0, 3.0, 60.0):
        durations.observe(value)

    assert durations.buckets() == [("1.0", 2), ("5.0", 3), ("+Inf", 4)]
    family = histogram("duration_seconds", "Of runs.", ("job_name",), {("sort",): durations})
    assert {(it.name, it.labels.get("le")): it.value for it in family.samples} == {
        ("duration_seconds_bucket", "1.0"): 2,
        ("duration_seconds_bucket", "5.0"): 3,
        ("duration_seconds_bucket", "+Inf"): 4,
        ("duration_seconds_count", None): 4,
        ("duration_seconds_sum", None): 64.5,
    }
