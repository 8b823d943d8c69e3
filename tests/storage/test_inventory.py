"""What lies in a data folder is known, or an erasure says that it has not looked into it."""

from pathlib import Path

import pytest

from ticket_assets.settings import Settings
from ticket_assets.storage.inventory import PLACES, not_searched


def settings(data: Path, **changes: str) -> Settings:
    return Settings(_env_file=None, data_dir=data, **changes)  # type: ignore[arg-type]


def write(data: Path, *names: str) -> None:
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_text("mail")


def test_each_place_is_known_also_while_it_is_written(tmp_path: Path) -> None:
    for place in PLACES:
        write(tmp_path, f"{place.name}/file" if place.is_folder else place.name)
    write(tmp_path, "warehouse.duckdb.wal", ".warehouse.duckdb.rewritten", ".collection.draft/x")

    assert not_searched(settings(tmp_path)) == []
    assert not_searched(settings(tmp_path / "absent")) == []


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({"files": "s3://bucket/desk"}, ["landing", "models"]),
        ({"chroma_url": "http://chroma:8000"}, ["collection"]),
        (
            {"warehouse": "ducklake:postgres:dbname=x", "warehouse_data": "s3://bucket/lake"},
            ["warehouse.duckdb"],
        ),
    ],
)
def test_a_store_that_is_no_longer_in_use_is_told(
    tmp_path: Path, changes: dict[str, str], left: list[str]
) -> None:
    write(tmp_path, "landing/2025-03-03/a.eml", "models/a", "collection/a", "warehouse.duckdb")
    (tmp_path / "cursors").mkdir()

    assert not_searched(settings(tmp_path, **changes)) == [tmp_path / name for name in left]


def test_what_a_person_has_put_there_is_told(tmp_path: Path) -> None:
    write(tmp_path, "warehouse.duckdb.old", "old mail/a.eml", "landing/a", "sample/mailbox.mbox")

    left = [tmp_path / "old mail", tmp_path / "warehouse.duckdb.old"]
    assert not_searched(settings(tmp_path)) == left
