"""What a desk holds, in a form in which two desks can be compared."""

import hashlib
import math
import multiprocessing
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from ticket_assets.errors import explained
from ticket_assets.settings import Settings
from ticket_assets.storage.day_origins import UNPARTITIONED

Rows = Counter[tuple[str, str]]
"""How often there is each thing of a kind: what it belongs to (a ticket, an original, a day), and
all that is said of it."""
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[-+]?\d+)?|e[-+]?\d+)(?![\w.])")
"""With a fraction or an exponent."""
TOLERANCE = 1e-3
"""The last digits of a vector, and what is computed from it, depend on what else was in a batch."""
KEYS = ("ticket_id", "content_hash", "day", "received_at")
"""The column that says what a row is of."""
FURTHER_KEYS = ("target", "metric", "table_name", "model")
"""The columns that tell apart the rows of one ticket or day."""
ID_CHARACTERS = 20


@dataclass(frozen=True)
class Contents:
    """Tables, originals and collection of a desk; where one cannot be read, why."""

    kinds: dict[str, Rows]
    unreadable: dict[str, str]


@dataclass(frozen=True)
class Difference:
    """How what a desk has of a kind differs from what another has: tickets, originals, or days."""

    kind: str
    missing: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    unexpected: frozenset[str] = frozenset()
    doubled: frozenset[str] = frozenset()
    """What is there more than once, and more often than expected."""

    def __str__(self) -> str:
        parts = {
            "missing": self.missing,
            "changed": self.changed,
            "unexpected": self.unexpected,
            "doubled": self.doubled,
        }
        return f"{self.kind}: " + ", ".join(
            f"{len(keys)} {what} ({min(keys)})" for what, keys in parts.items() if keys
        )


def compared(expected: Contents, actual: Contents) -> list[Difference]:
    """How `actual` differs from `expected`."""
    differences = [
        Difference(f"{part}, which cannot be read: {reason}", frozenset(["all of it"]))
        for part, reason in actual.unreadable.items()
    ]
    for kind in sorted(expected.kinds):
        if any(kind.startswith(part) for part in actual.unreadable):
            continue
        one, other = expected.kinds[kind], actual.kinds.get(kind, Counter())
        if one != other:
            keys, other_keys = _keys(one), _keys(other)
            missing = frozenset(keys - other_keys)
            changed = _changed(one - other, other - one) - missing
            surplus = frozenset(other_keys - keys)
            doubled = frozenset(key for key in surplus if other_keys[key] > 1)
            if missing or changed or surplus:
                differences.append(Difference(kind, missing, changed, surplus - doubled, doubled))
    return differences


def differing_rows(expected: Contents, actual: Contents) -> Iterator[str]:
    """The rows of one desk alone, with a minus those of `expected`, with a plus the others."""
    for kind in sorted(expected.kinds):
        one, other = expected.kinds[kind], actual.kinds.get(kind, Counter())
        for sign, rows in (("-", one - other), ("+", other - one)):
            yield from (f"{sign} {kind} {key} {text}" for key, text in sorted(rows.elements()))


def _changed(one: Rows, other: Rows) -> frozenset[str]:
    """What those rows are of that are not there any more, not even with numbers nearly equal."""
    left = sorted(other.elements())
    changed = set()
    for key, text in sorted(one.elements()):
        near = next((row for row in left if row[0] == key and _is_near(row[1], text)), None)
        if near:
            left.remove(near)
        else:
            changed.add(key)
    return frozenset(changed)


def _is_near(one: str, other: str) -> bool:
    numbers, others = (list(map(float, NUMBER.findall(text))) for text in (one, other))
    return NUMBER.sub("", one) == NUMBER.sub("", other) and all(
        math.isclose(number, second, rel_tol=0, abs_tol=TOLERANCE)
        for number, second in zip(numbers, others, strict=True)
    )


def _keys(rows: Rows) -> Counter[str]:
    return Counter(key for key, _ in rows.elements())


def desk_contents(settings: Settings) -> Contents:
    """What the desk holds, read by a process of its own: what is damaged may end it."""
    kinds: dict[str, Rows] = {}
    unreadable = {}
    for name, read in (("tables", _tables), ("originals", _originals), ("collection", _collection)):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            try:
                kinds |= process.submit(read, settings).result()
            except Exception as error:
                unreadable[name] = explained(error)
    return Contents(kinds, unreadable)


def _tables(settings: Settings) -> dict[str, Rows]:
    from ticket_assets.desk import Desk

    desk = Desk(settings)
    with_mail = {str(day) for day in [UNPARTITIONED, *desk.landing.days()]}
    tables = {}
    for name in sorted(desk.warehouse.tables()):
        columns = sorted(desk.warehouse.columns(name))
        key = next((columns.index(column) for column in KEYS if column in columns), 0)
        further = [columns.index(column) for column in FURTHER_KEYS if column in columns]
        rows = desk.warehouse.rows(f"select {', '.join(columns)} from {name}")  # noqa: S608
        tables[f"tables: {name}"] = Counter(
            (
                " ".join([str(row[key])[:ID_CHARACTERS], *(row[place] for place in further)]),
                repr(row),
            )
            for row in rows
            # A run for what is missing passes over days without mail, such as today.
            if columns[key] != "day" or str(row[key]) in with_mail
        )
    return tables


def _originals(settings: Settings) -> dict[str, Rows]:
    landing = settings.data_dir / "landing"
    return {
        "originals": Counter(
            (path.stem[:ID_CHARACTERS], f"{path.relative_to(landing)} {_digest(path.read_bytes())}")
            for pattern in ("[0-9]*/*.eml", "[0-9]*/*.json", "**/.*.tmp")
            for path in landing.glob(pattern)
        )
    }


def _collection(settings: Settings) -> dict[str, Rows]:
    import chromadb
    from chromadb.config import Settings as ChromaSettings

    client = chromadb.PersistentClient(
        str(settings.collection_dir), settings=ChromaSettings(anonymized_telemetry=False)
    )
    rows: Rows = Counter()
    for collection in client.list_collections():
        page = collection.get(include=["embeddings", "metadatas"])
        rows.update(
            (ticket, repr((sorted(metadata.items()), list(map(float, vector)))))
            for ticket, metadata, vector in zip(
                page["ids"], page["metadatas"], page["embeddings"], strict=True
            )
        )
    return {"collection": rows}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
