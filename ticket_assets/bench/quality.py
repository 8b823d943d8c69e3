"""How well a labelled CSV is sorted, beside plain scikit-learn pipelines on the same splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import beta
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.classification.calibration import fit_temperature
from ticket_assets.classification.candidates import (
    CANDIDATES,
    candidates_for,
    combined_scores,
    experts_for,
    fit_expert,
)
from ticket_assets.classification.features import (
    FeatureSpace,
    Floats,
    Integers,
    TermCounts,
    count_terms,
)
from ticket_assets.classification.prediction import DECISIONS
from ticket_assets.classification.training import train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet, text_groups
from ticket_assets.errors import TicketAssetsError
from ticket_assets.text.cleaning import clean_text

PEERS = ("TF-IDF + linear SVC", "embeddings + logistic regression")
CHOSEN = "chosen"
FOLDS = 4
"""A split keeps one of four folds for the test."""
LEAST_TICKETS = 100


class QualityError(TicketAssetsError):
    """A file cannot be used to measure quality."""


@dataclass(frozen=True)
class TargetQuality:
    """What one label column is predicted like, on tickets that nothing was fitted or chosen on."""

    column: str
    labels: int
    macro_f1: Mapping[str, tuple[float, ...]]
    """Per split: of each peer, of each candidate, and of the one that training chose."""
    chosen: tuple[str, ...]
    """The candidate that cross-validation chose, per split."""
    automatic: tuple[int, ...]
    """Test tickets decided without a person, per split."""
    right: tuple[int, ...]
    """Those of them that were right."""
    tested: tuple[int, ...]
    target_precision: float

    def mean(self, name: str) -> float:
        """Mean macro-F1 over the splits."""
        return float(np.mean(self.macro_f1[name]))

    @property
    def best_peer(self) -> str:
        return max(PEERS, key=self.mean)

    def lead(self, name: str) -> tuple[float, float, float]:
        """Mean macro-F1 minus the best peer's on the same splits, the least and the largest."""
        pairs = np.subtract(self.macro_f1[name], self.macro_f1[self.best_peer])
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
    """The quality report of a file: its usable tickets, and its targets by name."""

    tickets: int
    text_groups: int
    targets: Mapping[str, TargetQuality]

    def table(self) -> str:
        """Markdown: per target the macro-F1 of each, and what is decided without a person."""
        lines = [
            "| target | classifier | macro-F1 | against the best peer (splits from, to) |",
            "|---|---|--:|---|",
        ]
        for found in self.targets.values():
            for name in found.macro_f1:
                lead, least, largest = found.lead(name)
                lines.append(
                    f"| {found.column} | {name} | {found.mean(name):.4f} "
                    f"| {lead:+.4f} ({least:+.4f}, {largest:+.4f}) |"
                )
        lines += [
            "",
            "| target | automatic | right of those | splits that keep the target |",
            "|---|--:|--:|--:|",
        ]
        for found in self.targets.values():
            right = "–" if found.precision is None else f"{found.precision:.1%}"
            lines.append(
                f"| {found.column} | {found.coverage:.1%} | {right} "
                f"| {found.splits_that_keep_the_target} of {len(found.tested)} |"
            )
        return "\n".join(lines)


def quality(
    path: Path,
    encode: Callable[[Sequence[str]], Floats],
    *,
    category: str,
    priority: str | None = None,
    subject: str = "subject",
    body: str = "body",
    options: TrainingOptions | None = None,
    splits: int = 5,
    languages: Sequence[str] = ("fr", "en", "de", "es", "pt"),
    on_progress: Callable[[str], None] | None = None,
) -> Quality:
    """The quality on a CSV file with the columns named here.

    Args:
        encode: vectors of texts, float32 of shape (texts, dimension).
        priority: column of the priority, where the file has one; `options.priorities` says in
            which order its labels are.

    Raises:
        QualityError: the file cannot be read, lacks a column, or has fewer than 100 tickets.
    """
    tickets = _read(path, subject, body, category, priority, languages)
    return measure_quality(
        tickets,
        encode(tickets["text"].tolist()),
        {"category": category} | ({"priority": priority} if priority else {}),
        options=options or TrainingOptions(),
        splits=splits,
        on_progress=on_progress,
    )


