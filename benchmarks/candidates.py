"""Which candidate is chosen, and how each does in wordings that nothing was learnt or chosen on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.quality import peers_and_candidates
from ticket_assets.classification.candidates import candidates_for, experts_for
from ticket_assets.classification.features import Floats, Integers
from ticket_assets.classification.preparation import LabelledRows, prepare
from ticket_assets.classification.selection import choose, cross_validate
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.quality import FOLDS, Split
from ticket_assets.sample.letters import new_request
from ticket_assets.sample.material import VAGUE, languages
from ticket_assets.sample.people import staff
from ticket_assets.sample.wording import Pen
from ticket_assets.text.tokens import tokens


@dataclass(frozen=True)
class Choices:
    """The candidates for the category on the same splits by wording; one value per split."""

    macro_f1: Mapping[str, tuple[float, ...]]
    """Of each candidate, on the wordings put aside."""
    by_wording: tuple[str, ...]
    """The candidate chosen when no wording is on both sides of a fold, as the product does."""
    by_template: tuple[str, ...]
    """The one chosen when texts equal but for numbers and word order alone are kept together."""

    def mean(self, name: str) -> float:
        return float(np.mean(self.macro_f1[name]))

    def shortfall(self, chosen: Sequence[str]) -> float:
        """Mean macro-F1 of the candidate that is best in the mean, minus that of those chosen."""
        return max(map(self.mean, self.macro_f1)) - self.reached(chosen)

    def reached(self, chosen: Sequence[str]) -> float:
        """Mean macro-F1 of the candidates that were chosen, one per split."""
        return float(np.mean([self.macro_f1[name][split] for split, name in enumerate(chosen)]))


def compare_choices(
    tickets: pd.DataFrame,
    vectors: Floats,
    wordings: Integers,
    options: TrainingOptions | None = None,
    *,
    splits: int = 5,
    on_progress: Callable[[str], None] | None = None,
) -> Choices:
    """The candidates on splits that keep wordings together, a quarter of the tickets for the test.

    Args:
        tickets: as in `TrainingSet`, all with a category; priorities are not looked at.
        wordings: the number of each ticket's, as known or as found.

    Raises:
        NotEnoughLabels: fewer than two categories have enough tickets to learn from.
    """
    options, report = options or TrainingOptions(), on_progress or (lambda message: None)
    tickets = tickets.reset_index(drop=True).assign(priority=None)
    scores: dict[str, list[float]] = {name: [] for name in candidates_for("category")}
    by_wording, by_template = [], []
    for number in range(splits):
        report(f"Choice on split {number + 1} of {splits}")
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=number)
        learnt, asked = next(iter(folds.split(tickets, tickets["category"], wordings)))
        split = Split(
            "category",
            tickets.iloc[learnt],
            vectors[learnt],
            tickets.iloc[asked],
            vectors[asked],
        )
        with threadpool_limits(limits=1):
            labelled = prepare(TrainingSet(split.learnt, split.learnt_vectors, "table"), options)
            by_wording.append(_chosen(labelled, options))
            by_template.append(_chosen(replace(labelled, groups=labelled.templates), options))
            answers = peers_and_candidates(split, options.seed)
        score = partial(f1_score, split.asked["category"], average="macro", zero_division=0)
        for name, values in scores.items():
            values.append(float(score(answers[name])))
    macro_f1 = {name: tuple(values) for name, values in scores.items()}
    return Choices(macro_f1, tuple(by_wording), tuple(by_template))


def choices_table(choices: Mapping[str, Choices]) -> str:
    """Markdown: per table of tickets the macro-F1 of each candidate, and what was chosen."""
    names = candidates_for("category")
    lines = [
        f"| tickets | {' | '.join(names)} | chosen, folds by wording | below the best "
        "| chosen, folds by template | below the best |",
        f"|---|{'--:|' * len(names)}---|--:|---|--:|",
    ]
    for tickets, found in choices.items():
        cells = [tickets, *(f"{found.mean(name):.3f}" for name in names)]
        for chosen in (found.by_wording, found.by_template):
            counts = Counter(chosen).most_common()
            cells += [", ".join(f"{name} {count}" for name, count in counts)]
            cells += [f"{found.shortfall(chosen):.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def french_tickets(count: int = 1200, seed: int = 7) -> tuple[pd.DataFrame, Integers]:
    """Generated French first mails as in `TrainingSet`, and the sentence behind each.

    Each is of one of eight sentences of its category in the sample mailbox, with what people put
    around it: greetings, remarks, urgency, slips of the keyboard.
    """
    rng, language = Random(seed), languages()["fr"]  # noqa: S311
    people = staff(language, rng)
    sentences = [
        sentence
        for category, situations in language.everyday.items()
        if category != VAGUE
        for sentence in [(each, problem) for each in situations for problem in each.problems][::4][
            :8
        ]
    ]
    rows, numbers = [], []
    for position in range(count):
        number = rng.randrange(len(sentences))
        situation, problem = sentences[number]
        moment = datetime(2026, 1, 1, 9, tzinfo=UTC) + timedelta(minutes=position)
        told = replace(situation, problems=(problem,))
        pen = Pen(language, moment, rng)
        letter = new_request(pen, rng.choice(people), told, None, situation.category).letter
        text = "\n\n".join((letter.subject, *letter.paragraphs))
        rows.append(
            {
                "ticket_id": f"{position:020x}",
                "received_at": pd.Timestamp(moment).tz_localize(None),
                "text": text,
                "tokens": " ".join(tokens(text, "fr")),
                "language": "fr",
                "category": situation.category,
                "priority": None,
            }
        )
        numbers.append(number)
    return pd.DataFrame(rows), np.array(numbers)


def _chosen(labelled: LabelledRows, options: TrainingOptions) -> str:
    rows = np.arange(len(labelled.tickets))
    experts = {"category": experts_for("category")}
    out_of_fold = cross_validate(labelled, rows, experts, options, lambda message: None)
    return choose(labelled, "category", rows, out_of_fold, options)[0].candidate
