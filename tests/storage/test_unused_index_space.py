"""What Chroma's index has not used on disk holds nothing of the process that wrote it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ticket_assets.storage.collection import TicketCollection
from ticket_assets.storage.unused_index_space import clear_unused

MODEL = "an-encoder@1"
COUNT = 1_100
"""Chroma saves the index after 1,000 vectors; the rest is in its log alone."""
SYNC = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
import numpy as np
import pandas as pd
from ticket_assets.storage.collection import TicketCollection

count = int(sys.argv[2])
vectors = np.random.default_rng(0).normal(size=(count, 8)).astype("float32")
rows = pd.DataFrame({
    "ticket_id": [f"{number:020x}" for number in range(count)],
    "received_at": datetime(2025, 3, 3, tzinfo=UTC), "language": "fr",
    "text_hash": [f"{number:016x}" for number in range(count)], "category": None, "priority": None,
})
with TicketCollection.open("an-encoder@1", folder=Path(sys.argv[1])) as collection:
    collection.sync(rows, vectors, date(2025, 3, 3), date(2025, 3, 3))
"""
REMAINS = 0xA5


@pytest.fixture(params=[5, COUNT], ids=["in the log", "saved"])
def folder(tmp_path, request):
    """A collection by a process in which all memory that is allocated holds something."""
    subprocess.run(
        [sys.executable, "-c", SYNC, tmp_path / "collection", str(request.param)],
        env={**os.environ, "MALLOC_PERTURB_": str(0xFF ^ REMAINS)},
        check=True,
    )
    return tmp_path / "collection"


def remains(folder: Path) -> dict[str, int]:
    """How many bytes of each index file are still as they were allocated, in runs of eight."""
    return {
        path.name: path.read_bytes().count(bytes([REMAINS] * 8)) for path in folder.glob("*/*.bin")
    }


def nearest(folder: Path):
    vectors = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    with TicketCollection.open(MODEL, folder=folder) as collection:
        return [[near.ticket_id for near in found] for found in collection.nearest(vectors, 3)]


@pytest.mark.slow
def test_nothing_of_the_memory_of_the_process_is_left(folder):
    files = remains(folder)

    assert {"data_level0.bin", "length.bin", "header.bin"} <= files.keys()
    assert set(files.values()) == {0}


@pytest.mark.slow
def test_the_vectors_stay_as_they_are(folder):
    found = nearest(folder)

    assert [ids[0] for ids in found] == [f"{number:020x}" for number in range(5)]
    with TicketCollection.open(MODEL, folder=folder):
        before = {path: path.read_bytes() for path in folder.glob("*/*.bin")}
        clear_unused(folder)
        assert {path: path.read_bytes() for path in folder.glob("*/*.bin")} == before


def test_the_last_process_to_leave_clears(tmp_path):
    folder = tmp_path / "collection"
    with TicketCollection.open(MODEL, folder=folder):
        index = folder / "an-index"
        index.mkdir()
        (index / "header.bin").write_bytes(
            (1).to_bytes(4, "little")
            + b"".join(number.to_bytes(8, "little") for number in (0, 3, 1, 2))
        )
        (index / "data_level0.bin").write_bytes(b"abcdef")
        (index / "length.bin").write_bytes(b"0123456789ab")
        with TicketCollection.open(MODEL, folder=folder):
            pass
        assert (index / "data_level0.bin").read_bytes() == b"abcdef"

    assert (index / "data_level0.bin").read_bytes() == b"ab" + bytes(4)
    assert (index / "length.bin").read_bytes() == b"0123" + bytes(8)
    assert [path.name for path in tmp_path.iterdir()] == ["collection"]


@pytest.mark.parametrize(
    "header",
    [b"\1\0", (2).to_bytes(4, "little") + bytes(32), (1).to_bytes(4, "little") + b"\xff" * 32],
    ids=["cut off", "another version", "without sense"],
)
def test_an_index_that_is_laid_out_otherwise_is_left_alone(tmp_path, header):
    index = tmp_path / "an-index"
    index.mkdir()
    (index / "header.bin").write_bytes(header)
    (index / "data_level0.bin").write_bytes(b"abcdef")

    clear_unused(tmp_path)

    assert (index / "data_level0.bin").read_bytes() == b"abcdef"