def measure_quality(
    tickets: pd.DataFrame,
    vectors: Floats,
    columns: Mapping[str, str],
    *,
    options: TrainingOptions,
    splits: int = 5,
    on_progress: Callable[[str], None] | None = None,
) -> Quality:
    """The quality on labelled tickets (as in `TrainingSet`) and their vectors.

    A split trains on three quarters and tests on the rest, categories spread evenly and text groups
    kept together. The product chooses, calibrates and sets its thresholds on the training part
    alone. The peers are scikit-learn's defaults on the same texts and vectors.
    """
    report = on_progress or (lambda message: None)
    groups = _groups(tickets)
    desk = _Desk(tickets, vectors, count_terms(tickets["text"].tolist()), options)
    runs: dict[str, list[_SplitRun]] = {target: [] for target in columns}
    category = tickets["category"].astype(str)
    for seed in range(splits):
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        train_rows, test_rows = next(iter(folds.split(category, category, groups)))
        with threadpool_limits(limits=1):
            found = _run_split(desk, train_rows, test_rows, columns)
        for target, run in found.items():
            runs[target].append(run)
        report(f"split {seed + 1} of {splits} done")
    return Quality(
        tickets=len(tickets),
        text_groups=len(np.unique(groups)),
        targets={
            target: TargetQuality(
                column=columns[target],
                labels=tickets[target].nunique(),
                macro_f1={
                    name: tuple(run.macro_f1[name] for run in found) for name in found[0].macro_f1
                },
                chosen=tuple(run.chosen for run in found),
                automatic=tuple(run.automatic for run in found),
                right=tuple(run.right for run in found),
                tested=tuple(run.tested for run in found),
                target_precision=options.target_precision,
            )
            for target, found in runs.items()
        },
    )


def _groups(tickets: pd.DataFrame) -> Integers:
    names = text_groups(tickets["text"].tolist(), tickets["tokens"].tolist())
    return np.asarray(pd.factorize(np.array(names, dtype=object))[0])


@dataclass(frozen=True)
class _SplitRun:
    macro_f1: dict[str, float]
    chosen: str
    automatic: int
    right: int
    tested: int


@dataclass(frozen=True)
class _Desk:
    """All tickets, what they read like, and how the product learns from them."""

    tickets: pd.DataFrame
    vectors: Floats
    counts: TermCounts
    options: TrainingOptions


def _run_split(
    desk: _Desk, train_rows: Integers, test_rows: Integers, targets: Iterable[str]
) -> dict[str, _SplitRun]:
    tickets, vectors, options = desk.tickets, desk.vectors, desk.options
    learnt = tickets.iloc[train_rows].reset_index(drop=True)
    test = tickets.iloc[test_rows].reset_index(drop=True)
    trained = train(TrainingSet(learnt, vectors[train_rows], "bench"), options)
    predicted = trained.classifier.predict(test, vectors[test_rows])
    found = {}
    for target in targets:
        if target not in trained.classifier.targets:
            raise QualityError(trained.evaluation.skipped_targets[target])
        labelled = tickets[target].notna().to_numpy()
        known, tested = train_rows[labelled[train_rows]], test_rows[labelled[test_rows]]
        codes, names = pd.factorize(tickets[target].iloc[known], sort=True)
        truth = tickets[target].iloc[tested].to_numpy(dtype=object)
        mine = labelled[test_rows]
        answers = {
            **_peers(desk, codes, known, tested),
            **_candidates(desk, target, codes, known, tested),
        }
        labels = {name: names.to_numpy()[answer] for name, answer in answers.items()}
        labels[CHOSEN] = predicted[target].to_numpy(dtype=object)[mine]
        automatic = (predicted[DECISIONS[target]] == "auto").to_numpy()[mine]
        found[target] = _SplitRun(
            macro_f1={
                name: float(f1_score(truth, answer, average="macro", zero_division=0))
                for name, answer in labels.items()
            },
            chosen=trained.classifier.targets[target].candidate,
            automatic=int(automatic.sum()),
            right=int((labels[CHOSEN] == truth)[automatic].sum()),
            tested=len(tested),
        )
    return found


