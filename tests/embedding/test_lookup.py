from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ticket_assets.embedding.configured import ConfiguredEncoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.lookup import Embeddings, embed_tickets
from ticket_assets.embedding.presets import EncoderModel
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_arrow, to_matrix
from ticket_assets.storage.warehouse import DuckDBFile, Warehouse, WarehouseError, ensure_table

DAY = date(2025, 6, 1)
NEXT_DAY = date(2025, 6, 2)


@pytest.fixture
def tiny(
    make_folder: Callable[..., Path], resolve_tiny: Callable[..., EncoderModel]
) -> ConfiguredEncoder:
    return configured(resolve_tiny(make_folder()))


def configured(model: EncoderModel) -> ConfiguredEncoder:
    return ConfiguredEncoder(model, ("fp32",), 24, None, 1)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return DuckDBFile(tmp_path / "warehouse.duckdb")


def hash_of(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def add(warehouse: Warehouse, table: str, columns: dict[str, pa.Array], length: int = 16) -> None:
    count = len(columns["ticket_id"])
    with warehouse.transaction() as connection:
        ensure_table(connection, TABLES[table], length)
        declared = TABLES[table].column_names
        rows = pa.table({name: columns.get(name, pa.nulls(count)) for name in declared})
        connection.from_arrow(rows).insert_into(f"{SCHEMA}.{table}")


def receive(warehouse: Warehouse, *texts: str, day: date = DAY) -> None:
    """A clean ticket an hour, each with the id of its text and hour."""
    first = datetime(day.year, day.month, day.day)
    add(
        warehouse,
        "clean_tickets",
        {
            "ticket_id": pa.array([f"{hour}: {text}" for hour, text in enumerate(texts)]),
            "received_at": pa.array([first + timedelta(hours=hour) for hour in range(len(texts))]),
            "text_hash": pa.array([hash_of(text) for text in texts]),
            "text": pa.array(texts),
        },
    )


def store(warehouse: Warehouse, text: str, vector: list[float], model: str) -> None:
    add(
        warehouse,
        "ticket_embeddings",
        {
            "ticket_id": pa.array(["of another day"]),
            "received_at": pa.array([datetime(2025, 5, 1)]),
            "text_hash": pa.array([hash_of(text)]),
            "model": pa.array([model]),
            "vector": to_arrow(np.array([vector], np.float32)),
        },
        len(vector),
    )


def read(made: Embeddings) -> tuple[list[str], np.ndarray]:
    """Ids and vectors in the order of the ids."""
    table = made.rows.read_all().sort_by("ticket_id")
    return table["ticket_id"].to_pylist(), to_matrix(table["vector"])


def test_only_the_texts_without_a_vector_are_encoded(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "printer broken", "vpn", "mail")
    store(warehouse, "vpn", [0.25] * 16, tiny.model_id)
    store(warehouse, "mail", [0.5] * 16, "another encoder")

    made = embed_tickets(warehouse, DAY, DAY, tiny)

    assert (made.tickets, made.texts_encoded) == (3, 2)
    tickets, vectors = read(made)
    assert tickets == ["0: printer broken", "1: vpn", "2: mail"]
    np.testing.assert_array_equal(vectors[1], [0.25] * 16)
    expected = tiny.encoder.encode(["printer broken", "mail"])
    np.testing.assert_allclose(vectors[[0, 2]], expected, atol=1e-6)


def test_rows_are_those_of_the_table(warehouse: Warehouse, tiny: ConfiguredEncoder) -> None:
    receive(warehouse, "vpn")

    (row,) = embed_tickets(warehouse, DAY, DAY, tiny).rows.read_all().to_pylist()

    assert list(row) == list(TABLES["ticket_embeddings"].column_names)
    assert row["received_at"] == datetime(2025, 6, 1)
    assert (row["text_hash"], row["model"]) == (hash_of("vpn"), tiny.model_id)


def test_a_text_that_returns_on_a_later_page_is_encoded_once(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn", "mail", "vpn", "screen", "vpn")

    made = embed_tickets(warehouse, DAY, DAY, tiny, page_tickets=2)

    assert (made.tickets, made.texts_encoded) == (5, 3)
    tickets, vectors = read(made)
    assert [ticket[3:] for ticket in tickets] == ["vpn", "mail", "vpn", "screen", "vpn"]
    np.testing.assert_array_equal(vectors[0], vectors[2])
    np.testing.assert_array_equal(vectors[0], vectors[4])
    expected = tiny.encoder.encode(["vpn", "mail", "screen"])
    np.testing.assert_allclose(vectors[[0, 1, 3]], expected, atol=1e-6)


def test_a_stored_vector_serves_all_tickets_of_its_text_and_is_taken_once(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn", "mail", "vpn")
    for vector in ([0.25] * 16, [0.5] * 16):
        store(warehouse, "vpn", vector, tiny.model_id)

    made = embed_tickets(warehouse, DAY, DAY, tiny)

    assert made.texts_encoded == 1
    tickets, vectors = read(made)
    assert tickets == ["0: vpn", "1: mail", "2: vpn"]
    np.testing.assert_array_equal(vectors[[0, 2]], [[0.25] * 16] * 2)


def test_other_days_are_left_alone(warehouse: Warehouse, tiny: ConfiguredEncoder) -> None:
    receive(warehouse, "vpn", day=DAY)
    receive(warehouse, "mail", day=NEXT_DAY)

    assert read(embed_tickets(warehouse, NEXT_DAY, NEXT_DAY, tiny))[0] == ["0: mail"]


def test_the_encoder_is_not_loaded_when_every_vector_is_known(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn")
    store(warehouse, "vpn", [0.25] * 16, tiny.model_id)

    made = embed_tickets(warehouse, DAY, DAY, tiny)

    assert (made.texts_encoded, made.texts_per_second, tiny.is_loaded) == (0, 0.0, False)


def test_days_without_mail_give_no_rows_of_the_right_width(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn")

    made = embed_tickets(warehouse, NEXT_DAY, NEXT_DAY, tiny)

    assert made.rows.schema.field("vector").type == pa.list_(pa.float32(), 16)
    assert made.rows.read_all().num_rows == 0
    assert not tiny.is_loaded


def test_progress_runs_over_all_pages(warehouse: Warehouse, tiny: ConfiguredEncoder) -> None:
    receive(warehouse, "vpn", "mail", "screen", "vpn", "phone")
    store(warehouse, "phone", [0.25] * 16, tiny.model_id)
    seen: list[tuple[int, int]] = []

    embed_tickets(
        warehouse, DAY, DAY, tiny, page_tickets=2, on_progress=lambda *done: seen.append(done)
    )

    # Pages by hash: mail and screen, then vpn twice; phone is known.
    assert seen == [(2, 3), (3, 3)]


def test_stored_vectors_of_another_dimension_are_refused(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn")
    store(warehouse, "vpn", [0.25] * 3, tiny.model_id)

    with pytest.raises(
        EncoderError, match=r"of tiny-bert@\S+/fp32/24 have 3 numbers, but it gives 16"
    ):
        embed_tickets(warehouse, DAY, DAY, tiny)


def test_tickets_that_were_never_cleaned_are_asked_for(
    warehouse: Warehouse, tiny: ConfiguredEncoder
) -> None:
    receive(warehouse, "vpn")
    with warehouse.transaction() as connection:
        connection.execute(f"drop table {SCHEMA}.clean_tickets")

    with pytest.raises(WarehouseError, match="clean_tickets"):
        embed_tickets(warehouse, DAY, DAY, tiny)


def test_where_rows_cannot_wait_is_told(
    warehouse: Warehouse, tiny: ConfiguredEncoder, tmp_path: Path
) -> None:
    receive(warehouse, "vpn")
    file = tmp_path / "file"
    file.touch()
    warehouse.scratch = file / "folder"

    with pytest.raises(WarehouseError, match=f"in {file}/folder .*: Not a directory"):
        embed_tickets(warehouse, DAY, DAY, tiny)
