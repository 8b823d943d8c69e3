from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ticket_assets.embedding.encoder import Encoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.lookup import encode_missing
from ticket_assets.embedding.presets import resolve_model


@pytest.fixture
def tiny(make_folder: Callable[..., Path]) -> Encoder:
    model = resolve_model(str(make_folder()), encoders_dir=Path("unused"), allow_download=False)
    return Encoder.load(model, precision="fp32")


def refuse_to_load() -> Encoder:
    raise AssertionError("nothing is missing, so nothing should be loaded")


def test_only_the_texts_without_a_vector_are_encoded(tiny: Encoder) -> None:
    stored = np.full(16, 0.25, np.float32)

    vectors, encoded = encode_missing(
        ["h1", "h2", "h3"],
        ["printer broken", "vpn", "mail"],
        {"h2": stored},
        dimension=16,
        load_encoder=lambda: tiny,
    )

    assert encoded == 2
    np.testing.assert_array_equal(vectors[1], stored)
    np.testing.assert_allclose(vectors[[0, 2]], tiny.encode(["printer broken", "mail"]), atol=1e-6)


def test_a_text_that_occurs_several_times_is_encoded_once(tiny: Encoder) -> None:
    vectors, encoded = encode_missing(
        ["h1", "h2", "h1"], ["vpn", "mail", "vpn"], {}, dimension=16, load_encoder=lambda: tiny
    )

    assert encoded == 2
    np.testing.assert_array_equal(vectors[0], vectors[2])
    assert not np.array_equal(vectors[0], vectors[1])


def test_the_encoder_is_not_loaded_when_every_vector_is_known() -> None:
    known = {"h1": np.eye(4, dtype=np.float32)[1], "h2": np.eye(4, dtype=np.float32)[2]}

    vectors, encoded = encode_missing(
        ["h2", "h1"], ["vpn", "mail"], known, dimension=4, load_encoder=refuse_to_load
    )

    assert encoded == 0
    np.testing.assert_array_equal(vectors, [[0, 0, 1, 0], [0, 1, 0, 0]])


def test_no_texts_give_no_rows_of_the_right_width() -> None:
    vectors, encoded = encode_missing([], [], {}, dimension=384, load_encoder=refuse_to_load)

    assert (vectors.shape, vectors.dtype, encoded) == ((0, 384), np.float32, 0)


def test_stored_vectors_of_another_dimension_are_refused() -> None:
    with pytest.raises(EncoderError, match=r"has shape \(3,\), expected \(4,\)"):
        encode_missing(
            ["h1"],
            ["vpn"],
            {"h1": np.zeros(3, np.float32)},
            dimension=4,
            load_encoder=refuse_to_load,
        )
