"""The option --column of the commands that read a table."""

from __future__ import annotations

from typing import Annotated

import typer

from ticket_assets.settings import EXPORT_FIELDS

Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="FIELD=COLUMN",
        help="Column of a table that holds a field, as in `body=Text`, instead of the setting's."
        f" Fields: {', '.join(EXPORT_FIELDS)}. Repeatable.",
    ),
]


def column_mapping(pairs: list[str] | None) -> dict[str, str]:
    """The column of each field, from FIELD=COLUMN pairs.

    Raises:
        BadParameter: one is not FIELD=COLUMN.
    """
    mapping = {}
    for pair in pairs or ():
        field, separator, column = pair.partition("=")
        if not separator or not field or not column:
            raise typer.BadParameter(f"--column takes FIELD=COLUMN, as in body=Text, not {pair!r}.")
        mapping[field.strip()] = column.strip()
    return mapping
