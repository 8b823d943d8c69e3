"""Whether thresholds keep their promise: labels of known precision, fitted models, and tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import beta, multivariate_normal
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from benchmarks.table import Line
from ticket_assets.classification.calibration import (
    ALWAYS_REVIEW,
    abstain_thresholds,
    fit_temperature,
    probabilities,
    without_least_sure,
)
from ticket_assets.classification.candidates import CANDIDATES
from ticket_assets.classification.familiarity import Familiarity
from ticket_assets.classification.features import Booleans, Floats, Integers
from ticket_assets.classification.preparation import prepare
from ticket_assets.classification.selection import calibrate, cross_validate
from ticket_assets.classification.training import final_folds, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.quality import FOLDS

PART = "thresholds"
OPTIONS = TrainingOptions()
FORMER_CONFIDENCE = 0.8
MEAN_PRECISION, WORST_PRECISION = 0.9, 0.85
"""Of the automatic tickets of all splits by wording, and of those of the worst split."""
Rule = Callable[[Floats, Integers, Integers], Floats]
"""Thresholds of probabilities, codes and groups."""


def present_rule(probability: Floats, codes: Integers, groups: Integers) -> Floats:
    """The product's thresholds, with its default settings."""
    thresholds = abstain_thresholds(
        probability,
        codes,
        groups,
        OPTIONS.target_precision,
        precision_risk=OPTIONS.precision_risk,
        confidence_floor=OPTIONS.confidence_floor,
    )
    return without_least_sure(thresholds, probability, OPTIONS.least_sure_share)


def former_rule(probability: Floats, codes: Integers, _: Integers) -> Floats:
    """The smallest thresholds of all whose Clopper-Pearson bound at 80 % reaches the target.

    The rule of the product's first release, which counted tickets, copies of a text too.
    """
    predicted = probability.argmax(axis=1)
    thresholds = np.full(probability.shape[1], ALWAYS_REVIEW)
    for code in range(probability.shape[1]):
        rows = np.flatnonzero(predicted == code)
        rows = rows[np.argsort(-probability[rows, code], kind="stable")]
        values = probability[rows, code]
        correct = np.cumsum(codes[rows] == code)
        total = np.arange(1, len(values) + 1)
        possible = np.append(values[1:] < values[:-1], True)[: len(values)]
        bound = beta.ppf(1 - FORMER_CONFIDENCE, np.maximum(correct, 1), total - correct + 1)
        keeps = np.where(correct > 0, bound, 0) >= OPTIONS.target_precision
        cuts = np.flatnonzero(possible & keeps)
        if len(cuts):
            thresholds[code] = values[cuts[-1]]
    return thresholds


RULES: Mapping[str, Rule] = {"present": present_rule, "former": former_rule}


@dataclass(frozen=True)
class SimulatedLabel:
    """A label of which it is known how often its predictions are right, at each confidence."""

    share: float
    log_odds: tuple[float, float]
    """Mean and standard deviation of the confidence's log-odds."""
    precision: Callable[[Floats], Floats]
    """Chance of being right by confidence."""
    copies: int = 1
    """Tickets of each wording."""

    def confidences(self, random: np.random.Generator, count: int) -> Floats:
        odds = random.normal(*self.log_odds, count)
        return np.asarray(expit(np.abs(odds)))


LABELS: Mapping[str, SimulatedLabel] = {
    "calibrated, sure": SimulatedLabel(0.2, (4, 1.5), lambda p: p),
    "calibrated, unsure": SimulatedLabel(0.15, (2, 1.2), lambda p: p),
    "calibrated, rare": SimulatedLabel(0.05, (3, 1.5), lambda p: p),
    "too sure": SimulatedLabel(0.15, (3.5, 1.2), lambda p: expit(0.7 * logit(p))),
    "2 % wrong labels": SimulatedLabel(0.1, (4, 1.5), lambda p: 0.98 * p),
    "94.5 % right, sure or not": SimulatedLabel(0.15, (3, 1), lambda p: np.full(len(p), 0.945)),
    "surest often wrong": SimulatedLabel(0.1, (3, 1.2), lambda p: np.where(p > 0.975, 0.92, 0.96)),
    "94.5 % right, each wording five times": SimulatedLabel(
        0.1, (3, 1), lambda p: np.full(len(p), 0.945), copies=5
    ),
}


@dataclass(frozen=True)
class Kept:
    """What a rule's thresholds of one label come to, over all draws."""

    violations: float
    """Share of the draws in which the label is automatic and its true precision below target."""
    coverage: float
    """Mean share of its predictions that are automatic."""


