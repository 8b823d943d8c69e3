"""Vectors of the tickets: looked up in the warehouse where the encoder made them, else computed."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import IO

import numpy as np
import pyarrow as pa

from ticket_assets.embedding.configured import ConfiguredEncoder
from ticket_assets.embedding.encoder import Progress, Vectors
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_arrow, vector_lengths
from ticket_assets.storage.warehouse import Warehouse, WarehouseError

PAGE_TICKETS = 4096
"""Tickets in memory at a time."""


@dataclass(frozen=True)
class Embeddings:
    """Rows of the table ticket_embeddings, page by page, and their cost."""

    rows: pa.RecordBatchReader
    tickets: int
    texts_encoded: int
    encoding_seconds: float
    """Without loading the encoder."""
    made: Counter[date]
    """By day the number of tickets whose vectors were computed."""

    @property
    def texts_per_second(self) -> float:
        return self.texts_encoded / self.encoding_seconds if self.texts_encoded else 0.0


def embed_tickets(
    warehouse: Warehouse,
    first: date,
    last: date,
    configured: ConfiguredEncoder,
    *,
    on_progress: Progress | None = None,
    page_tickets: int = PAGE_TICKETS,
) -> Embeddings:
    """The vectors of the clean tickets of the days from `first` to `last`.

    A text is encoded once, and not at all when the warehouse has the encoder's vector of it. Texts
    and rows wait in files without a name beside the warehouse: they do not fill the memory, and the
    warehouse is not open while texts are encoded.

    Raises:
        EncoderError: the encoder cannot be loaded, or a stored vector has another dimension.
        WarehouseError: there are no clean tickets yet, or the disk beside the warehouse is full.
    """
    with _room_beside(warehouse):
        schema = TABLES["ticket_embeddings"].arrow_schema(configured.model.dimension)
        rows, missing = _unnamed_file(warehouse), _unnamed_file(warehouse)
        encoded, seconds = 0, 0.0
        made: Counter[date] = Counter()
        with pa.ipc.new_stream(rows, schema) as out:
            tickets, missing_texts = _read(
                warehouse,
                first,
                last,
                configured.model_id,
                schema=schema,
                stored=out,
                missing=missing,
            )
            latest: dict[str, Vectors] = {}
            for page in _pages(missing, page_tickets):
                hashes = page["text_hash"].to_pylist()
                texts = dict(zip(hashes, page["text"].to_pylist(), strict=True))
                # Tickets come in the order of their texts: only the last text can occur again.
                vector_of = {key: vector for key, vector in latest.items() if key in texts}
                unencoded = [key for key in texts if key not in vector_of]
                if unencoded:
                    encoder = configured.encoder
                    started = time.monotonic()
                    vectors = encoder.encode(
                        [texts[key] for key in unencoded],
                        _continued(on_progress, encoded, missing_texts),
                    )
                    seconds += time.monotonic() - started
                    encoded += len(unencoded)
                    vector_of |= zip(unencoded, vectors, strict=True)
                made.update(moment.date() for moment in page["received_at"].to_pylist())
                computed = to_arrow(np.stack([vector_of[key] for key in hashes]))
                model = pa.array([configured.model_id] * len(hashes))
                filled = page.drop_columns(["text"]).append_column("model", model)
                out.write_table(filled.append_column("vector", computed).cast(schema))
                latest = {hashes[-1]: vector_of[hashes[-1]]}
        rows.seek(0)
        return Embeddings(pa.ipc.open_stream(rows), tickets, encoded, seconds, made)


def former_vectors(warehouse: Warehouse, days: Sequence[date], model: str) -> list[tuple[str, int]]:
    """Keys of other vectors than those of `model`, with the number of tickets that have them."""
    if "ticket_embeddings" not in warehouse.tables():
        return []
    return warehouse.rows(
        "select model, count(*) from ticket_embeddings where model <> ?"
        " and received_at::date between ? and ? group by all order by all",
        [model, days[0], days[-1]],
    )


def _read(
    warehouse: Warehouse,
    first: date,
    last: date,
    model: str,
    *,
    schema: pa.Schema,
    stored: pa.RecordBatchWriter,
    missing: IO[bytes],
) -> tuple[int, int]:
    """Write the rows with a stored vector to `stored`, the other tickets by text to `missing`.

    Returns the number of tickets, and of different texts without a vector.
    """
    (tickets,) = warehouse.row(
        "select count(*) from clean_tickets where received_at::date between ? and ?", [first, last]
    )
    has_vectors = "ticket_embeddings" in warehouse.tables()
    with warehouse.connect() as connection:
        connection.execute(f"set schema = '{SCHEMA}'")
        connection.execute(
            "create temp table tickets as select ticket_id, received_at, text_hash"
            " from clean_tickets where received_at::date between ? and ?",
            [first, last],
        )
        connection.execute("create temp table stored (text_hash varchar, stored_row bigint)")
        if has_vectors:
            # The vector of any ticket with the text; the grouping reads no vectors.
            connection.execute(
                "insert into stored select text_hash, min(rowid) from ticket_embeddings"
                " where model = ? and text_hash in (select text_hash from tickets) group by all",
                [model],
            )
            batches = connection.execute(
                "select t.ticket_id, t.received_at, t.text_hash, e.model, e.vector"
                " from ticket_embeddings e join stored s on e.rowid = s.stored_row"
                " join tickets t on t.text_hash = s.text_hash"
            ).to_arrow_reader(PAGE_TICKETS)
            for batch in batches:
                lengths = vector_lengths(batch.column("vector"))
                expected = schema.field("vector").type.list_size
                if lengths != {expected}:
                    raise EncoderError(
                        f"The stored vectors of {model} have {min(lengths - {expected})} numbers,"
                        f" but it gives {expected}. Delete its rows from ticket_embeddings."
                    )
                stored.write_table(pa.Table.from_batches([batch]).cast(schema))
        (missing_texts,) = connection.execute(
            "select count(distinct text_hash) from tickets anti join stored using (text_hash)"
        ).fetchall()[0]
        tickets_without_vector = connection.execute(
            "select ticket_id, received_at, text_hash, text"
            " from clean_tickets anti join stored using (text_hash)"
            " where received_at::date between ? and ? order by text_hash, ticket_id",
            [first, last],
        ).to_arrow_reader(PAGE_TICKETS)
        with pa.ipc.new_stream(missing, tickets_without_vector.schema) as out:
            for batch in tickets_without_vector:
                out.write_batch(batch)
    missing.seek(0)
    return int(tickets), int(missing_texts)


def _pages(tickets: IO[bytes], page_tickets: int) -> Iterator[pa.Table]:
    for batch in pa.ipc.open_stream(tickets):
        table = pa.Table.from_batches([batch])
        for start in range(0, table.num_rows, page_tickets):
            yield table.slice(start, page_tickets)


@contextmanager
def _room_beside(warehouse: Warehouse) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WarehouseError(
            f"Rows cannot wait in {warehouse.scratch} while their texts are encoded:"
            f" {error.strerror or error}. It needs 2 kB for each ticket of the run."
        ) from error


def _unnamed_file(warehouse: Warehouse) -> IO[bytes]:
    """A file on the warehouse's disk that the system removes when it is closed or after a crash."""
    warehouse.scratch.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=warehouse.scratch)


def _continued(on_progress: Progress | None, encoded: int, total: int) -> Progress | None:
    """Progress of a page as progress of the whole."""
    if on_progress is None:
        return None
    return lambda done, _: on_progress(encoded + done, total)
