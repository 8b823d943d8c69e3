"""Learns the weights of ticket_assets/text/secrets_in_context.py from the examples here.

A quarter of an hour on two cores. Not to the bit the same on another machine, as PyTorch's sums are
not.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from ticket_assets.embedding.adapters import as_arrays
from ticket_assets.embedding.encoder import padded_batch
from ticket_assets.embedding.presets import EncoderModel, resolve_model
from ticket_assets.embedding.token_scores import MAX_TOKENS
from ticket_assets.sample.mailbox import request_texts
from ticket_assets.settings import Settings
from ticket_assets.text.privacy import mask_personal_data
from ticket_assets.text.secret_passages import FEATURES, features_of, secret_passages
from ticket_assets.text.secrets_in_context import WEIGHTS, Weights
from ticket_assets.text.stated_secrets import Span
from training.adapted import SCALE, adapt, learnt_adapters
from training.said_secrets import EXAMPLES as SAID_SECRETS
from training.said_secrets import is_of, unmarked

EXAMPLES = Path(__file__).with_name("secrets_in_context.yaml")
ENCODER = "multilingual-e5-small"
LAYERS = 6
"""Of the encoder's twelve, that are kept and changed."""
_EPOCHS = 3
_DROPOUT = 0.15
_RATE, _RATE_OF_SCORES = 5e-4, 1e-3
_WARM_UP = 100  # steps
_BATCH = 24  # passages
_WEIGHT_OF_TICKETS = 3
"""Of whole tickets, which are what the texts of a desk look like, among single sentences."""
_SAMPLE_TICKETS, _SAMPLE_SEED = 10_000, 990
_WEIGHT_OF_SAMPLE = 2


class Example(NamedTuple):
    """A passage with words that may be secrets."""

    tokens: list[int]
    words: list[list[int]]
    """The places of the tokens of each word."""
    features: list[list[float]]
    are_secret: list[float]
    weight: float


class SecretReader(nn.Module):
    """The encoder's lower layers, adapted, and the linear function of words."""

    def __init__(self, encoder: EncoderModel) -> None:
        super().__init__()
        from transformers import AutoModel

        self.network = AutoModel.from_pretrained(
            encoder.folder, hidden_dropout_prob=_DROPOUT, attention_probs_dropout_prob=_DROPOUT
        )
        self.network.encoder.layer = self.network.encoder.layer[:LAYERS]
        self.adapted = adapt(self.network)
        self.scores = nn.Linear(encoder.hidden_size + len(FEATURES), 1)

    def take(self, learnt: Weights) -> None:
        """Become the reader that these weights are of."""
        for name, (up, down) in learnt.adapters.items():
            self.adapted[name].up.data = torch.tensor(up / SCALE)
            self.adapted[name].down.data = torch.tensor(down)
        self.scores.weight.data = torch.tensor([*learnt.states, *learnt.features])[None]
        self.scores.bias.data = torch.tensor([learnt.bias])

    def forward(self, examples: Sequence[Example]) -> Tensor:
        """The log-odds of the words of all examples, one after the other."""
        longest = max(len(example.tokens) for example in examples)
        batch = padded_batch([example.tokens for example in examples], longest, padding_id=0)
        ids, mask = map(torch.from_numpy, batch)
        states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state.flatten(0, 1)
        words = [
            [row * longest + token for token in word]
            for row, example in enumerate(examples)
            for word in example.words
        ]
        lengths = torch.tensor([len(word) for word in words])
        of_word = torch.repeat_interleave(torch.arange(len(words)), lengths)
        tokens = states[torch.tensor(list(chain.from_iterable(words)))]
        means = torch.zeros(len(words), states.shape[1]).index_add(0, of_word, tokens)
        features = torch.tensor([word for example in examples for word in example.features])
        log_odds: Tensor = self.scores(torch.cat([means / lengths[:, None], features], 1))
        return log_odds[:, 0]


