"""Which texts are one wording: near-copies, but for what a template fills in and what stands around
the same sentences, like greetings and thanks."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view
from scipy import sparse

SAME_SENTENCES = 0.5
"""Least mean cosine of the word pairs of near-copies. Over 0.3 to 0.6 the outcome hardly moves."""
ONE_LABEL = 0.9
"""Share of a label from which near-copies are one. Forms that a portal fills in share more words
than they differ in; their labels tell that the few that differ are what they are about."""
SAME_WORDING = 0.12
"""Least mean cosine, rare words counting most, of the texts of a wording.

Measured on 2,100 tickets of the sample mailbox, where the sentence behind each is known: of two
texts that are joined 95 % have one, of two that have one 81 % are joined. At 0.10 it is 89 % and
83 %, at 0.14 96 % and 78 %.
"""
_RARITY = 1.5
"""Power of the inverse document frequency. At 1 the same share of pairs with one sentence came with
three times as many pairs of different ones."""
_FREQUENT_TERMS = 500, 0.05
"""A term in more texts than both, as number and as share, is not compared: it weighs next to
nothing, and takes most of the time."""
_BLOCK = 256
_TIE = 1e-5

Integers = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]


def wordings(templates: Integers, tokens: Sequence[str], labels: Sequence[str | None]) -> Integers:
    """The number of the wording of each ticket; wordings are numbered as they first occur.

    Texts of one template are one wording. Other texts become one by average linkage: the two groups
    whose texts are most alike on average are joined, again and again, while that average reaches a
    bound. So no chain of texts, each a little like the next, makes one group of a whole desk. First
    by their word pairs, all alike, then by words and word pairs of which the rare ones count most;
    rare in how many groups of the first step, so that a wording that fills a third of the desk does
    not lose its own words.

    Args:
        templates: number of the template of each ticket, in the order of their first occurrence.
        tokens: the words of each ticket.
        labels: what people said of each ticket, None where nobody has.
    """
    first = np.unique(templates, return_index=True)[1]
    terms, are_pairs = _terms([tokens[row] for row in first])
    near = average_linkage(_unit(terms[:, are_pairs]), SAME_SENTENCES)
    near = _without_mixed(near, templates, labels)
    groups = _membership(near) @ terms
    counts = np.bincount(groups.indices, minlength=groups.shape[1])
    rarity = np.log(groups.shape[0] / np.maximum(counts, 1)) ** _RARITY
    weighted = _unit(groups @ sparse.diags_array(rarity.astype(np.float32)))
    compared = (counts > 1) & (counts <= max(_FREQUENT_TERMS[0], _FREQUENT_TERMS[1] * len(near)))
    alike = average_linkage(weighted[:, compared], SAME_WORDING)
    return np.asarray(pd.factorize(alike[near][templates])[0])


def average_linkage(vectors: Any, least: float) -> Integers:
    """The group of each vector; two groups are joined while the mean of their products allows it.

    Each round joins all pairs of groups that are each other's nearest, which gives the same groups
    as joining the nearest pair of all time and again (Sumengen et al., Scaling Hierarchical
    Agglomerative Clustering to Billion-sized Datasets, 2021). What has no group near enough never
    gets one, since a mean is not above the larger of two, and is not looked at again.

    Args:
        vectors: sparse, one a row, of length one at most and without negative numbers.
        least: smallest mean product of two groups that are joined.
    """
    roots = np.arange(vectors.shape[0])
    open_roots, means = roots, vectors.astype(np.float32).tocsr()
    sizes = np.ones(len(roots), np.float32)
    while True:
        nearest, products = _nearest(means)
        is_near = products >= least
        position = np.arange(len(open_roots))
        joins = is_near & (nearest[nearest] == position)
        if not joins.any():
            return np.unique(roots, return_inverse=True)[1]
        into = np.where(joins, np.minimum(position, nearest), position)
        new_roots = np.arange(len(roots))
        new_roots[open_roots] = open_roots[into]
        roots = new_roots[roots]
        kept, groups = np.unique(into[is_near], return_inverse=True)
        members = _membership(groups)
        former_sizes, sizes = sizes[is_near], members @ sizes[is_near]
        sums = members @ (sparse.diags_array(former_sizes) @ means[is_near])
        means = sparse.diags_array(1 / sizes) @ sums
        open_roots = open_roots[kept]


def _nearest(means: Any) -> tuple[Integers, Floats]:
    """For each row the other row with the largest product, and this product."""
    count = means.shape[0]
    means.sort_indices()  # so that a product is the same from both sides, to the last bit
    columns = means.T.tocsr()
    nearest, products = np.zeros(count, np.int64), np.zeros(count, np.float32)
    # Equal products would all name the same row, and a round would join one pair. By these, rows
    # find each other.
    ties = np.random.default_rng(0).random(2 * count, np.float32) * np.float32(_TIE)
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        block = (means[rows] @ columns).toarray()
        block += sliding_window_view(ties, count)[rows]
        block[rows - start, rows] = -1
        nearest[rows] = block.argmax(axis=1)
        products[rows] = block[rows - start, nearest[rows]]
    return nearest, products


def _terms(tokens: Sequence[str]) -> tuple[Any, npt.NDArray[np.bool_]]:
    """The words and pairs of neighbours in each text, sparse, and which columns are pairs."""
    numbers: dict[str | tuple[str, str], int] = {}
    terms: list[int] = []
    ends = [0]
    for text in tokens:
        words = [folded for word in text.split() if (folded := _folded(word))]
        found: dict[str | tuple[str, str], None] = dict.fromkeys([*words, *pairwise(words)])
        terms += [numbers.setdefault(term, len(numbers)) for term in found]
        ends.append(len(terms))
    values = np.ones(len(terms), np.float32)
    matrix = sparse.csr_array((values, terms, ends), shape=(len(tokens), len(numbers)))
    return matrix, np.array([isinstance(term, tuple) for term in numbers], dtype=bool)


@lru_cache(maxsize=100_000)
def _folded(word: str) -> str:
    """Without accents, which hurried people leave out; empty for what holds a number."""
    if any(sign.isdigit() for sign in word):
        return ""
    signs = unicodedata.normalize("NFD", word)
    return "".join(sign for sign in signs if not unicodedata.combining(sign))


def _without_mixed(near: Integers, templates: Integers, labels: Sequence[str | None]) -> Integers:
    """`near` with the groups taken apart whose tickets have several labels."""
    tickets = pd.DataFrame({"group": near[templates], "label": labels}).dropna()
    counts = tickets.value_counts(["group", "label"]).groupby("group").agg(["max", "sum"])
    mixed = counts.index[counts["max"] < ONE_LABEL * counts["sum"]]
    alone = np.where(np.isin(near, mixed), near.max(initial=0) + 1 + np.arange(len(near)), near)
    return np.unique(alone, return_inverse=True)[1]


def _membership(groups: Integers) -> Any:
    """Sparse, one row a group: 1 where a column is of the group."""
    shape = groups.max(initial=-1) + 1, len(groups)
    ones = np.ones(len(groups), np.float32)
    return sparse.csr_array((ones, (groups, np.arange(len(groups)))), shape=shape)


def _unit(rows: Any) -> Any:
    """`rows`, each of length one but for those of zeros."""
    lengths = np.sqrt(rows.multiply(rows).sum(axis=1))
    scale = 1 / np.maximum(np.asarray(lengths, dtype=np.float32), 1e-9)
    return sparse.diags_array(scale.astype(np.float32)) @ rows
