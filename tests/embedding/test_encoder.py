from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ticket_assets.embedding.backends.transformers import TransformersBackend
from ticket_assets.embedding.configured import load_encoder
from ticket_assets.embedding.encoder import Encoder, model_id
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.hardware import native_bf16
from ticket_assets.embedding.presets import EncoderModel

TICKETS = [
    "VPN drops every ten minutes\nSince the update this morning my VPN connection is lost.",
    "Printer",
    "",
    "The invoice of March was charged twice, please refund one of the two payments. " * 12,
    "My VPN connection is lost all the time since today's update",
    "Badge does not open the door of building B any more",
    "   \n\t ",
    "Zwei Bildschirme flackern 🖥️🖥️",
]

# An encoder costs its process PyTorch; test_lookup.py has one in `make check`.
pytestmark = pytest.mark.slow

THREADS = """
import sys
import threading
from pathlib import Path
import openvino
from ticket_assets.embedding.backends.openvino import OpenVinoBackend

sys.setswitchinterval(1e-6)
backend = OpenVinoBackend(Path(sys.argv[1]), "fp32", 24, 4)
together = threading.Barrier(4)

def begin():
    together.wait()
    openvino.Type.i64.to_dtype()  # as each first batch asks

for thread in [threading.Thread(target=begin) for _ in range(4)]:
    thread.start()
"""


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each row of `left` to the same row of `right`, both of unit length."""
    return np.einsum("nd,nd->n", left, right)


@pytest.fixture
def load_tiny(resolve_tiny: Callable[..., EncoderModel]) -> Callable[..., Encoder]:
    def load(folder: Path, dimension: int | None = None, **options: int) -> Encoder:
        return load_encoder(resolve_tiny(folder, dimension), "fp32", **options)

    return load


def test_texts_become_finite_rows_of_unit_length(encoder: Encoder) -> None:
    vectors = encoder.encode(TICKETS)

    assert (vectors.shape, vectors.dtype) == ((len(TICKETS), 384), np.float32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_give_no_rows_of_the_right_width(encoder: Encoder) -> None:
    assert encoder.encode([]).shape == (0, 384)


def test_rows_are_in_the_order_of_the_texts(encoder: Encoder) -> None:
    forwards, backwards = encoder.encode(TICKETS), encoder.encode(TICKETS[::-1])

    assert cosines(forwards, backwards[::-1]).min() > 0.9999
    assert np.argmax(forwards[0] @ forwards[1:].T) + 1 == TICKETS.index(
        "My VPN connection is lost all the time since today's update"
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_text_has_the_same_vector_alone_and_among_others(
    minilm: EncoderModel, precision: str
) -> None:
    if precision == "bf16" and not native_bf16():
        pytest.skip("this CPU has no bf16 instructions")
    encoder = load_encoder(minilm, precision)  # type: ignore[arg-type]

    together = encoder.encode(TICKETS)
    alone = np.concatenate([encoder.encode([text]) for text in TICKETS])

    assert cosines(together, alone).min() >= 0.999


def test_bf16_is_close_to_fp32(encoder: Encoder, minilm: EncoderModel) -> None:
    if not native_bf16():
        pytest.skip("this CPU has no bf16 instructions")
    half = load_encoder(minilm, "bf16")

    assert half.precision == "bf16"
    assert cosines(half.encode(TICKETS), encoder.encode(TICKETS)).min() >= 0.999


def test_a_vector_is_the_normalised_mean_over_the_texts_own_tokens(
    make_folder: Callable[..., Path],
    load_tiny: Callable[..., Encoder],
) -> None:
    import torch
    from transformers import AutoModel

    folder = make_folder()
    network = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        hidden = network(input_ids=torch.tensor([[2, 14, 3]])).last_hidden_state[0].numpy()
    mean = hidden.mean(axis=0)

    vectors = load_tiny(folder).encode(["printer is broken", "please help the new printer"])

    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-3)


def test_cls_pooling_takes_the_first_token(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    import torch
    from transformers import AutoModel

    folder = make_folder(pooling="cls_token")
    network = AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        first = network(input_ids=torch.tensor([[2, 14, 3]])).last_hidden_state[0, 0].numpy()

    vectors = load_tiny(folder).encode(["printer is broken", "please help the new printer"])

    np.testing.assert_allclose(vectors[0], first / np.linalg.norm(first), atol=1e-3)


def test_an_empty_text_has_a_vector_even_without_special_tokens(
    make_folder: Callable[..., Path],
    load_tiny: Callable[..., Encoder],
) -> None:
    vectors = load_tiny(make_folder()).encode(["", "printer"])

    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_texts_are_cut_at_max_tokens(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    encoder = load_tiny(make_folder(), max_tokens=3)

    long, short = encoder.encode(["printer is broken please help", "printer is broken"])

    np.testing.assert_allclose(long, short, atol=1e-6)


def test_texts_longer_than_the_model_takes_are_cut_there(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    encoder = load_tiny(make_folder(), max_tokens=512)

    at_limit, over_limit = encoder.encode(["vpn " * 24, "vpn " * 500])

    np.testing.assert_allclose(over_limit, at_limit, atol=1e-6)


def test_vectors_cut_to_a_dimension_are_of_unit_length_again(
    make_folder: Callable[..., Path],
    load_tiny: Callable[..., Encoder],
) -> None:
    folder = make_folder()
    texts = ["printer is broken", "vpn"]

    whole, cut = load_tiny(folder), load_tiny(folder, dimension=4)

    first = whole.encode(texts)[:, :4]
    expected = first / np.linalg.norm(first, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(texts), expected, atol=1e-6)
    assert cut.model_id == f"{whole.model_id}/4"


def test_batches_have_few_shapes(make_folder: Callable[..., Path], load_tiny) -> None:
    """OpenVINO would prepare, and keep, each length."""
    encoder, shapes = load_tiny(make_folder(), max_tokens=20), set()
    compute = encoder._backend.hidden_states

    def hidden_states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        shapes.add(ids.shape)
        return compute(ids, mask)

    encoder._backend.hidden_states = hidden_states
    for words in range(30):
        encoder.encode(["vpn " * words])

    assert shapes == {(1, 8), (1, 16), (1, 20)}


def test_progress_counts_texts_up_to_all_of_them(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    seen: list[tuple[int, int]] = []
    encoder = load_tiny(make_folder(), batch_tokens=16)

    encoder.encode(
        ["printer", "vpn vpn vpn vpn", "mail mail", "screen screen screen screen"],
        lambda done, total: seen.append((done, total)),
    )

    # Texts of up to 8 tokens take the room of 8: two fill a batch of 16.
    assert seen == [(2, 4), (4, 4)]


def test_the_number_of_threads_changes_no_bit_of_a_vector(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    folder = make_folder()
    texts = [" ".join(["printer vpn mail"] * (1 + row % 8)) for row in range(600)]

    one, three = (load_tiny(folder, threads=count, batch_tokens=64) for count in (1, 3))

    assert (one.streams, three.streams) == (1, 3)
    assert one.encode(texts).tobytes() == three.encode(texts).tobytes()


TWO_BATCHES = ["printer vpn mail screen", "vpn mail printer screen", "mail vpn", "screen vpn"]


def disturb(encoder: Encoder, times: int) -> list[tuple[int, int]]:
    """From now on the first `times` batches that are computed beside others get other hidden
    states, as OpenVINO gave once in some thousand runs; the shapes of those."""
    disturbed: list[tuple[int, int]] = []
    compute, alone = encoder._backend.hidden_states, threading.current_thread()

    def hidden_states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        hidden = compute(ids, mask)
        if threading.current_thread() is not alone and len(disturbed) < times:
            disturbed.append(ids.shape)
            return hidden[:, :, ::-1]
        return hidden

    encoder._backend.hidden_states = hidden_states
    return disturbed


def test_a_batch_that_was_computed_wrongly_is_noticed_and_computed_anew(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    folder = make_folder()
    encoder, sound = (load_tiny(folder, batch_tokens=16, threads=2) for _ in range(2))
    network = encoder._backend._network
    disturbed = disturb(encoder, 1)

    vectors = encoder.encode(TWO_BATCHES)

    assert disturbed == [(2, 8)]
    assert encoder._backend._network is not network
    np.testing.assert_allclose(vectors, sound.encode(TWO_BATCHES), atol=1e-6)


def test_vectors_that_differ_again_are_refused(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    encoder = load_tiny(make_folder(), batch_tokens=16, threads=2)
    disturb(encoder, 100)

    with pytest.raises(EncoderError, match="one vector and then another"):
        encoder.encode(TWO_BATCHES)


def test_an_error_in_a_batch_is_raised_and_the_encoder_works_on(
    make_folder: Callable[..., Path],
    load_tiny: Callable[..., Encoder],
) -> None:
    encoder = load_tiny(make_folder(), batch_tokens=16)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoder.encode(["printer"] * 100, stop)
    assert encoder.encode(["printer"]).shape == (1, 16)


def test_loading_and_encoding_print_nothing(
    make_folder: Callable[..., Path],
    load_tiny: Callable[..., Encoder],
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = make_folder()
    capfd.readouterr()  # what transformers says while the folder is made

    load_tiny(folder).encode(["printer " * 500])

    assert capfd.readouterr() == ("", "")


def test_openvino_gives_the_vectors_of_transformers(encoder: Encoder, minilm: EncoderModel) -> None:
    backend = TransformersBackend(minilm, "fp32", 256)
    plain = Encoder(minilm, backend, precision="fp32", max_tokens=256)

    assert (encoder.path, plain.path) == ("OpenVINO", "transformers")
    assert cosines(encoder.encode(TICKETS), plain.encode(TICKETS)).min() > 0.99999


def test_the_model_id_tells_what_decides_the_vectors(
    minilm: EncoderModel, encoder: Encoder
) -> None:
    assert encoder.model_id == f"all-minilm-l6-v2@{minilm.revision}-openvino/fp32/256"
    assert model_id(minilm, "bf16", 128) == f"all-minilm-l6-v2@{minilm.revision}-openvino/bf16/128"
    # The model itself takes no more than 256 tokens, so a higher setting changes nothing.
    assert model_id(minilm, "fp32", 512) == encoder.model_id


def test_a_broken_folder_is_refused_in_one_line(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    folder = make_folder()
    (folder / "model.safetensors").write_bytes(b"not weights")

    with pytest.raises(EncoderError) as raised:
        load_tiny(folder)
    assert str(raised.value).startswith(f"Cannot load the encoder {folder}: ")
    assert "\n" not in str(raised.value)


def test_weights_that_lack_a_tensor_are_refused(
    make_folder: Callable[..., Path], load_tiny: Callable[..., Encoder]
) -> None:
    from safetensors.numpy import load_file, save_file

    file = make_folder() / "model.safetensors"
    weights = load_file(file)
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, file, metadata={"format": "pt"})

    with pytest.raises(EncoderError, match=r"lack encoder\.layer\.1\.output\.dense\.weight"):
        load_tiny(file.parent)


@pytest.mark.usefixtures("encoder")
def test_threads_whose_first_batches_come_at_once_do_not_wait_for_each_other(
    minilm: EncoderModel,
) -> None:
    """They did, for ever, and so did the run: three of four processes of this test."""
    command = [sys.executable, "-c", THREADS, str(minilm.converted / "float")]

    processes = [subprocess.Popen(command) for _ in range(4)]

    try:
        assert [process.wait(60) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
