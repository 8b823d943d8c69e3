import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ticket_assets.classification.explanation import TermReader
from ticket_assets.classification.features import FeatureSpace, count_terms, term_counter
from ticket_assets.classification.vocabulary import (
    build_vocabulary,
    leave_one_out_oov_share,
    oov_share,
    vocabulary_frame,
    vocabulary_from_frame,
)

TEXTS = ["vpn coupé", "vpn coupé encore", "écran noir", "écran cassé"]


@pytest.fixture
def space() -> FeatureSpace:
    return FeatureSpace.fit(count_terms(TEXTS), np.eye(4, dtype=np.float32))


def test_only_terms_of_two_texts_are_kept(space: FeatureSpace):
    words, _, _ = TermReader(space).read("Vpn coupé encore noir")

    # Words and pairs that two texts share; `noir` and `encore` occur once, not even in pieces.
    assert words == ["vpn", "coupé", "vpn coupé"]


@pytest.mark.slow
@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
@example(["", "  "])
@example(["L'écran, vpn VPN coupé", "ΟΔΟΣ İstanbul STRASSE ß \u2003ﬁn\x1f\x00 écran,"])
def test_characters_are_counted_as_scikit_learn_counts_them(texts: list[str]):
    counted = count_terms(texts).blocks["characters"]

    expected = term_counter("characters").transform(texts)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(counted, part), getattr(expected, part), strict=True)
    assert counted.shape == expected.shape


@pytest.mark.slow
@given(st.text(max_size=80))
@example("L'écran, vpn VPN coupé")
@example("ΟΔΟΣ İstanbul STRASSE ß \u2003ﬁn\x00")
def test_the_columns_behind_the_words_of_a_text_are_those_of_its_terms(text: str):
    counts = count_terms([text, text])
    whole = FeatureSpace.fit(counts, np.eye(2, dtype=np.float32))
    terms = whole.features(counts, np.eye(2, dtype=np.float32)).terms

    words, positions, columns = TermReader(whole).read(text)

    of_first = terms.indices[: terms.indptr[1]]
    assert sorted(set(columns.tolist())) == sorted(of_first.tolist())
    assert set(positions.tolist()) == set(range(len(words)))


def test_a_term_of_every_second_text_weighs_by_its_smoothed_document_frequency(space):
    # ln((1 + 4) / (1 + 2)) + 1, for vpn, coupé, écran and "vpn coupé".
    assert space.term_weights["words"] == pytest.approx([np.log(5 / 3) + 1] * 4)


def test_each_kind_of_term_has_unit_length_and_repetition_counts_little(space: FeatureSpace):
    features = space.features(count_terms(["vpn vpn vpn coupé"]), np.zeros((1, 4), np.float32))
    word_columns = len(space.columns["words"])
    row = features.terms.toarray()[0]

    assert np.linalg.norm(row[:word_columns]) == pytest.approx(1)
    assert np.linalg.norm(row[word_columns:]) == pytest.approx(1)
    # Three times `vpn` is 1 + ln 3 against 1 for `coupé` and for the pair.
    assert sorted(row[:word_columns] / row[:word_columns].max())[-2] == pytest.approx(
        1 / (1 + np.log(3))
    )


def test_vectors_are_centred_and_scaled_to_mean_square_one(space: FeatureSpace):
    vectors = space.features(count_terms(TEXTS), np.eye(4, dtype=np.float32)).vectors

    assert vectors.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-6)
    assert np.square(vectors).sum(axis=1).mean() == pytest.approx(1)


def test_out_of_vocabulary_share_counts_tokens_that_no_training_text_has():
    vocabulary = build_vocabulary(["vpn lent", "vpn lent", "vpn coupé"])

    assert vocabulary == {"coupé": 1, "lent": 1, "vpn": 2}  # a repeated text counts once
    assert oov_share(["vpn coupé", "vpn yubikey", "", "a b"], vocabulary).tolist() == [0, 0.5, 0, 1]
    assert leave_one_out_oov_share(["vpn coupé", "vpn vpn"], vocabulary).tolist() == [0.5, 0]


def test_vocabulary_survives_its_table():
    vocabulary = build_vocabulary(["écran noir", "vpn écran"])

    assert vocabulary_from_frame(vocabulary_frame(vocabulary)) == vocabulary
