"""How well a labelled table would be sorted, on tickets that nothing was fitted or chosen on."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.classification.features import Floats, Integers
from ticket_assets.classification.prediction import DECISIONS, TARGETS, Classifier
from ticket_assets.classification.preparation import label_codes, split_groups
from ticket_assets.classification.training import train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet, text_groups
from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.exports import export_message, open_export
from ticket_assets.mail.input_files import InputFile
from ticket_assets.mail.labels import LabelSet
from ticket_assets.mail.parsing import UnreadableMessage, parse_message
from ticket_assets.plural import counted
from ticket_assets.routing import Routing
from ticket_assets.settings import Settings
from ticket_assets.text.cleaning import clean_tickets
from ticket_assets.text.wordings import wordings

MAJORITY = "always the most frequent label"
TFIDF = "TF-IDF + linear SVC"
PRODUCT = "tickets"
FOLDS = 4
"""A split keeps one of four folds for the test."""
LEAST_TEXTS = 50

Labels = npt.NDArray[np.object_]


class QualityError(TicketAssetsError):
    """A table cannot be used to measure quality."""


@dataclass(frozen=True)
class LabelledTable:
    """The tickets of a table that have a category and a text, each text once."""

    tickets: pd.DataFrame
    """As in `TrainingSet`. Times of receipt are drawn by lot, since the order of a table often goes
    by label; near-copies of a text come together, as a wave of the same mail does."""
    groups: Integers
    """Number of the wording of each ticket."""
    templates: Integers
    """Number of its template: texts equal but for numbers and word order."""
    unusable_rows: int
    """Rows without a category or a text, broken ones, and copies of a text."""


@dataclass(frozen=True)
class Split:
    """The tickets of one split that have a label of the target: to learn from, and to sort."""

    target: str
    learnt: pd.DataFrame
    learnt_vectors: Floats
    asked: pd.DataFrame
    asked_vectors: Floats


@dataclass(frozen=True)
class LabelQuality:
    """One label over all splits, whose tests may share tickets."""

    label: str
    tickets: int
    """Tested tickets with this label."""
    f1: float
    automatic: int
    """Tested tickets that got this label without a person."""
    right: int
    """Those of them that have it."""


@dataclass(frozen=True)
class TargetQuality:
    """How well one label is predicted; tuples have one value per split."""

    macro_f1: Mapping[str, tuple[float, ...]]
    """Of each classifier, by name."""
    chosen: tuple[str, ...]
    """The candidate that the product chose by cross-validation of what it learnt from."""
    tested: tuple[int, ...]
    automatic: tuple[int, ...]
    """Tested tickets decided without a person."""
    right: tuple[int, ...]
    """Those of them that were right."""
    labels: tuple[LabelQuality, ...]
    target_precision: float

    def mean(self, name: str) -> float:
        """Mean macro-F1 over the splits."""
        return float(np.mean(self.macro_f1[name]))

    def lead(self, name: str, other: str) -> tuple[float, float, float]:
        """Macro-F1 of one minus that of another on the same splits: mean, least, largest."""
        pairs = np.subtract(self.macro_f1[name], self.macro_f1[other])
        return float(pairs.mean()), float(pairs.min()), float(pairs.max())

    @property
    def coverage(self) -> float:
        return sum(self.automatic) / sum(self.tested)

    @property
    def precision(self) -> float | None:
        """Share of the automatic decisions that were right, over all splits; None without any."""
        return sum(self.right) / sum(self.automatic) if sum(self.automatic) else None

    def precision_interval(self, split: int) -> tuple[float, float]:
        """95 % Clopper-Pearson interval of the precision in a split; (0, 1) without decisions."""
        right, automatic = self.right[split], self.automatic[split]
        low = beta.ppf(0.025, right, automatic - right + 1) if right else 0.0
        high = beta.ppf(0.975, right + 1, automatic - right) if right < automatic else 1.0
        return float(low), float(high)

    @property
    def splits_that_keep_the_target(self) -> int:
        """Splits in which the target precision is not above the interval of the one realised."""
        splits = range(len(self.automatic))
        return sum(self.precision_interval(split)[1] >= self.target_precision for split in splits)


@dataclass(frozen=True)
class Quality:
    """The quality that a table promises."""

    tickets: int
    text_groups: int
    """Texts that differ in more than numbers and word order."""
    wordings: int
    """Independent ones: near-copies of a text are one."""
    unusable_rows: int
    targets: Mapping[str, TargetQuality]
    skipped_targets: Mapping[str, str]
    """Targets that cannot be learnt from three quarters of the table, each with the reason."""

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON, with the means and shares."""
        content = asdict(self)
        for name, target in self.targets.items():
            content["targets"][name] |= {
                "mean_macro_f1": {peer: target.mean(peer) for peer in target.macro_f1},
                "coverage": target.coverage,
                "precision": target.precision,
                "splits_that_keep_the_target": target.splits_that_keep_the_target,
            }
        return content


