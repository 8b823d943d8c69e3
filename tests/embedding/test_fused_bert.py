from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ticket_assets.embedding.errors import NotFusableError

# PyTorch and transformers take seconds to load, so that whoever collects these tests loads neither.
if TYPE_CHECKING:
    import torch

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
PADDING = 1
LENGTHS = np.array([17, 3, 1, 16])
OWN = np.arange(17) < LENGTHS[:, None]


def network(architecture: str, **options: Any) -> Any:
    import torch
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{architecture}Config")
    kind = getattr(transformers, f"{architecture}Model")
    made = kind(config(pad_token_id=PADDING, **SIZES, **options), add_pooling_layer=False)
    # Random biases and norms too: transformers' zeros and ones would hide that one is left out.
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def fused(model: Any) -> Any:
    from ticket_assets.embedding.fused_bert import FusedBert

    return FusedBert(model.config.to_dict(), model.state_dict().__getitem__)


def hidden_states(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of the texts' own tokens, fused and by transformers."""
    import torch

    own, lengths = torch.from_numpy(OWN), torch.from_numpy(LENGTHS)
    torch.manual_seed(4)
    ids = torch.where(own, torch.randint(2, 50, own.shape), PADDING)
    with torch.inference_mode():
        expected = model(input_ids=ids, attention_mask=own.long()).last_hidden_state
        return fused(model)(ids, lengths)[own], expected[own]


@pytest.mark.parametrize("architecture", ["Bert", "XLMRoberta", "Camembert"])
def test_hidden_states_are_those_of_transformers(architecture: str) -> None:
    import torch

    found, expected = hidden_states(network(architecture))

    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "factor",
    [
        7.4,  # the batch's largest score is 100, a row's largest at least -16
        20.0,  # 720 and -116: no constant keeps both from overflow and underflow
    ],
)
def test_scores_too_large_for_an_exponential_change_nothing(factor: float) -> None:
    import torch

    model = network("Bert")
    attention = model.encoder.layer[0].attention.self
    with torch.no_grad():
        attention.query.weight.mul_(factor)
        attention.key.weight.mul_(factor)

    found, expected = hidden_states(model)

    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"hidden_act": "gelu_new"}, "activation is gelu_new"),
        ({"is_decoder": True}, "it is a decoder"),
    ],
)
def test_another_architecture_is_refused_with_the_reason(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotFusableError, match=reason):
        fused(network("Bert", **options))


def test_a_model_of_another_family_is_refused() -> None:
    from transformers import DistilBertConfig, DistilBertModel

    model = DistilBertModel(DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4))

    with pytest.raises(NotFusableError, match="a distilbert model, not of the BERT family"):
        fused(model)
