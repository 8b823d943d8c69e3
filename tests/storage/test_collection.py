from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.loopback import LoopbackServer, free_port
from tests.services.tls_proxy import TOKEN, TlsProxy
from ticket_assets.settings import Settings, SettingsError
from ticket_assets.storage import collection as collection_module
from ticket_assets.storage.collection import (
    ChromaServer,
    CollectionError,
    SyncCounts,
    TicketCollection,
    chroma_server,
    collection_name,
    expected_metadata,
)
from ticket_assets.storage.vectors import Matrix

MODEL = "multilingual-e5-small@1 bf16 256"
MONDAY, TUESDAY, WEDNESDAY = date(2026, 11, 16), date(2026, 11, 17), date(2026, 11, 18)

SYNC_ELSEWHERE = """
import sys
from datetime import date, datetime
from pathlib import Path
import numpy as np, pandas as pd
from ticket_assets.storage.collection import TicketCollection
row = {"ticket_id": "elsewhere", "received_at": datetime(2026, 11, 17), "language": "fr",
       "text_hash": "h", "category": None, "priority": None}
day = date(2026, 11, 17)
with TicketCollection.open(sys.argv[1], folder=Path(sys.argv[2])) as collection:
    collection.sync(pd.DataFrame([row]), np.ones((1, 3), dtype=np.float32), day, day)
"""


def ticket(
    ticket_id: str,
    day: date = MONDAY,
    *,
    text: str = "first text",
    category: str | None = None,
    priority: str | None = None,
) -> dict[str, object]:
    return {
        "ticket_id": ticket_id,
        "received_at": datetime(day.year, day.month, day.day, 23, 59),
        "language": "fr",
        "text_hash": text,
        "category": category,
        "priority": priority,
    }