def labelled_tickets(
    path: Path, settings: Settings, routing: Routing, column_mapping: Mapping[str, str]
) -> LabelledTable:
    """The tickets of an export, its columns found and its texts cleaned as by the import.

    Labels that the routing knows are spelt as there; others stay as they are.

    Raises:
        ExportError: the file is not a table, or has no subject and no body.
        QualityError: it has no category, or too few different texts.
    """
    table = open_export(InputFile(path), column_mapping)
    if "category" not in table.columns:
        raise QualityError(
            f"{path} has no column known as a category. Say which one it is, like `--column"
            " category=Queue`."
        )
    known = LabelSet(routing.categories, routing.priorities)
    messages = []
    count = 0
    for count, row in enumerate(table, start=1):
        category, priority = table.text(row, "category"), table.text(row, "priority")
        try:
            parsed = parse_message(export_message(table, row, "table").content, "json")
        except UnreadableMessage:
            continue
        if category:
            messages.append(
                {
                    "ticket_id": f"{count:020x}",
                    "received_at": pd.Timestamp("2025-01-01"),
                    **{name: getattr(parsed, name) for name in _MESSAGE_COLUMNS},
                    "category": known.category(category) or category,
                    "priority": priority and (known.priority(priority) or priority),
                }
            )
    columns = ["ticket_id", "received_at", *_MESSAGE_COLUMNS, *TARGETS]
    raw = pd.DataFrame(messages, columns=columns, dtype=object)
    clean = clean_tickets(
        raw,
        languages=settings.languages,
        phone_regions=settings.phone_regions,
        mask_ip_addresses=settings.mask_ip_addresses,
    ).tickets
    tickets = clean.drop_duplicates("text").merge(raw[["ticket_id", *TARGETS]], on="ticket_id")
    names = text_groups(tickets["text"].tolist(), tickets["tokens"].tolist())
    templates = np.asarray(pd.factorize(np.array(names, dtype=object))[0])
    if len(set(names)) < LEAST_TEXTS:
        raise QualityError(
            f"{path} has {counted(len(set(names)), 'different text')} with a category; a"
            f" measurement needs {LEAST_TEXTS}."
        )
    groups = wordings(templates, tickets["tokens"].tolist(), tickets["category"].tolist())
    hours = np.random.default_rng(0).permutation(groups.max() + 1)[groups]
    return LabelledTable(
        tickets.assign(received_at=tickets["received_at"] + pd.to_timedelta(hours, unit="h")),
        groups,
        templates,
        count - len(tickets),
    )


def measure(
    table: LabelledTable,
    vectors: Floats,
    options: TrainingOptions,
    *,
    splits: int = 5,
    seed: int = 0,
    peers: Callable[[Split], Mapping[str, Labels]] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> Quality:
    """The quality on the tickets of a table and their vectors (float32, one row per ticket).

    A split trains on three quarters and tests on the rest, categories spread evenly and wordings
    kept together, so that no tested text is a near-copy of one learnt from. The product chooses,
    calibrates and sets its thresholds on the training part alone. TF-IDF with a linear SVC is
    scikit-learn's with its defaults, on the same texts; `peers` gives the labels that others would
    give to `Split.asked`, by name.

    Raises:
        NotEnoughLabels: fewer than two categories have enough tickets to learn from.
    """
    report = on_progress or (lambda message: None)
    category = table.tickets["category"].astype(str)
    groups = _split_groups(table)
    answers: dict[str, list[_Answers]] = {target: [] for target in TARGETS}
    skipped: dict[str, str] = {}
    for number in range(splits):
        report(f"Split {number + 1} of {splits}")
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed + number)
        with threadpool_limits(limits=1), warnings.catch_warnings():
            # A label with fewer tickets than folds is in no test of some splits, and that is all.
            warnings.filterwarnings("ignore", message="The least populated class")
            learnt, asked = next(iter(folds.split(category, category, groups)))
            classifier, reasons = _trained(table.tickets, vectors, learnt, options)
            skipped |= reasons
            predicted = classifier.predict(table.tickets.iloc[asked], vectors[asked])
            for target, model in classifier.targets.items():
                split = _split(table.tickets, vectors, target, learnt, asked)
                others = peers(split) if peers else {}
                answers[target].append(_answers(split, predicted, model.candidate, others))
    return Quality(
        tickets=len(table.tickets),
        text_groups=len(np.unique(table.templates)),
        wordings=len(np.unique(table.groups)),
        unusable_rows=table.unusable_rows,
        targets={
            target: _target_quality(given, options.target_precision)
            for target, given in answers.items()
            if given and target not in skipped
        },
        skipped_targets=skipped,
    )


