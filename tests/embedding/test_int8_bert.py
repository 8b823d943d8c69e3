from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ticket_assets.embedding.encoder import Encoder
from ticket_assets.embedding.errors import EncoderError, NotFusableError
from ticket_assets.embedding.hardware import native_int8
from ticket_assets.embedding.presets import EncoderModel, resolve_model

# PyTorch and transformers take seconds to load, so that whoever collects these tests loads neither.
TEXTS = ["printer is broken", "", "PRINTER, vpn; 🖥️", "vpn " * 100, "mail screen"]
PADDING = 1
LENGTHS = np.array([17, 3, 1, 16])
OWN = np.arange(17) < LENGTHS[:, None]


@pytest.fixture(autouse=True, scope="module")
def native() -> None:
    if not native_int8():
        pytest.skip("this CPU has no AVX512-VNNI")


def network(architecture: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{architecture}Config")
    made = getattr(transformers, f"{architecture}Model")(
        config(
            vocab_size=50,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=192,
            max_position_embeddings=40,
            pad_token_id=PADDING,
        ),
        add_pooling_layer=False,
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def some_texts(count: int) -> list[list[int]]:
    import torch

    torch.manual_seed(5)
    return torch.randint(2, 50, (count, 20)).tolist()


def quantised(model: Any, texts: list[list[int]]) -> Any:
    from ticket_assets.embedding.quantisation import quantise

    return quantise(model, texts)


def load(folder: Path, checked: Path | None = None) -> Encoder:
    model = resolve_model(str(folder), encoders_dir=folder, allow_download=False)
    return Encoder.load(model, precision="int8", checked=checked)


@pytest.mark.parametrize("architecture", ["Bert", "Camembert"])
@pytest.mark.parametrize("floats", ["float32", "bfloat16"])
def test_hidden_states_are_nearly_those_of_transformers(architecture: str, floats: str) -> None:
    import torch

    from ticket_assets.embedding.int8_bert import Int8Bert

    model = network(architecture)
    own = torch.from_numpy(OWN)
    ids = torch.where(own, torch.randint(2, 50, own.shape), PADDING)
    weights = model.state_dict()
    forward = Int8Bert(
        model.config.to_dict(),
        lambda name: weights[name].to(getattr(torch, floats)),
        quantised(model, some_texts(60)),
    )

    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=own.long()).last_hidden_state[own]
        found = forward(ids, torch.from_numpy(LENGTHS))[own]

    assert found.dtype == torch.float32
    assert float(torch.cosine_similarity(found, expected).min()) > 0.9995
    # Not the same pass in other clothes.
    assert float((found - expected).abs().max()) > 1e-4


def test_the_integers_are_the_same_on_any_number_of_cores() -> None:
    import torch

    model, threads = network("Bert"), torch.get_num_threads()
    found = []
    try:
        for cores in (1, 2):
            torch.set_num_threads(cores)
            found.append(quantised(model, some_texts(200)))
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(threads)

    one, two = found
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_weights_are_rounded_so_that_products_stay_near() -> None:
    import torch

    from ticket_assets.embedding.quantisation import rounded

    torch.manual_seed(7)
    matrix = torch.randn(24, 80)
    # Channels that go together, as those of hidden states do: errors can be made up for.
    levels = (torch.randn(500, 10) @ torch.randn(10, 80) * 12).round().clamp(-128, 127)

    whole, scale = rounded(matrix, levels)

    each = (matrix / scale[:, None]).round().clamp(-127, 127)
    assert torch.equal(whole, whole.round())
    assert float(whole.abs().max()) == 127

    def error(weights: Any) -> float:
        return float((levels @ (weights * scale[:, None] - matrix).T).square().mean())

    assert error(whole) < error(each) / 4


def test_another_architecture_is_refused() -> None:
    model = network("Bert")
    model.config.hidden_act = "relu"

    with pytest.raises(NotFusableError, match="its activation is relu, not gelu"):
        quantised(model, some_texts(2))


def test_a_later_load_takes_the_integers_from_their_file(
    make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder, checked = make_folder(), tmp_path / "checked"
    first = load(folder, checked)
    (file,) = checked.glob("*.safetensors")
    written = file.stat().st_mtime_ns

    again = load(folder, checked)

    assert (first.path, first.precision) == ("fused", "int8")
    assert again.encode(TEXTS).tobytes() == first.encode(TEXTS).tobytes()
    assert file.stat().st_mtime_ns == written
    assert load_file(file)["encoder.layer.0.narrow.weight"].dtype == torch.int8


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"")])
def test_integers_that_are_lost_are_made_again(
    damage: Callable[[Path], object], make_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder, checked = make_folder(), tmp_path / "checked"
    first = load(folder, checked)
    (file,) = checked.glob("*.safetensors")
    good = file.read_bytes()

    damage(file)
    again = load(folder, checked)

    assert again.encode(TEXTS).tobytes() == first.encode(TEXTS).tobytes()
    assert file.read_bytes() == good


def test_vectors_depend_neither_on_their_neighbours_nor_on_the_cores(
    make_folder: Callable[..., Path],
) -> None:
    encoder = load(make_folder())
    together = encoder.encode(TEXTS)

    encoder.streams = 1

    assert encoder.encode(TEXTS).tobytes() == together.tobytes()
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_an_encoder_whose_vectors_integers_would_change_is_refused(minilm: EncoderModel) -> None:
    with pytest.raises(
        EncoderError,
        match=r"^all-minilm-l6-v2 cannot be computed in int8 \(the fused vectors differ: cosine"
        r" 0\.99\d\d\)\. Set TICKETS_ENCODER_PRECISION to bf16 or fp32\.$",
    ):
        Encoder.load(minilm, precision="int8")