def directions(*degrees: float) -> Matrix:
    """Unit vectors in a plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def sync(
    collection: TicketCollection,
    *tickets: dict[str, object],
    vectors: Matrix | None = None,
    days: tuple[date, date] = (MONDAY, MONDAY),
) -> SyncCounts:
    rows = pd.DataFrame(tickets, columns=list(ticket("any")))
    return collection.sync(
        rows, directions(*range(len(rows))) if vectors is None else vectors, *days
    )


def stored(collection: TicketCollection) -> dict[str, dict[str, object]]:
    """Metadata of every stored ticket, as Chroma itself tells it."""
    stored = collection._collection.get(include=["metadatas"])
    return dict(zip(stored["ids"], stored["metadatas"], strict=True))


@pytest.fixture
def collection(tmp_path: Path) -> Iterator[TicketCollection]:
    with TicketCollection.open(MODEL, folder=tmp_path / "collection") as opened:
        yield opened


def test_new_tickets_are_stored_with_day_language_hash_and_labels(
    collection: TicketCollection,
) -> None:
    counts = sync(collection, ticket("a", category="mail", priority="high"), ticket("b"))

    assert counts == SyncCounts(upserted=2, relabelled=0, deleted=0, unchanged=0)
    common = {"day": 20261116, "language": "fr", "text_hash": "first text"}
    assert stored(collection) == {
        "a": {**common, "labelled": True, "category": "mail", "priority": "high"},
        "b": {**common, "labelled": False},
    }


def test_a_second_sync_changes_nothing(collection: TicketCollection) -> None:
    tickets = (ticket("a", category="mail"), ticket("b"))
    sync(collection, *tickets)
    before = stored(collection)

    counts = sync(collection, *tickets)

    assert counts == SyncCounts(upserted=0, relabelled=0, deleted=0, unchanged=2)
    assert stored(collection) == before


def test_only_a_rewritten_text_is_sent_with_its_vector(collection: TicketCollection) -> None:
    sync(collection, ticket("a"), ticket("b"), vectors=directions(0, 90))

    counts = sync(
        collection, ticket("a"), ticket("b", text="rewritten"), vectors=directions(45, 180)
    )

    assert counts == SyncCounts(upserted=1, relabelled=0, deleted=0, unchanged=1)
    (nearest,) = collection.nearest(directions(180), 2)
    assert [(one.ticket_id, round(one.similarity, 3)) for one in nearest] == [("b", 1), ("a", -1)]


def test_a_changed_label_is_sent_as_metadata_alone(collection: TicketCollection) -> None:
    sync(collection, ticket("a", category="mail"), vectors=directions(0))

    counts = sync(collection, ticket("a", category="vpn", priority="low"), vectors=directions(180))

    assert counts == SyncCounts(upserted=0, relabelled=1, deleted=0, unchanged=0)
    ((found,),) = collection.nearest(directions(0), 1)
    assert (found.category, found.priority) == ("vpn", "low")
    assert found.similarity == pytest.approx(1)


@pytest.mark.parametrize("text", ["first text", "rewritten"])
def test_a_removed_label_is_removed_whether_or_not_the_text_changed(
    collection: TicketCollection, text: str
) -> None:
    sync(collection, ticket("a", category="mail", priority="high"))

    sync(collection, ticket("a", text=text))

    assert stored(collection)["a"] == {
        "day": 20261116,
        "language": "fr",
        "text_hash": text,
        "labelled": False,
    }
    assert sync(collection, ticket("a", text=text)).unchanged == 1


def test_a_ticket_that_moved_to_another_day_loses_its_old_labels(
    collection: TicketCollection,
) -> None:
    sync(collection, ticket("a", category="mail"))

    counts = sync(collection, ticket("a", TUESDAY), days=(TUESDAY, TUESDAY))

    assert counts.upserted == 1
    assert stored(collection)["a"] == {
        "day": 20261117,
        "language": "fr",
        "text_hash": "first text",
        "labelled": False,
    }


def test_tickets_that_left_the_table_are_deleted_and_other_days_stay(
    collection: TicketCollection,
) -> None:
    week = [ticket("mon", MONDAY), ticket("tue", TUESDAY), ticket("tue2", TUESDAY)]
    sync(collection, *week, ticket("wed", WEDNESDAY), days=(MONDAY, WEDNESDAY))

    counts = sync(collection, ticket("tue2", TUESDAY), days=(TUESDAY, TUESDAY))

    assert counts == SyncCounts(upserted=0, relabelled=0, deleted=1, unchanged=1)
    assert collection.ids() == {"mon", "tue2", "wed"}


def test_a_day_without_tickets_empties_that_day(collection: TicketCollection) -> None:
    sync(collection, ticket("mon"), ticket("tue", TUESDAY), days=(MONDAY, TUESDAY))

    counts = sync(collection, vectors=np.zeros((0, 0), dtype=np.float32))

    assert counts == SyncCounts(upserted=0, relabelled=0, deleted=1, unchanged=0)
    assert collection.ids() == {"tue"}


def test_neighbours_come_nearest_first_with_their_labels(collection: TicketCollection) -> None:
    sync(
        collection,
        ticket("far", category="vpn"),
        ticket("near", category="mail", priority="high"),
        vectors=directions(60, 10),
    )

    (found,) = collection.nearest(directions(0), 5)

    assert [one.as_dict() for one in found] == [
        {
            "ticket_id": "near",
            "similarity": 0.9848,
            "category": "mail",
            "priority": "high",
            "day": "2026-11-16",
        },
        {
            "ticket_id": "far",
            "similarity": 0.5,
            "category": "vpn",
            "priority": None,
            "day": "2026-11-16",
        },
    ]


def test_neighbours_can_be_labelled_ones_alone(collection: TicketCollection) -> None:
    sync(
        collection,
        ticket("tue", TUESDAY),
        ticket("wed", WEDNESDAY, category="mail"),
        ticket("mon", MONDAY, category="vpn"),
        vectors=directions(0, 10, 20),
        days=(MONDAY, WEDNESDAY),
    )

    (every,) = collection.nearest(directions(0), 3)
    (labelled,) = collection.nearest(directions(0), 3, labelled_only=True)

    assert [one.ticket_id for one in every] == ["tue", "wed", "mon"]
    assert [one.ticket_id for one in labelled] == ["wed", "mon"]


def test_an_empty_collection_has_no_neighbours(collection: TicketCollection) -> None:
    assert collection.nearest(directions(0, 90), 3) == [[], []]
    assert collection.nearest(directions(), 3) == []


@pytest.mark.slow
def test_more_tickets_than_one_batch_holds(
    collection: TicketCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "_batch", 3)
    monkeypatch.setattr(collection_module, "QUERY_BATCH", 3)
    names = [f"t{number}" for number in range(8)]
    vectors = directions(*range(0, 320, 40))
    progress: list[tuple[int, int]] = []

    rows = pd.DataFrame([ticket(name) for name in names])
    collection.sync(rows, vectors, MONDAY, MONDAY, lambda *counts: progress.append(counts))

    assert progress == [(3, 8), (6, 8), (8, 8)]
    assert collection.ids() == set(names)
    assert [neighbours[0].ticket_id for neighbours in collection.nearest(vectors, 1)] == names
    labelled = [ticket(name, category="mail") for name in names[:7]]
    assert sync(collection, *labelled) == SyncCounts(0, relabelled=7, deleted=1, unchanged=0)
    assert sync(collection) == SyncCounts(0, 0, deleted=7, unchanged=0)
    assert collection.count() == 0


@pytest.mark.slow
def test_a_second_opening_sees_what_another_process_wrote(tmp_path: Path) -> None:
    with TicketCollection.open(MODEL, folder=tmp_path) as opened:
        sync(opened, ticket("here"), vectors=np.eye(1, 3, dtype=np.float32))
    subprocess.run([sys.executable, "-c", SYNC_ELSEWHERE, MODEL, str(tmp_path)], check=True)

    with TicketCollection.open(MODEL, folder=tmp_path) as opened:
        neighbours = opened.nearest(np.ones((1, 3), dtype=np.float32), 1)
        ids = opened.ids()

    assert ids == {"here", "elsewhere"}
    assert [[one.ticket_id for one in nearest] for nearest in neighbours] == [["elsewhere"]]


def test_models_have_collections_of_their_own(tmp_path: Path) -> None:
    with TicketCollection.open("one", folder=tmp_path) as opened:
        sync(opened, ticket("a"))

    with TicketCollection.open("other", folder=tmp_path) as opened:
        assert opened.count() == 0


def test_former_collections_go_and_those_of_other_products_stay(tmp_path: Path) -> None:
    folder = tmp_path / "collection"
    with TicketCollection.open("former", folder=folder) as former:
        sync(former, ticket("a"))
        former._client.create_collection("another-products", metadata={"model": "former"})
    with TicketCollection.open(MODEL, folder=folder) as collection:
        sync(collection, ticket("a"))

        removed = collection.remove_former()

        assert removed == ["former"]
        assert sorted(collection.name for collection in collection._client.list_collections()) == [
            "another-products",
            collection_name(MODEL),
        ]
        assert collection.ids() == {"a"}


@pytest.mark.parametrize(
    "model", [MODEL, "///", "é", "org/model.v2@main", "/srv/" + "deep/" * 300, "..a..", "a" * 92]
)
def test_chroma_takes_the_collection_name_of_any_model(tmp_path: Path, model: str) -> None:
    with TicketCollection.open(model, folder=tmp_path) as opened:
        assert opened.count() == 0

    assert collection_name(model).startswith("tickets-")
    assert len(collection_name(model)) <= 111


def test_models_that_differ_far_into_the_name_or_in_punctuation_do_not_share_a_collection() -> None:
    models = ["x" * 300 + "1", "x" * 300 + "2", "org/model", "org-model", "org_model", "Org/model"]

    assert len({collection_name(model) for model in models}) == len(models)


def test_a_missing_label_from_pandas_is_no_label() -> None:
    rows = pd.DataFrame([ticket("a", category="mail"), ticket("b")])
    rows.loc[1, "category"] = float("nan")

    assert [metadata["labelled"] for metadata in expected_metadata(rows)] == [True, False]
    assert ["category" in metadata for metadata in expected_metadata(rows)] == [True, False]


def message_of_opening(folder: Path, server: ChromaServer | None = None) -> str:
    with (
        pytest.raises(CollectionError) as error,
        TicketCollection.open(MODEL, folder=folder, server=server),
    ):
        raise AssertionError("opened")
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "collection"
    folder.write_text("a letter, perhaps")

    assert message_of_opening(folder) == f"The Chroma folder {folder} is a file. Move it away."


def test_a_folder_with_a_broken_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "chroma.sqlite3").write_text("not a database " * 500)

    message = message_of_opening(tmp_path)

    assert message.startswith(f"Cannot use the Chroma folder {tmp_path}: ")
    assert "file is not a database. Make it anew: tickets" in message


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"

    message = message_of_opening(tmp_path, ChromaServer(url))

    assert message.startswith(f"Cannot use the Chroma server at {url}: [Errno 111]")
    assert message.endswith(". Check TICKETS_CHROMA_URL and that the server runs.")


@pytest.mark.parametrize("status", [200, 500])
def test_a_server_that_is_not_chroma_is_named_and_what_it_quotes_left_out(
    tmp_path: Path, status: int
) -> None:
    class Website(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"<html>\n\nNot for {self.headers['Authorization']}</html>".encode())

        def log_message(self, *_: object) -> None:
            pass

    server = LoopbackServer(Website)
    message = message_of_opening(tmp_path, ChromaServer(server.url, TOKEN))
    server.close()

    assert message.startswith(f"Cannot use the Chroma server at {server.url}: ")
    assert message.endswith(". Check TICKETS_CHROMA_URL and that the server runs.")
    assert TOKEN not in message


def count_after_the_end_of(proxy: TlsProxy, server: ChromaServer, folder: Path) -> None:
    with TicketCollection.open(MODEL, folder=folder, server=server) as opened:
        proxy.stop()
        opened.count()


@pytest.mark.slow
def test_a_server_behind_tls_and_a_token_serves_like_a_folder(
    tls_proxy: TlsProxy, tmp_path: Path
) -> None:
    folder = tmp_path / "not used"
    known = ChromaServer(tls_proxy.url, TOKEN, tls_proxy.ca_file)
    with TicketCollection.open(MODEL, folder=folder, server=known) as opened:
        first = sync(opened, ticket("a", category="mail"), ticket("b"), vectors=directions(0, 90))
        second = sync(opened, ticket("a", text="rewritten"), vectors=directions(180))

    slashed = replace(known, url=f"{known.url}/")
    with TicketCollection.open(MODEL, folder=folder, server=slashed) as opened:
        third = sync(opened, ticket("a", text="rewritten"), vectors=directions(180))
        ((found,),) = opened.nearest(directions(180), 2)
        labelled = opened.nearest(directions(180), 2, labelled_only=True)
        metadata = stored(opened)["a"]

    assert first == SyncCounts(upserted=2, relabelled=0, deleted=0, unchanged=0)
    assert second == SyncCounts(upserted=1, relabelled=0, deleted=1, unchanged=0)
    assert third == SyncCounts(upserted=0, relabelled=0, deleted=0, unchanged=1)
    assert (found.ticket_id, found.text_hash, found.day) == ("a", "rewritten", MONDAY)
    assert found.similarity == pytest.approx(1)
    assert labelled == [[]]
    assert "category" not in metadata
    assert not folder.exists()

    of_another_desk = replace(known, database="another-desk")
    for _ in range(2):
        with TicketCollection.open(MODEL, folder=folder, server=of_another_desk) as opened:
            assert not opened.count()
            sync(opened)
    with TicketCollection.open(MODEL, folder=folder, server=known) as opened:
        assert opened.ids() == {"a"}

    start = f"Cannot use the Chroma server at {known.url}: "
    assert message_of_opening(folder, replace(known, token=TOKEN[1:])) == (
        f"{start}it refuses the token. Set the right one with TICKETS_CHROMA_TOKEN_FILE."
    )
    assert message_of_opening(folder, replace(known, token=None)) == (
        f"{start}it wants a token. Set the right one with TICKETS_CHROMA_TOKEN_FILE."
    )
    assert message_of_opening(folder, replace(known, ca_file=None)) == (
        f"{start}its certificate is not trusted. Name the file of its authority with"
        " TICKETS_CHROMA_CA_FILE."
    )
    with pytest.raises(CollectionError) as lost:
        count_after_the_end_of(tls_proxy, known, folder)
    assert str(lost.value).startswith(start)
    assert str(lost.value).endswith(" Check TICKETS_CHROMA_URL and that the server runs.")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chroma_token": TOKEN}, "TICKETS_CHROMA_TOKEN and TICKETS_CHROMA_CA_FILE are for the"),
        (
            {"chroma_url": "http://chroma:8000", "chroma_token": TOKEN, "chroma_token_file": "f"},
            "Set one of TICKETS_CHROMA_TOKEN and TICKETS_CHROMA_TOKEN_FILE, not both.",
        ),
        (
            {"chroma_url": "http://chroma:8000", "chroma_token_file": "absent"},
            "Cannot read TICKETS_CHROMA_TOKEN_FILE=absent: ",
        ),
        (
            {"chroma_url": "https://chroma:8000", "chroma_ca_file": __file__},
            f"Cannot read TICKETS_CHROMA_CA_FILE={__file__}: ",
        ),
    ],
)
def test_settings_of_a_server_that_do_not_fit_are_named(
    settings: dict[str, str], message: str
) -> None:
    with pytest.raises(SettingsError) as refusal:
        chroma_server(Settings(**settings))

    assert str(refusal.value).startswith(message)
    assert TOKEN not in str(refusal.value)


def test_a_token_is_read_from_its_file_and_never_shown(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    server = chroma_server(
        Settings(chroma_url="https://chroma", chroma_token_file=tmp_path / "token")
    )

    assert server == ChromaServer("https://chroma", TOKEN)
    assert TOKEN not in repr(server)