def simulated(tickets: int, draws: int, seed: int = 0) -> dict[str, dict[str, Kept]]:
    """Per label and rule what desks with so many labelled tickets come to."""
    random = np.random.default_rng(seed)
    names = list(LABELS)
    curves = {name: _precision_curve(label, random) for name, label in LABELS.items()}
    kept: dict[str, dict[str, list[tuple[bool, float]]]] = {
        name: {rule: [] for rule in RULES} for name in names
    }
    for _ in range(draws):
        probability, codes, groups = _draw(tickets, random)
        for rule, thresholds_of in RULES.items():
            thresholds = thresholds_of(probability, codes, groups)
            for code, name in enumerate(names):
                kept[name][rule].append(_judged(curves[name], float(thresholds[code])))
    return {
        name: {rule: Kept(*np.mean(judged, axis=0).tolist()) for rule, judged in rules.items()}
        for name, rules in kept.items()
    }


def _precision_curve(label: SimulatedLabel, random: np.random.Generator) -> tuple[Floats, Floats]:
    """Confidences, the highest first, and the precision at or above each."""
    confidence = np.sort(label.confidences(random, 400_000))[::-1]
    precision = np.cumsum(label.precision(confidence)) / np.arange(1, len(confidence) + 1)
    return confidence, precision


def _judged(curve: tuple[Floats, Floats], threshold: float) -> tuple[bool, float]:
    confidence, precision = curve
    automatic = int(np.searchsorted(-confidence, -threshold, side="right"))
    if not automatic:
        return False, 0.0
    is_below = bool(precision[automatic - 1] < OPTIONS.target_precision)
    return is_below, automatic / len(confidence)