_MESSAGE_COLUMNS = ("kind", "subject", "body_text", "body_html", "sender_name")


def _split_groups(table: LabelledTable) -> Integers:
    labels = [
        label_codes(table.tickets[target], sorted(table.tickets[target].dropna().unique()))
        for target in TARGETS
    ]
    return split_groups(table.groups, table.templates, labels)


@dataclass(frozen=True)
class _Answers:
    """What was answered in a split."""

    truth: Labels
    labels: Mapping[str, Labels]
    automatic: npt.NDArray[np.bool_]
    chosen: str


def _trained(
    tickets: pd.DataFrame, vectors: Floats, rows: Integers, options: TrainingOptions
) -> tuple[Classifier, Mapping[str, str]]:
    """The product's classifier, and the targets that it could not learn with the reason."""
    learnt = tickets.iloc[rows].reset_index(drop=True)
    trained = train(TrainingSet(learnt, vectors[rows], "table"), options)
    reasons = trained.evaluation.skipped_targets
    # A table without any priority is not one whose priorities cannot be learnt.
    return trained.classifier, {
        target: reason for target, reason in reasons.items() if tickets[target].notna().any()
    }


def _split(
    tickets: pd.DataFrame, vectors: Floats, target: str, learnt: Integers, asked: Integers
) -> Split:
    has_label = tickets[target].notna().to_numpy()
    known, tested = learnt[has_label[learnt]], asked[has_label[asked]]
    return Split(target, tickets.iloc[known], vectors[known], tickets.iloc[tested], vectors[tested])


def _answers(
    split: Split, predicted: pd.DataFrame, chosen: str, others: Mapping[str, Labels]
) -> _Answers:
    labels = split.learnt[split.target]
    tfidf = TfidfVectorizer()
    svc = LinearSVC(random_state=0).fit(tfidf.fit_transform(split.learnt["text"]), labels)
    product = predicted.loc[split.asked.index]
    return _Answers(
        truth=split.asked[split.target].to_numpy(dtype=object),
        labels={
            MAJORITY: np.full(len(split.asked), labels.mode()[0], dtype=object),
            TFIDF: svc.predict(tfidf.transform(split.asked["text"])),
            **others,
            PRODUCT: product[split.target].to_numpy(dtype=object),
        },
        automatic=(product[DECISIONS[split.target]] == "auto").to_numpy(),
        chosen=chosen,
    )


def _target_quality(splits: Sequence[_Answers], target_precision: float) -> TargetQuality:
    truth = np.concatenate([split.truth for split in splits])
    predicted = np.concatenate([split.labels[PRODUCT] for split in splits])
    automatic = np.concatenate([split.automatic for split in splits])
    names = sorted(set(truth))
    scores = f1_score(truth, predicted, labels=names, average=None, zero_division=0)
    return TargetQuality(
        macro_f1={
            name: tuple(
                float(f1_score(split.truth, split.labels[name], average="macro", zero_division=0))
                for split in splits
            )
            for name in splits[0].labels
        },
        chosen=tuple(split.chosen for split in splits),
        tested=tuple(len(split.truth) for split in splits),
        automatic=tuple(int(split.automatic.sum()) for split in splits),
        right=tuple(
            int((split.labels[PRODUCT] == split.truth)[split.automatic].sum()) for split in splits
        ),
        labels=tuple(
            LabelQuality(
                label=name,
                tickets=int((truth == name).sum()),
                f1=float(score),
                automatic=int((automatic & (predicted == name)).sum()),
                right=int((automatic & (predicted == name) & (truth == name)).sum()),
            )
            for name, score in zip(names, scores, strict=True)
        ),
        target_precision=target_precision,
    )
