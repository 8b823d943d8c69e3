from __future__ import annotations

import pytest

from ticket_assets.storage.tables import TABLES, TableError


def test_the_columns_of_a_table_fit_in_any_order() -> None:
    table = TABLES["clean_tickets"]

    table.require_columns(reversed(table.column_names))


def test_a_missing_and_an_undeclared_column_are_both_named() -> None:
    labels = TABLES["ticket_labels"]
    columns = {*labels.column_names, "mood", "colour"} - {"priority"}

    with pytest.raises(TableError) as error:
        labels.require_columns(columns)

    assert str(error.value) == (
        "Rows for table tickets.ticket_labels do not fit: missing columns ['priority'],"
        " undeclared columns ['colour', 'mood']. They are declared in storage/tables.py."
    )


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_partitioned_table_declares_the_column_that_tells_the_day(table) -> None:
    assert table.partition_column is None or table.partition_column in table.column_names


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_is_named_once_and_described(table) -> None:
    assert len(set(table.column_names)) == len(table.columns)
    assert all(column.description for column in table.columns)
