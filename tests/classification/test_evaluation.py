import json
from dataclasses import replace

import numpy as np
import pytest
from markdown_it import MarkdownIt

from tests.hostile_names import NAMES, OBEYED
from ticket_assets.classification.baselines import (
    most_frequent_by_category,
    most_frequent_by_topic,
)
from ticket_assets.classification.evaluation import (
    Evaluation,
    OrderErrors,
    bootstrap_macro_f1,
    candidates_table,
    confusion_counts,
    confusion_matrix_markdown,
    evaluate_target,
    figures,
    macro_f1,
    order_errors,
    per_class_table,
    wordings_table,
)
from ticket_assets.classification.evaluation_plots import (
    confusion_matrix_png,
    precision_coverage_png,
    reliability_png,
)
from ticket_assets.classification.model_card import model_card
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.markdown import plain


@pytest.fixture
def small():
    """Five tickets of a, b and c; the third and the fifth are wrong; b decides above 0.7."""
    return evaluate_target(
        labels=("a", "b", "c"),
        probability=np.array(
            [[0.8, 0.1, 0.1], [0.1, 0.9, 0.0], [0.3, 0.6, 0.1], [0.1, 0.75, 0.15], [0.5, 0.1, 0.4]]
        ),
        truth=np.array([0, 1, 0, 1, 2]),
        training_codes=np.array([1, 1, 1, 0, 2]),
        thresholds=np.array([2.0, 0.7, 2.0]),
        deployed_thresholds=np.array([0.9, 0.7, 2.0]),
        ticket_ids=["t1", "t2", "t3", "t4", "t5"],
        languages=["fr", "fr", "en", "en", "en"],
        category_only=np.array([0, 0, 0, 1, 1]),
        topic_only=np.array([0, 1, 1, 1, 1]),
        ordered=True,
        winner="tfidf",
        candidates=[],
        temperature=1.0,
        excluded_classes={"d": 3},
        label_tickets=[12, 20, 11],
        label_wordings=[9, 1, 11],
        seed=0,
    )


def test_scores_match_those_by_hand(small):
    # a: P 1/2, R 1/2, F1 1/2; b: P 2/3, R 1, F1 4/5; c: never predicted, F1 0.
    assert small.confusion == ((1, 1, 0), (0, 2, 0), (1, 0, 0))
    assert small.accuracy == pytest.approx(3 / 5)
    assert small.macro_f1 == pytest.approx((1 / 2 + 4 / 5 + 0) / 3)
    assert [score.precision for score in small.per_class] == pytest.approx([1 / 2, 2 / 3, 0])
    assert [score.recall for score in small.per_class] == pytest.approx([1 / 2, 1, 0])
    assert [score.support for score in small.per_class] == [2, 2, 1]
    # The right label is second for t3 (0.3) and for t5 (0.4).
    assert small.top2_accuracy == 1.0


def test_baselines_match_those_by_hand(small):
    # Always b: right for 2 of 5; F1 of b = 2*2 / (5 + 2), the others 0.
    assert small.baseline_accuracy == pytest.approx(2 / 5)
    assert small.baseline_macro_f1 == pytest.approx((4 / 7) / 3)
    # From the category alone: t1, t3 and t4 right; a: 2*2/(3+2), b: 2*1/(2+2), c: 0.
    assert small.category_only_accuracy == pytest.approx(3 / 5)
    assert small.category_only_macro_f1 == pytest.approx((4 / 5 + 1 / 2) / 3)
    # From the topic alone: t1, t2 and t4 right; a: 2*1/(1+2), b: 2*2/(4+2), c: 0.
    assert small.topic_only_accuracy == pytest.approx(3 / 5)
    assert small.topic_only_macro_f1 == pytest.approx((2 / 3 + 2 / 3) / 3)


def test_errors_of_ordered_labels_are_counted_by_how_far_and_which_way(small):
    # t3 is an `a` called b, one too high; t5 is the only `c`, and called a, two too low.
    assert small.order_errors == OrderErrors(
        mean_rank_error=3 / 5, called_far_too_low=1 / 5, highest_called_lower=1.0
    )