def examples(tokenizer: Any, prefix: str) -> list[Example]:
    """What is learnt from: passages of the marked texts, as they are and as rules mask them, and
    of tickets of the sample mailbox."""
    texts = yaml.safe_load(SAID_SECRETS.read_text("utf-8"))
    del texts["words"]
    for group, marked in yaml.safe_load(EXAMPLES.read_text("utf-8")).items():
        texts[group] = [*texts[group], *marked]
    found: list[Example] = []
    for group, marked_texts in texts.items():
        weight = _WEIGHT_OF_TICKETS if group == "tickets" else 1
        for marked in marked_texts:
            text, secrets = unmarked(marked)
            found += of_text(text, secrets, tokenizer, prefix, weight)
            masked = _masked(text)
            if masked != text:
                left = [
                    place.span()
                    for start, end in secrets
                    for place in re.finditer(re.escape(text[start:end]), masked)
                ]
                found += of_text(masked, left, tokenizer, prefix, weight)
    for text in request_texts(_SAMPLE_TICKETS, seed=_SAMPLE_SEED):
        found += of_text(_masked(text), [], tokenizer, prefix, _WEIGHT_OF_SAMPLE)
    return found


def _masked(text: str) -> str:
    regions = Settings.model_fields["phone_regions"].default
    return mask_personal_data(text, phone_regions=regions, by_words=False).text


def of_text(
    text: str, secrets: Sequence[Span], tokenizer: Any, prefix: str, weight: float
) -> Iterator[Example]:
    for passage in secret_passages(text):
        encoded = tokenizer(
            prefix + text[passage.start : passage.end],
            truncation=True,
            max_length=MAX_TOKENS,
            return_offsets_mapping=True,
        )
        places = np.array(encoded["offset_mapping"]) - len(prefix) + passage.start
        is_real = (places[:, 1] > places[:, 0]) & (places[:, 0] >= passage.start)
        example = Example(encoded["input_ids"], [], [], [], weight)
        for start, end in passage.words:
            tokens = np.flatnonzero(is_real & (places[:, 0] < end) & (places[:, 1] > start))
            if len(tokens):
                example.words.append(tokens.tolist())
                example.features.append(features_of(text[start:end]))
                example.are_secret.append(float(is_of(start, end, secrets)))
        if example.words:
            yield example


def learn(reader: SecretReader, learnt_from: Sequence[Example]) -> None:
    """Changes the reader's weights, with a line of progress now and then."""
    adapters = [p for adapted in reader.adapted.values() for p in (adapted.up, adapted.down)]
    scores = list(reader.scores.parameters())
    optimiser = torch.optim.AdamW(
        [{"params": adapters, "lr": _RATE}, {"params": scores, "lr": _RATE_OF_SCORES}],
        weight_decay=0.01,
    )
    steps = _EPOCHS * -(-len(learnt_from) // _BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / _WARM_UP) * max(0.02, 1 - step / steps)
    )
    reader.train()
    for step, batch in enumerate(chain.from_iterable(_epoch(learnt_from) for _ in range(_EPOCHS))):
        are_secret = torch.tensor([word for example in batch for word in example.are_secret])
        weights = torch.tensor([e.weight for e in batch for _ in e.words], dtype=torch.float)
        losses = nn.functional.binary_cross_entropy_with_logits(
            reader(batch), are_secret, reduction="none"
        )
        loss = (losses * weights).sum() / weights.sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(adapters + scores, 1.0)
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            print(f"step {step:,} of {steps:,}: loss {float(loss.detach()):.4f}", flush=True)


def _epoch(learnt_from: Sequence[Example]) -> Iterator[list[Example]]:
    """Batches of similar lengths, in random order."""
    order = random.sample(learnt_from, len(learnt_from))
    batches = []
    for start in range(0, len(order), 20 * _BATCH):
        part = sorted(order[start : start + 20 * _BATCH], key=lambda example: len(example.tokens))
        batches += [part[at : at + _BATCH] for at in range(0, len(part), _BATCH)]
    random.shuffle(batches)
    return iter(batches)


def write() -> None:
    """Learns, and writes the file of weights."""
    from transformers import AutoTokenizer

    settings = Settings()
    encoder = resolve_model(
        ENCODER, encoders_dir=settings.unpacked_encoders_dir, allow_download=False
    )
    random.seed(0)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder.folder)
    learnt_from = examples(tokenizer, encoder.prefix)
    reader = SecretReader(encoder)
    learn(reader, learnt_from)
    scores = reader.scores.weight.detach()[0]
    arrays = {
        "encoder": np.array([encoder.name, encoder.revision]),
        "states": scores[: encoder.hidden_size].numpy(),
        "features": scores[encoder.hidden_size :].numpy(),
        "bias": reader.scores.bias.detach()[0].numpy(),
    }
    changes = as_arrays(learnt_adapters(reader.adapted))
    np.savez(WEIGHTS, allow_pickle=False, **arrays, **changes)


if __name__ == "__main__":
    write()