def _peers(desk: _Desk, codes: Integers, known: Integers, tested: Integers) -> dict[str, Integers]:
    """Codes that the plain pipelines predict."""
    texts, vectors = desk.tickets["text"].to_numpy(dtype=object), desk.vectors
    tfidf = TfidfVectorizer()
    svc = LinearSVC(random_state=0).fit(tfidf.fit_transform(texts[known]), codes)
    regression = LogisticRegression(max_iter=1000).fit(vectors[known], codes)
    return {
        PEERS[0]: svc.predict(tfidf.transform(texts[tested])),
        PEERS[1]: regression.predict(vectors[tested]),
    }


def _candidates(
    desk: _Desk, target: str, codes: Integers, known: Integers, tested: Integers
) -> dict[str, Integers]:
    """Codes that each candidate of the product predicts."""
    counts, vectors, seed = desk.counts, desk.vectors, desk.options.seed
    space = FeatureSpace.fit(counts.rows(known), vectors[known])
    features = space.features(counts.rows(known), vectors[known])
    asked = space.features(counts.rows(tested), vectors[tested])
    # Temperatures weigh the experts of an average; a fifth put aside is enough to find them.
    inner = np.random.default_rng(seed).permutation(len(known))
    aside, rest = inner[: len(known) // 5], inner[len(known) // 5 :]
    count = int(codes.max()) + 1
    scores, temperatures = {}, {}
    for name in experts_for(target):
        scores[name] = fit_expert(name, features, codes, seed).scores(asked, count)
        draft = fit_expert(name, features.rows(rest), codes[rest], seed)
        temperatures[name] = fit_temperature(
            draft.scores(features.rows(aside), count), codes[aside]
        )
    return {
        name: combined_scores({e: scores[e] for e in CANDIDATES[name]}, temperatures).argmax(axis=1)
        for name in candidates_for(target)
    }


def _read(  # noqa: PLR0917
    path: Path,
    subject: str,
    body: str,
    category: str,
    priority: str | None,
    languages: Sequence[str],
) -> pd.DataFrame:
    """The file's tickets with a category, cleaned like mail.

    Times of receipt are drawn by lot, since the order of a file often goes by label; copies of a
    text come together, as a wave of the same mail does.
    """
    try:
        rows = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise QualityError(f"Cannot read {path} as CSV: {error}") from None
    wanted = [subject, body, category, *([priority] if priority else [])]
    missing = [name for name in wanted if name not in rows]
    if missing:
        raise QualityError(
            f"{path} has no column {', '.join(missing)}. Its columns: {', '.join(rows.columns)}."
        )
    rows = rows[rows[category].notna()].fillna({subject: "", body: ""})
    clean = [
        clean_text(one, other, None, languages=languages, phone_regions=())
        for one, other in zip(rows[subject], rows[body], strict=True)
    ]
    tickets = pd.DataFrame(
        {
            "text": [ticket.text for ticket in clean],
            "tokens": [" ".join(ticket.tokens) for ticket in clean],
            "language": [ticket.language for ticket in clean],
            "category": rows[category].to_numpy(dtype=object),
            "priority": rows[priority].to_numpy(dtype=object) if priority else None,
        }
    )
    tickets = tickets[tickets["text"] != ""].drop_duplicates("text", ignore_index=True)
    if len(tickets) < LEAST_TICKETS:
        raise QualityError(
            f"{path} has {len(tickets)} different tickets with a {category}; a measurement needs"
            f" {LEAST_TICKETS}."
        )
    groups = _groups(tickets)
    hours = np.random.default_rng(0).permutation(groups.max() + 1)[groups]
    return tickets.assign(
        ticket_id=[f"{number:020x}" for number in range(len(tickets))],
        received_at=pd.Timestamp("2025-01-01") + pd.to_timedelta(hours, unit="h"),
    )
