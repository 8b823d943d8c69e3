"""The tickets that wait for a person, those first whose labels teach the most."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ticket_assets.classification.decisions import AUDIT, SUSPENDED
from ticket_assets.classification.sorting import ALWAYS_REVIEWED, UNSURE, labels_json
from ticket_assets.drift.store import REVIEW_QUEUE, REVIEW_QUEUE_DAYS
from ticket_assets.errors import TicketAssetsError
from ticket_assets.routing import FORMULA_SIGNS
from ticket_assets.storage.vectors import Matrix, to_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from ticket_assets.desk import Desk

ORDERED = 200
"""So many are chosen by what they teach: about what people label in a week."""
CANDIDATES = 5000
"""Of the latest so many: comparing each with each chosen one takes 0.2 s then."""
SHOWN_CHARACTERS = 160


class ReviewError(TicketAssetsError):
    """There is nothing to review."""


def review_queue(desk: Desk, days: int) -> pd.DataFrame:
    """The tickets of the last `days` with mail that wait for a person, the most useful first:
    ticket_id, received_at, language, reason, likely (a list of categories) and text.

    What the model is sure of stands among what it is unsure of, under the same reason and without
    its confidence: who knows which tickets are audits looks at them in another way.

    Raises:
        ReviewError: no ticket has been sorted yet.
    """
    warehouse = desk.warehouse
    last_day = warehouse.last_day("ticket_predictions")
    if last_day is None:
        raise ReviewError("No ticket has been sorted yet: tickets run")
    table = warehouse.arrow(
        "select p.ticket_id, p.received_at, c.language, p.review_reason as reason, p.likely,"
        " p.category_confidence as confidence, c.text, e.vector"
        " from ticket_predictions p join clean_tickets c using (ticket_id)"
        " join ticket_embeddings e using (ticket_id)"
        " where p.decision = 'review' and p.received_at::date > ?"
        " and not exists (from ticket_labels l where l.ticket_id = p.ticket_id"
        " and l.category is not null)"
        " order by p.received_at desc, p.ticket_id",
        [last_day - timedelta(days=days)],
    )
    vectors = to_matrix(table["vector"])
    tickets = table.drop_columns("vector").to_pandas()
    tickets["likely"] = tickets["likely"].map(json.loads, na_action="ignore")
    # What is unlike anything learnt has a confidence that means nothing. An audit that nobody
    # answers says nothing, so it comes as early.
    unsure = (
        1
        - tickets["confidence"]
        .where(tickets["reason"].isin([UNSURE, ALWAYS_REVIEWED]), 0.0)
        .to_numpy()
    )
    tickets["reason"] = tickets["reason"].replace([AUDIT, SUSPENDED], UNSURE)
    ordered: pd.DataFrame = tickets.drop(columns="confidence").iloc[most_useful(unsure, vectors)]
    return ordered.reset_index(drop=True)


def publish_queue(desk: Desk) -> pd.DataFrame:
    """Replace the CSV in the reports folder by the present review queue, and return that.

    Raises:
        ReviewError: no ticket has been sorted yet.
    """
    tickets = review_queue(desk, REVIEW_QUEUE_DAYS)
    desk.reports.blobs.replace(REVIEW_QUEUE, review_csv(tickets).encode("utf-8-sig"))
    return tickets


def most_useful(unsure: NDArray[np.float64], vectors: Matrix) -> NDArray[np.intp]:
    """The order in which tickets are the most useful to label.

    One after the other that is taken next of which the model is the least sure, and which is the
    least like those that were taken before: `unsure * (1 - greatest cosine similarity)`. Of the
    least sure alone many say the same; labelling them teaches one thing several times.

    Args:
        unsure: 1 - confidence of each ticket, the latest first.
        vectors: of unit length, of shape (tickets, dimension).
    """
    count = len(unsure)
    considered = min(count, CANDIDATES)
    score = unsure[:considered].copy()
    greatest = np.full(considered, -1.0)
    chosen: list[int] = []
    for _ in range(min(ORDERED, considered)):
        following = int(np.argmax(score))
        chosen.append(following)
        similarity = vectors[:considered] @ vectors[following]
        np.maximum(greatest, similarity, out=greatest)
        score = unsure[:considered] * (1 - greatest)
        score[chosen] = -np.inf
    others = np.setdiff1d(np.arange(count), chosen, assume_unique=True)
    rest = others[np.argsort(-unsure[others], kind="stable")]
    return np.concatenate([np.array(chosen, dtype=np.intp), rest])


def beginning(text: str) -> str:
    """The first characters of a text, in one line."""
    return " ".join(text.split())[:SHOWN_CHARACTERS]


def write_review_csv(tickets: pd.DataFrame, path: Path) -> None:
    """Write a review queue as a CSV, in which a person fills the columns category and priority;
    `tickets correct --file` takes it, and so does the drop folder.

    Raises:
        FileExistsError: there is such a file, which may hold what a person filled in.
    """
    with path.open("x", encoding="utf-8-sig", newline="") as file:
        file.write(review_csv(tickets))


def review_csv(tickets: pd.DataFrame) -> str:
    """A review queue as CSV, with empty columns category and priority."""
    # Not as "text": a table with texts would be taken for one of new tickets.
    about = tickets["text"].map(beginning)
    rows = pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "received_at": tickets["received_at"].dt.strftime("%Y-%m-%d %H:%M"),
            "language": tickets["language"],
            "reason": tickets["reason"],
            "likely": tickets["likely"].map(", ".join, na_action="ignore"),
            "category": "",
            "priority": "",
            "about": about.where(~about.str.startswith(FORMULA_SIGNS), "'" + about),
        }
    )
    return str(rows.to_csv(index=False))


def queue_rows(tickets: pd.DataFrame) -> pd.DataFrame:
    """A review queue as the rows of its table, without the texts."""
    likely = tickets["likely"].map(labels_json, na_action="ignore")
    rows = tickets[["ticket_id", "received_at", "language", "reason"]].assign(likely=likely)
    return rows.assign(rank=range(1, len(rows) + 1))
