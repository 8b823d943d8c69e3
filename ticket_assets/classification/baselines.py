"""Answers of someone who knows less than the classifier: a yardstick for its scores."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from ticket_assets.classification.features import Floats, Integers


def most_frequent_by_category(
    categories: Integers, codes: Integers, category_count: int
) -> Integers:
    """Per category its most frequent code; the overall one for a category without tickets."""
    overall = int(np.bincount(codes).argmax())
    return np.array(
        [
            int(np.bincount(codes[categories == category]).argmax())
            if (categories == category).any()
            else overall
            for category in range(category_count)
        ]
    )


def most_frequent_by_topic(
    vectors: Floats, codes: Integers, judged_vectors: Floats, seed: int, class_count: int
) -> Integers:
    """For each of `judged_vectors` the most frequent code of its topic.

    The topics are clusters of `vectors` (k-means), as many as there are classes. They show what
    grouping tickets by topic is worth, without learning from their labels.
    """
    clusters = KMeans(min(class_count, len(vectors)), n_init=3, random_state=seed).fit(vectors)
    answers = most_frequent_by_category(clusters.labels_, codes, clusters.n_clusters)
    return np.asarray(answers[clusters.predict(judged_vectors)])
