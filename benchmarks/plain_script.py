"""The peer of the whole job: what one would write in an afternoon with the same libraries.

It is handed the clean texts, so it is spared reading, cleaning and masking mail. It encodes them,
indexes them, fits the same experts on the same folds, predicts, looks up neighbours and reports the
drift of every day, each with the library's usual call. Run as a program by `benchmarks/job.py`.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDS = 5
NEIGHBOURS = 5
QUERY_BATCH = 256
REFERENCE_ROWS = 2000


def main(tickets_path: Path, encoder: str, prefix: str, max_tokens: int, folder: Path) -> None:
    """Do the job on a Parquet file of clean, labelled tickets and print the seconds of each part.

    Columns: ticket_id, received_at, language, text, category, priority (both may be null).
    """
    clock = time.perf_counter
    tickets = pd.read_parquet(tickets_path).sort_values("received_at", ignore_index=True)
    seconds = {}

    started = clock()
    vectors = _encode([prefix + text for text in tickets["text"]], encoder, max_tokens)
    seconds["encoding"] = clock() - started

    started = clock()
    collection = _index(tickets, vectors, folder)
    seconds["indexing"] = clock() - started

    started = clock()
    predicted = {target: _learn(tickets, vectors, target) for target in ("category", "priority")}
    seconds["fitting"] = clock() - started

    started = clock()
    for start in range(0, len(vectors), QUERY_BATCH):
        collection.query(
            query_embeddings=vectors[start : start + QUERY_BATCH], n_results=NEIGHBOURS
        )
    seconds["neighbours"] = clock() - started

    started = clock()
    _drift(tickets.assign(category=predicted["category"]), folder)
    seconds["drift"] = clock() - started
    json.dump(seconds, sys.stdout)


def _encode(texts: list[str], encoder: str, max_tokens: int) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(encoder, device="cpu", local_files_only=True)
    model.max_seq_length = max_tokens
    return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)


def _index(tickets: pd.DataFrame, vectors: Any, folder: Path) -> Any:
    import chromadb
    from chromadb.config import Settings

    client = chromadb.PersistentClient(
        str(folder / "chroma"), settings=Settings(anonymized_telemetry=False)
    )
    collection = client.create_collection("tickets", configuration={"hnsw": {"space": "cosine"}})
    size = client.get_max_batch_size()
    days = tickets["received_at"].dt.strftime("%Y%m%d").astype(int)
    for start in range(0, len(tickets), size):
        rows = slice(start, start + size)
        collection.add(
            ids=tickets["ticket_id"][rows].tolist(),
            embeddings=vectors[rows],
            metadatas=[{"day": day} for day in days[rows]],
        )
    return collection


def _learn(tickets: pd.DataFrame, vectors: Any, target: str) -> Any:
    """Predictions for all tickets by the expert that wins the cross-validation."""
    from scipy.sparse import csr_matrix, hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_union
    from sklearn.svm import LinearSVC

    from ticket_assets.classification.impact_urgency import impact_urgency

    def terms() -> Any:
        return make_union(
            TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 4), min_df=2, sublinear_tf=True),
        )

    experts: dict[str, Callable[[], Any]] = {
        "vectors": lambda: LogisticRegression(C=30, class_weight="balanced", max_iter=1000),
        "terms": lambda: LinearSVC(C=0.5, class_weight="balanced"),
        "joined": lambda: LinearSVC(C=0.5, class_weight="balanced"),
    }
    if target == "priority":
        experts["joined with urgency"] = experts["joined"]
        urgency = impact_urgency(tickets["text"].tolist())

    def inputs(expert: str, counts: Any, rows: Any) -> Any:
        if expert == "vectors":
            return vectors[rows]
        if expert == "terms":
            return counts
        parts = [counts, csr_matrix(vectors[rows])]
        if expert == "joined with urgency":
            parts.append(csr_matrix(urgency[rows]))
        return hstack(parts).tocsr()

    known = np.flatnonzero(tickets[target].notna())
    earlier = known[: int(0.8 * len(known))]
    texts, labels = tickets["text"].to_numpy(), tickets[target].to_numpy(dtype=object)
    scores: dict[str, list[float]] = {expert: [] for expert in experts}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=7)
    for fold in folds.split(earlier, labels[earlier], texts[earlier]):
        train, test = (earlier[rows] for rows in fold)
        vectoriser = terms().fit(texts[train])
        fitted, tested = vectoriser.transform(texts[train]), vectoriser.transform(texts[test])
        for expert, estimator in experts.items():
            model = estimator().fit(inputs(expert, fitted, train), labels[train])
            guessed = model.predict(inputs(expert, tested, test))
            scores[expert].append(f1_score(labels[test], guessed, average="macro"))
    best = max(scores, key=lambda expert: float(np.mean(scores[expert])))
    vectoriser = terms().fit(texts[known])
    model = experts[best]().fit(
        inputs(best, vectoriser.transform(texts[known]), known), labels[known]
    )
    everything = np.arange(len(tickets))
    return model.predict(inputs(best, vectoriser.transform(texts), everything))


def _drift(tickets: pd.DataFrame, folder: Path) -> None:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    columns = {"language": "jensenshannon", "category": "jensenshannon", "length": "wasserstein"}
    definition = DataDefinition(
        categorical_columns=["language", "category"], numerical_columns=["length"]
    )
    table = tickets.assign(length=tickets["text"].str.len())[[*columns]]
    reference = Dataset.from_pandas(
        table.sample(min(REFERENCE_ROWS, len(table)), random_state=7), definition
    )
    days = tickets["received_at"].dt.date
    for day in sorted(set(days)):
        report = Report([ValueDrift(column=name, method=how) for name, how in columns.items()])
        snapshot = report.run(Dataset.from_pandas(table[days == day], definition), reference)
        (folder / f"drift-{day}.json").write_text(snapshot.json())
    snapshot.save_html(str(folder / "drift.html"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), Path(sys.argv[5]))