def test_without_tickets_of_the_highest_label_nothing_is_said_of_them():
    errors = order_errors(np.array([0, 1, 1]), np.array([1, 1, 0]), 3)

    assert errors == OrderErrors(2 / 3, 0.0, None)


def test_figures_leave_out_what_does_not_apply(small):
    shown = figures(replace(small, order_errors=None, auto_precision=None))

    assert "right when sure" not in shown
    assert "highest called lower" not in shown
    assert shown["accuracy in en"] == pytest.approx(1 / 3)
    assert figures(small)["levels off, mean"] == 3 / 5


def test_automatic_decisions_are_those_at_or_above_the_threshold_of_their_class(small):
    assert small.coverage == pytest.approx(2 / 5)  # t2 and t4
    assert small.auto_precision == 1.0
    assert [score.coverage for score in small.per_class] == pytest.approx([0, 2 / 3, 0])
    assert [score.auto_precision for score in small.per_class] == [None, 1.0, None]
    assert [score.deployed_threshold for score in small.per_class] == [0.9, 0.7, 2.0]


def test_the_least_sure_tenth_of_the_automatic_tickets_is_judged_by_itself():
    # Given 21 automatic tickets, of which two of the three least sure are wrong, and an unsure one
    confidence = np.append(np.linspace(0.95, 0.75, 21), 0.55)
    truth = np.zeros(22, dtype=int)
    truth[[19, 20, 21]] = 1

    evaluated = evaluate_target(
        labels=("a", "b"),
        probability=np.column_stack([confidence, 1 - confidence]),
        truth=truth,
        training_codes=truth,
        thresholds=np.array([0.7, 0.7]),
        deployed_thresholds=np.array([0.7, 0.7]),
        ticket_ids=[f"t{number}" for number in range(22)],
        languages=["fr"] * 22,
        category_only=None,
        topic_only=truth,
        ordered=False,
        winner="tfidf",
        candidates=[],
        temperature=1.0,
        excluded_classes={},
        label_tickets=[40, 40],
        label_wordings=[40, 40],
        seed=0,
    )

    assert (evaluated.least_sure_rows, evaluated.least_sure_precision) == (3, 1 / 3)
    assert figures(evaluated)["right of the least sure tenth"] == 1 / 3


def test_of_two_automatic_tickets_the_less_sure_one_is_the_tenth(small):
    assert (small.least_sure_rows, small.least_sure_precision) == (1, 1.0)


def test_evaluations_of_former_versions_are_read(trained: TrainedClassifier):
    content = trained.evaluation.to_dict()
    del content["precision_risk"], content["confidence_floor"]
    for target in content["targets"].values():
        del target["least_sure_rows"], target["least_sure_precision"]

    former = Evaluation.from_dict(content)

    assert (former.precision_risk, former.confidence_floor) == (1.0, 0.0)
    assert former.targets["category"].least_sure_precision is None


def test_languages_are_scored_apart(small):
    english, french = small.per_language

    assert (english.language, english.rows, english.accuracy) == ("en", 3, pytest.approx(1 / 3))
    # English: a predicted b, b right, c predicted a: F1 0, 2/3, 0.
    assert english.macro_f1 == pytest.approx(2 / 9)
    assert (french.language, french.rows, french.macro_f1) == ("fr", 2, 1.0)


def test_mistakes_come_most_confident_first(small):
    assert [(m.ticket_id, m.label, m.predicted) for m in small.confident_mistakes] == [
        ("t3", "a", "b"),
        ("t5", "c", "a"),
    ]


def test_macro_f1_ignores_classes_that_do_not_occur():
    assert macro_f1(confusion_counts(np.array([0, 0]), np.array([0, 0]), 3)) == 1.0


def test_each_bootstrap_resample_is_scored_like_a_data_set_of_its_own():
    truth, predicted = np.array([0, 1, 1]), np.array([0, 0, 1])
    samples = np.array([[0, 0, 2], [1, 1, 1], [0, 1, 2]])

    # All right; all wrong; a: 2/3 and b: 2/3.
    assert bootstrap_macro_f1(truth, predicted, 2, samples) == pytest.approx([1, 0, 2 / 3])