def _draw(tickets: int, random: np.random.Generator) -> tuple[Floats, Integers, Integers]:
    """Probabilities, codes and groups of a desk's tickets, each label predicted by its share."""
    shares = np.array([label.share for label in LABELS.values()])
    counts = random.multinomial(tickets, shares)
    parts: list[Floats] = []
    codes: list[Integers] = []
    groups: list[Integers] = []
    wordings_before = 0
    for code, (label, count) in enumerate(zip(LABELS.values(), counts, strict=True)):
        wordings = -(-count // label.copies)
        confidence = label.confidences(random, wordings)
        is_right = random.random(wordings) < label.precision(confidence)
        wording = np.arange(count) // label.copies
        part = np.repeat((1 - confidence[wording, np.newaxis]) / (len(shares) - 1), len(shares), 1)
        part[:, code] = confidence[wording]
        parts.append(part)
        codes.append(np.where(is_right[wording], code, (code + 1) % len(shares)))
        groups.append(wording + wordings_before)
        wordings_before += wordings
    return np.concatenate(parts), np.concatenate(codes), np.concatenate(groups)


EVIDENCE = ("out of fold", "a fifth put aside")
CLASSES = 6
SPREAD = 1.0
"""Of the centres of the classes: at 1.0 most labels are hard to tell apart, some are not."""


def fitted(tickets: int, draws: int, seed: int = 0) -> dict[str, Kept]:
    """The same for fitted models, by where the predictions come from that give the thresholds.

    Tickets are points of normal classes in ten dimensions, so that the chance of each class is
    known at each point. `out of fold`: thresholds from ten folds of all tickets, the model of all
    is deployed, as in the product. `a fifth put aside`: the model of the others is deployed.
    """
    random = np.random.default_rng(seed)
    judged: dict[str, list[tuple[float, float]]] = {name: [] for name in EVIDENCE}
    # Matrices this small are slower on several threads.
    with threadpool_limits(limits=1):
        for _ in range(draws):
            _fit_and_judge(tickets, random, judged)
    return {name: Kept(*np.mean(pairs, axis=0).tolist()) for name, pairs in judged.items()}


def _fit_and_judge(
    tickets: int, random: np.random.Generator, judged: Mapping[str, list[tuple[float, float]]]
) -> None:
    centres = random.normal(size=(CLASSES, 10)) * SPREAD / np.sqrt(2)
    shares = random.dirichlet(np.full(CLASSES, 4.0))
    points, codes = _points(centres, shares, tickets, random)
    fresh, _ = _points(centres, shares, 5_000, random)
    densities = [multivariate_normal(centre).pdf(fresh) for centre in centres]
    truth = np.stack(densities, axis=1) * shares
    truth /= truth.sum(axis=1, keepdims=True)
    for name, pairs in judged.items():
        model, temperature, thresholds = _deployed(name, points, codes)
        probability = probabilities(_full(model, model.decision_function(fresh)), temperature)
        pairs.extend(_judged_by(probability, truth, thresholds))


def _points(
    centres: Floats, shares: Floats, count: int, random: np.random.Generator
) -> tuple[Floats, Integers]:
    codes = random.choice(CLASSES, count, p=shares)
    return centres[codes] + random.normal(size=(count, centres.shape[1])), codes


def _deployed(
    evidence: str, points: Floats, codes: Integers
) -> tuple[LinearDiscriminantAnalysis, float, Floats]:
    """A model, its temperature and its thresholds."""
    rows = np.arange(len(codes))
    if evidence == "out of fold":
        scores: Floats = np.zeros((len(codes), CLASSES))
        folds = StratifiedKFold(10, shuffle=True, random_state=0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            splits = list(folds.split(points, codes))
        for learnt, asked in splits:
            part = LinearDiscriminantAnalysis().fit(points[learnt], codes[learnt])
            scores[asked] = _full(part, part.decision_function(points[asked]))
        model = LinearDiscriminantAnalysis().fit(points, codes)
    else:
        learnt, rows = rows[: len(codes) * 4 // 5], rows[len(codes) * 4 // 5 :]
        model = LinearDiscriminantAnalysis().fit(points[learnt], codes[learnt])
        scores = _full(model, model.decision_function(points))
    temperature = fit_temperature(scores[rows], codes[rows])
    return (
        model,
        temperature,
        present_rule(probabilities(scores[rows], temperature), codes[rows], rows),
    )


def _full(model: LinearDiscriminantAnalysis, scores: Floats) -> Floats:
    """Scores of all classes, also of those that the model has not seen."""
    full: Floats = np.full((len(scores), CLASSES), -50.0)
    full[:, model.classes_] = scores
    return full


def _judged_by(probability: Floats, truth: Floats, thresholds: Floats) -> list[tuple[float, float]]:
    """Per label whether its precision is below the target, and its coverage."""
    predicted = probability.argmax(axis=1)
    judged = []
    for code, threshold in enumerate(thresholds):
        rows = predicted == code
        automatic = rows & (probability[:, code] >= threshold)
        is_below = automatic.any() and truth[automatic, code].mean() < OPTIONS.target_precision
        judged.append((float(is_below), automatic.sum() / max(rows.sum(), 1)))
    return judged


@dataclass(frozen=True)
class Realised:
    """What a rule decided on the tested tickets of a split."""

    tested: int
    confidence: Floats
    """Of the automatic tickets."""
    correct: Booleans
    """Of the automatic tickets."""

    def least_sure(self) -> Booleans:
        """Whether the tickets of the least sure tenth are right."""
        return self.correct[np.argsort(self.confidence, kind="stable")][
            : -(-len(self.correct) // 10)
        ]


def realised(
    tickets: pd.DataFrame,
    vectors: Floats,
    groups: Integers,
    *,
    splits: int = 5,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, dict[str, list[Realised]]]:
    """Per target and rule what it decides in each split of `tickets evaluate`, by wording.

    Both rules are given the same out-of-fold predictions and judge the same final model. The
    present one leaves to a person, as the product does, what is unlike all that was learnt.
    """
    found: dict[str, dict[str, list[Realised]]] = {}
    category = tickets["category"].astype(str)
    for number in range(splits):
        on_progress(f"Split {number + 1} of {splits}")
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=number)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")
            learnt, asked = next(iter(folds.split(category, category, groups)))
        training_set = TrainingSet(
            tickets.iloc[learnt].reset_index(drop=True), vectors[learnt], "table"
        )
        trained = train(training_set, OPTIONS)
        classifier = trained.classifier
        familiarity = Familiarity.of(trained.reference, trained.vocabulary, classifier.space)
        unfamiliar = familiarity.reasons(tickets.iloc[asked], vectors[asked]).notna().to_numpy()
        labelled = prepare(training_set, OPTIONS)
        rows = np.arange(len(labelled.tickets))
        experts = {name: CANDIDATES[m.candidate] for name, m in classifier.targets.items()}
        options = replace(OPTIONS, folds=final_folds(len(rows), OPTIONS))
        out_of_fold = cross_validate(labelled, rows, experts, options, lambda _: None)
        predicted = classifier.predict(tickets.iloc[asked], vectors[asked])
        for target, model in classifier.targets.items():
            calibration = calibrate(labelled, target, model.candidate, rows, out_of_fold, options)
            positions, codes = labelled.positions(target, rows)
            truth = tickets[target].iloc[asked]
            tested = truth.notna().to_numpy()
            labels = predicted[target][tested]
            confidence = predicted[f"{target}_confidence"].to_numpy()[tested]
            correct = (labels == truth[tested]).to_numpy()
            answers = pd.Categorical(labels, categories=list(model.labels)).codes
            former = former_rule(
                calibration.probability[positions], codes, labelled.templates[positions]
            )
            for name, thresholds in {"present": calibration.thresholds, "former": former}.items():
                automatic = confidence >= thresholds[answers]
                if name == "present":
                    automatic &= ~unfamiliar[tested]
                found.setdefault(target, {}).setdefault(name, []).append(
                    Realised(len(correct), confidence[automatic], correct[automatic])
                )
    return found


def simulation_lines(draws: int, fitted_draws: int) -> Iterator[Line]:
    """Violations on simulated labels; the former rule is the peer."""
    risk = OPTIONS.precision_risk
    for tickets in (300, 1_000, 5_000):
        allowed = risk + 2 * np.sqrt(risk * (1 - risk) / draws)
        for name, rules in simulated(tickets, draws).items():
            present, former = rules["present"], rules["former"]
            yield Line(
                PART,
                f"{tickets:,} tickets, {name}: below target (coverage)",
                f"{present.violations:.1%} ({present.coverage:.0%})",
                f"{former.violations:.1%} ({former.coverage:.0%})",
                wanted=f"≤ {allowed:.1%}",
                met=present.violations <= allowed,
            )
    for tickets in (300, 1_000, 5_000):
        allowed = risk + 2 * np.sqrt(risk * (1 - risk) / fitted_draws)
        for evidence, kept in fitted(tickets, fitted_draws).items():
            yield Line(
                PART,
                f"{tickets:,} tickets, fitted, {evidence}: below target (coverage)",
                f"{kept.violations:.1%} ({kept.coverage:.0%})",
                wanted=f"≤ {allowed:.1%}",
                met=kept.violations <= allowed,
            )


def realised_lines(
    source: str, found: Mapping[str, Mapping[str, Sequence[Realised]]]
) -> Iterator[Line]:
    """Coverage, precision and the least sure tenth on a table; the former rule is the peer."""
    target_precision = OPTIONS.target_precision
    for target, rules in found.items():
        what = f"{source}, {target}"
        coverage = {name: _coverage(splits) for name, splits in rules.items()}
        precision = {name: _precisions(splits) for name, splits in rules.items()}
        former = precision["former"]
        former_keeps = former is not None and former[0] >= target_precision
        ratio = coverage["present"] / coverage["former"] if coverage["former"] else None
        yield Line(
            PART,
            f"{what}: automatic",
            f"{coverage['present']:.1%}",
            f"{coverage['former']:.1%}",
            ratio,
            "≥ 0.90 of it" if former_keeps else "",
            (ratio or 0) >= 0.9 if former_keeps else None,
        )
        here, peer = (f"{p[0]:.1%} ({p[1]:.1%})" if p else "none" for p in precision.values())
        present = precision["present"]
        yield Line(
            PART,
            f"{what}: right of those (worst split)",
            here,
            peer,
            wanted=f"≥ {MEAN_PRECISION:.0%} (≥ {WORST_PRECISION:.0%})",
            met=present[0] >= MEAN_PRECISION and present[1] >= WORST_PRECISION if present else None,
        )
        tenths = [np.concatenate([s.least_sure() for s in splits]) for splits in rules.values()]
        here, peer = (f"{t.mean():.1%} of {len(t)}" if len(t) else "none" for t in tenths)
        met = bool(tenths[0].mean() >= 0.85) if len(tenths[0]) else None
        yield Line(PART, f"{what}: right of the least sure tenth", here, peer, None, "≥ 85 %", met)


def _coverage(splits: Sequence[Realised]) -> float:
    return sum(len(s.correct) for s in splits) / sum(s.tested for s in splits)


def _precisions(splits: Sequence[Realised]) -> tuple[float, float] | None:
    """Over all splits, and of the worst one; None without automatic tickets."""
    shares = [s.correct.mean() for s in splits if len(s.correct)]
    if not shares:
        return None
    return float(np.concatenate([s.correct for s in splits]).mean()), float(min(shares))
