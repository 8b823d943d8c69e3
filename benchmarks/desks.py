"""How well desks are sorted from few labels, with the ticket encoder and with e5 as it comes.

In the folder beside this module: 200 mails to each desk, five of each of its forty intents, in ten
categories. The encoder has learnt from other desks, and must never learn from these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.candidates import Choices, compare_choices
from benchmarks.drift import Encode
from benchmarks.table import Line
from benchmarks.unfamiliar import as_tickets

PART = "desks"
FOLDER = Path(__file__).with_name("desks")


def desk_tickets(folder: Path = FOLDER) -> dict[str, pd.DataFrame]:
    """The tickets of each desk by its name, as in `TrainingSet`, without a priority."""
    tables = {}
    for path in sorted(folder.glob("*.csv")):
        mails = pd.read_csv(path, dtype=str, keep_default_na=False)
        tickets = as_tickets((mails["subject"] + "\n" + mails["body"]).tolist())
        tables[path.stem] = tickets.assign(category=mails["category"])
    return tables


def sorted_by(
    tables: Mapping[str, pd.DataFrame], encode: Encode, splits: int = 5
) -> dict[str, Choices]:
    """Each desk's candidates, three quarters of its mails learnt."""
    return {
        name: compare_choices(
            tickets, encode(tickets["text"].tolist()), np.arange(len(tickets)), splits=splits
        )
        for name, tickets in tables.items()
    }


def desk_lines(
    by_tickets_encoder: Mapping[str, Choices], by_e5: Mapping[str, Choices]
) -> Iterator[Line]:
    """Macro-F1 of what is chosen for each desk, and of all desks in the mean."""
    reached = {
        name: [choices.reached(choices.by_wording) for choices in (found, by_e5[name])]
        for name, found in by_tickets_encoder.items()
    }
    here, peer = np.mean(list(reached.values()), axis=0).tolist()
    for name, (f1, e5_f1) in {**reached, "mean": [here, peer]}.items():
        yield Line(
            PART,
            f"{name.replace('_', ' ')}: macro-F1 of the category",
            f"{f1:.3f}",
            f"{e5_f1:.3f}",
            f1 / e5_f1,
            "> 1" if name == "mean" else "",
            f1 > e5_f1 if name == "mean" else None,
        )