def test_priority_from_the_category_alone_is_the_most_frequent_one_there():
    categories, codes = np.array([0, 0, 0, 1]), np.array([2, 2, 1, 1])

    # Category 2 was never seen: the overall most frequent, the lower code on a tie.
    assert most_frequent_by_category(categories, codes, 3).tolist() == [2, 1, 1]


def test_a_topic_answers_with_its_most_frequent_label():
    # Two heaps; the first is mostly 1, the second mostly 0.
    vectors = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]], np.float32)
    codes = np.array([1, 1, 0, 0, 0, 1])

    answers = most_frequent_by_topic(vectors, codes, np.array([[0.3], [8.0]], np.float32), 7, 2)

    assert answers.tolist() == [1, 0]


@pytest.mark.slow
def test_only_priorities_in_an_order_the_desk_gives_have_order_errors(
    trained: TrainedClassifier, training_set: TrainingSet, options: TrainingOptions
):
    unordered = train(training_set, replace(options, priorities=("low", "high"), folds=2))

    assert trained.evaluation.targets["priority"].order_errors is not None
    assert trained.evaluation.targets["category"].order_errors is None
    # `normal` is not among the configured ones: nobody says whether it is above `high`.
    assert unordered.evaluation.targets["priority"].order_errors is None


def test_evaluation_survives_json(trained: TrainedClassifier):
    text = json.dumps(trained.evaluation.to_dict(), allow_nan=False)

    assert Evaluation.from_dict(json.loads(text)) == trained.evaluation


def test_tables_show_labels_thresholds_and_the_winner(trained: TrainedClassifier, small):
    evaluation = replace(
        trained.evaluation, targets={"category": replace(small, labels=("a|x", "b", "c"))}
    )

    assert "| b | 0.667 | 1.000 | 0.800 | 2 | 0.700 | 67% | 100.0% |" in per_class_table(
        evaluation, "category"
    )
    assert "| c | 0.000 | 0.000 | 0.000 | 1 | always review | 0% | – |" in per_class_table(
        evaluation, "category"
    )
    assert confusion_matrix_markdown(evaluation, "category").splitlines() == [
        "| true ↓ predicted → | a\\|x | b | c |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|x | 1 | 1 | 0 |",
        "| b | 0 | 2 | 0 |",
        "| c | 1 | 0 | 0 |",
    ]
    assert "| b | 20 | 1 |" in wordings_table(evaluation, "category")
    winner = trained.evaluation.targets["category"].winner
    assert f"| **{winner}** |" in candidates_table(trained.evaluation, "category")


@pytest.mark.parametrize("draw", [confusion_matrix_png, reliability_png, precision_coverage_png])
@pytest.mark.parametrize("target", ["category", "priority"])
def test_pictures_are_small_pngs(draw, target, trained: TrainedClassifier):
    picture = draw(trained.evaluation, target)

    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(picture) < 60_000


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.filterwarnings("ignore:Glyph")  # DejaVu has not all scripts
def test_names_of_labels_are_text_in_tables_pictures_and_the_card(name, trained: TrainedClassifier):
    target = trained.evaluation.targets["category"]
    hostile = replace(
        target,
        labels=(name, *target.labels[1:]),
        per_class=tuple(replace(score, label=name) for score in target.per_class),
        excluded_classes={name: 3},
    )
    evaluation = replace(trained.evaluation, targets={"category": hostile})

    card = model_card(replace(trained, evaluation=evaluation), "0123456789ab")

    assert confusion_matrix_png(evaluation, "category").startswith(b"\x89PNG")
    assert not OBEYED.intersection(card) - {"\n"}
    shown = {
        child.type
        for token in MarkdownIt("commonmark").enable("table").parse(card)
        for child in token.children or ()
        if name[:8] in child.content
    }
    assert shown <= {"text"}
    assert f"never predicted: {plain(name)} (3)." in card
