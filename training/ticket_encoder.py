"""Learns ticket_assets/embedding/ticket_encoder.npz from the mails in `desks`.

Each file there is an invented desk: category, intent, language, subject and body of mails written
to it, each desk with categories of its own, and several narrow intents in each. Mails of one intent
are drawn together, and away from the other mails of their desk; those of one category a little.
Source: Khosla et al., Supervised Contrastive Learning (arXiv 2004.11362).

Twenty minutes on two cores. Not to the bit the same on another machine, as PyTorch's sums are not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ticket_assets.embedding.adapters import Adapters, as_arrays
from ticket_assets.embedding.presets import resolve_model
from ticket_assets.embedding.ticket_encoder import WEIGHTS
from ticket_assets.settings import Settings
from ticket_assets.text.cleaning import clean_text
from training.adapted import adapt, learnt_adapters

DESKS = Path(__file__).with_name("desks")
ENCODER = "multilingual-e5-small"
SHARE_KEPT = 0.5
"""Of the change that is learnt. Learnt from twelve desks, half of it gained nearly as much as the
whole on others like them, and lost 0.01 of macro-F1 on a German table instead of 0.03.
Source: Wortsman et al., Robust fine-tuning of zero-shot models (arXiv 2109.01903)."""
_WEIGHT_OF_CATEGORY = 0.25
"""Of a pair of mails of one category and different intents, where a pair of one intent has 1."""
_TEMPERATURE = 0.07
_RATE = 4e-4
_WARM_UP = 30  # steps
_STEPS = 500
_INTENTS, _MAILS_OF_INTENT = 16, 3  # of a step
_MAX_TOKENS = 112


@dataclass(frozen=True)
class Step:
    """Mails of one desk, with their intents and categories."""

    texts: list[str]
    intents: list[str]
    categories: list[str]


def desks(folder: Path = DESKS) -> list[pd.DataFrame]:
    """The mails of each desk, with the text that the product makes of each."""
    settings = Settings.model_construct()
    tables = []
    for path in sorted(folder.glob("*.csv")):
        mails = pd.read_csv(path, dtype=str, keep_default_na=False)
        texts = [
            clean_text(
                subject,
                body,
                None,
                languages=settings.languages,
                phone_regions=settings.phone_regions,
            ).text
            for subject, body in zip(mails["subject"], mails["body"], strict=True)
        ]
        # Two categories may have an intent of the same name.
        intents = mails["category"] + ": " + mails["intent"]
        tables.append(mails.assign(text=texts, intent=intents))
    return tables


def steps(tables: Sequence[pd.DataFrame], count: int) -> Iterator[Step]:
    """So many steps, each of mails of one desk."""
    by_intent = [
        [intent for _, intent in mails.groupby("intent", sort=True)[["text", "intent", "category"]]]
        for mails in tables
    ]
    for _ in range(count):
        intents = random.choice(by_intent)  # noqa: S311
        parts = [
            intent.iloc[random.sample(range(len(intent)), min(_MAILS_OF_INTENT, len(intent)))]
            for intent in random.sample(intents, min(_INTENTS, len(intents)))
        ]
        mails = pd.concat(parts)
        yield Step(*(mails[column].tolist() for column in ("text", "intent", "category")))


def loss_of(vectors: Tensor, step: Step) -> Tensor:
    """How little mails of one intent stand out among the neighbours of each mail."""
    same_intent, same_category = (
        torch.tensor(np.equal.outer(np.array(names), np.array(names)), dtype=torch.float)
        for names in (step.intents, step.categories)
    )
    weights = torch.maximum(same_intent, _WEIGHT_OF_CATEGORY * same_category)
    itself = torch.eye(len(vectors), dtype=torch.bool)
    weights = weights.masked_fill(itself, 0)
    similarities = (vectors @ vectors.T / _TEMPERATURE).masked_fill(itself, -1e9)
    likelihoods = similarities.log_softmax(1)
    has_neighbour = weights.sum(1) > 0
    of_mails = (weights * likelihoods).sum(1)[has_neighbour] / weights.sum(1)[has_neighbour]
    loss: Tensor = -of_mails.mean()
    return loss


def learn(tables: Sequence[pd.DataFrame], count: int = _STEPS) -> Adapters:
    """The adapters that these desks give, with a line of progress now and then."""
    from transformers import AutoModel, AutoTokenizer

    random.seed(0)
    torch.manual_seed(0)
    settings = Settings()
    encoder = resolve_model(
        ENCODER, encoders_dir=settings.unpacked_encoders_dir, allow_download=False
    )
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    # In 16 bits all but the adapters takes a third of the time.
    network = AutoModel.from_pretrained(
        encoder.folder,
        dtype=torch.bfloat16,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
    )
    adapted = adapt(network)
    changed = [matrix for layer in adapted.values() for matrix in (layer.up, layer.down)]
    optimiser = torch.optim.AdamW(changed, lr=_RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / _WARM_UP) * max(0.02, 1 - step / count)
    )
    network.train()
    for number, step in enumerate(steps(tables, count)):
        loss = loss_of(_vectors(network, tokenizer, encoder.prefix, step.texts), step)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(changed, 1.0)
        optimiser.step()
        schedule.step()
        if number % 20 == 0:
            print(f"step {number:,} of {count:,}: loss {float(loss.detach()):.3f}", flush=True)
    return learnt_adapters(adapted, SHARE_KEPT)


def _vectors(network: Any, tokenizer: Any, prefix: str, texts: Sequence[str]) -> Tensor:
    """Of unit length, the mean of the tokens' states."""
    encoded = tokenizer(
        [prefix + text for text in texts],
        truncation=True,
        max_length=_MAX_TOKENS,
        padding=True,
        return_tensors="pt",
    )
    mask = encoded["attention_mask"]
    states = network(input_ids=encoded["input_ids"], attention_mask=mask).last_hidden_state
    mask = mask.unsqueeze(-1).float()
    return nn.functional.normalize((states.float() * mask).sum(1) / mask.sum(1), dim=1)


def write() -> None:
    """Learns, and writes the file of weights."""
    np.savez_compressed(WEIGHTS, allow_pickle=False, **as_arrays(learn(desks())))


if __name__ == "__main__":
    write()
