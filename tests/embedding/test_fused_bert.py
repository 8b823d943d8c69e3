from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    CamembertConfig,
    CamembertModel,
    DistilBertConfig,
    DistilBertModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from ticket_assets.embedding.errors import NotFusableError
from ticket_assets.embedding.fused_bert import FusedBert

SIZES: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 40,
}
PADDING = 1
LENGTHS = torch.tensor([17, 3, 1, 16])
OWN = torch.arange(17) < LENGTHS[:, None]


def network(kind: Any, config: Any, **options: Any) -> Any:
    torch.manual_seed(3)
    made = kind(config(pad_token_id=PADDING, **SIZES, **options), add_pooling_layer=False)
    # Random biases and norms too: transformers' zeros and ones would hide that one is left out.
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def fused(model: Any) -> FusedBert:
    return FusedBert(model.config.to_dict(), model.state_dict().__getitem__)


def ids() -> torch.Tensor:
    torch.manual_seed(4)
    return torch.where(OWN, torch.randint(2, 50, OWN.shape), PADDING)


def hidden_states(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Those of the texts' own tokens, fused and by transformers."""
    with torch.inference_mode():
        expected = model(input_ids=ids(), attention_mask=OWN.long()).last_hidden_state
        return fused(model)(ids(), LENGTHS)[OWN], expected[OWN]


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        (BertModel, BertConfig),
        (XLMRobertaModel, XLMRobertaConfig),
        (CamembertModel, CamembertConfig),
    ],
)
def test_hidden_states_are_those_of_transformers(kind: Any, config: Any) -> None:
    found, expected = hidden_states(network(kind, config))

    torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "factor",
    [
        7.4,  # the batch's largest score is 100, a row's largest at least -16
        20.0,  # 720 and -116: no constant keeps both from overflow and underflow
    ],
)
def test_scores_too_large_for_an_exponential_change_nothing(factor: float) -> None:
    model = network(BertModel, BertConfig)
    attention = model.encoder.layer[0].attention.self
    with torch.no_grad():
        attention.query.weight.mul_(factor)
        attention.key.weight.mul_(factor)

    found, expected = hidden_states(model)

    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("kind", "config", "options", "reason"),
    [
        (BertModel, BertConfig, {"hidden_act": "gelu_new"}, "activation is gelu_new"),
        (BertModel, BertConfig, {"is_decoder": True}, "it is a decoder"),
    ],
)
def test_another_architecture_is_refused_with_the_reason(
    kind: Any, config: Any, options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(NotFusableError, match=reason):
        fused(network(kind, config, **options))


def test_a_model_of_another_family_is_refused() -> None:
    model = DistilBertModel(DistilBertConfig(vocab_size=50, dim=32, n_layers=1, n_heads=4))

    with pytest.raises(NotFusableError, match="a distilbert model, not of the BERT family"):
        fused(model)
