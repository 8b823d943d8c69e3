"""An import lands messages and labels, all or nothing where labels are wrong, and only once."""

import json
import os
import re
import zipfile
from datetime import UTC, date, datetime

import pandas as pd
import pytest

from ticket_assets.mail.importing import count_labels, draft_routing, import_path
from ticket_assets.mail.input_files import ExportError
from ticket_assets.mail.labels import LabelSet, UnknownLabelError, read_labels, unknown_labels
from ticket_assets.mail.landing import Label, LandingZone
from ticket_assets.storage.folder_blobs import FolderBlobs

CATEGORIES = ("access", "réseau")
PRIORITIES = ("low", "normal", "high", "urgent")
EXPORT = (
    "id,subject,category,priority,date\n"
    "INC1,VPN,Reseau,Haute,2025-03-03\n"
    "INC2,Badge,ACCESS,,2025-03-04\n"
    "INC3,Autre,,,2025-03-04\n"
)


@pytest.fixture
def landing(tmp_path):
    return LandingZone(FolderBlobs(tmp_path / "landing"))


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    os.utime(path, (1_740_000_000, 1_740_000_000))
    return path


def imported(landing, path, **options):
    return import_path(landing, path, categories=CATEGORIES, priorities=PRIORITIES, **options)


def current_labels(landing):
    rows = landing.resolve_labels().labels[["category", "priority"]].to_numpy().tolist()
    return sorted(rows, key=str)


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_an_export_lands_its_messages_and_its_labels_in_the_desks_spelling(landing, tmp_path):
    report = imported(landing, written(tmp_path, "a.csv", EXPORT))

    assert (report.landed, report.already_there, report.labels) == (3, 0, 2)
    assert report.days == (date(2025, 3, 3), date(2025, 3, 4))
    assert (report.older, report.unresolved) == (0, 0)
    assert current_labels(landing) == [["access", None], ["réseau", "high"]]


def test_importing_the_same_again_changes_nothing(landing, tmp_path):
    export = written(tmp_path, "a.csv", EXPORT)
    labels = written(tmp_path, "labels.csv", "id,priority\nINC2,low\n")
    imported(landing, export, labels_path=labels)
    before = files(landing.files.folder)

    again = imported(landing, export, labels_path=labels)

    assert (again.landed, again.already_there, again.labels) == (0, 3, 0)
    assert files(landing.files.folder) == before


def test_an_unknown_label_lands_nothing_and_says_what_to_do(landing, tmp_path):
    export = written(tmp_path, "a.csv", EXPORT + "INC4,x,Paie,P1,\nINC5,x,Paie,,\n")

    with pytest.raises(UnknownLabelError) as refused:
        imported(landing, export)

    assert str(refused.value) == (
        f"{export}: unknown categories: 'Paie' (2) (known: access, réseau);"
        " unknown priorities: 'P1' (1) (known: low, normal, high, urgent). Nothing was imported."
        " Add them to the routing file (TICKETS_ROUTING), change them in the file, or have a"
        " routing file written from it with `--write-routing routing.yaml`."
    )
    assert not landing.files.folder.exists()


def test_an_unknown_label_in_the_label_file_lands_nothing(landing, tmp_path):
    labels = written(tmp_path, "labels.csv", "id,category\nINC1,Paie\n")

    with pytest.raises(UnknownLabelError, match=r"labels\.csv: unknown categories: 'Paie' \(1\)"):
        imported(landing, written(tmp_path, "a.csv", EXPORT), labels_path=labels)

    assert not landing.files.folder.exists()


def test_labels_from_a_file_reach_the_mails_of_an_mbox_by_message_id(landing, tmp_path):
    mbox = written(
        tmp_path,
        "a.mbox",
        "From a Mon Mar  3 10:00:00 2025\nMessage-ID: <1@x>\nSubject: VPN\n\nx\n",
    )
    labels = written(
        tmp_path,
        "labels.csv",
        "Message-ID;Catégorie;Priorité;Étiqueté le;Étiqueté par\n"
        "<1@x>;réseau;;03/03/2025;Anne\n1@x;;moyenne;04/03/2025;Bob\n9@x;access;;;\n",
    )

    report = imported(landing, mbox, labels_path=labels)

    assert (report.landed, report.labels, report.unresolved) == (1, 3, 1)
    (row,) = landing.resolve_labels().labels.to_dict("records")
    assert (row["category"], row["priority"]) == ("réseau", "normal")
    assert (row["labelled_at"], row["labelled_by"]) == (datetime(2025, 3, 4), "Bob")


def test_a_message_that_came_in_two_forms_is_two_labelled_tickets(landing, tmp_path):
    mail = (
        "From a@example.org Mon Mar  3 08:00:00 2025\nMessage-ID: <x@example.org>\nSubject: VPN\n"
    )
    mbox = written(tmp_path, "a.mbox", f"{mail}\nbonjour\n\n{mail}X-Copy: 1\n\nbonjour\n")
    labels = written(tmp_path, "labels.csv", "message_id,category\n<x@example.org>,access\n")

    report = imported(landing, mbox, labels_path=labels)

    assert (report.landed, report.labels) == (2, 1)
    assert (report.labelled, report.copies) == (2, 1)
    assert len(landing.resolve_labels().labels) == 2


def test_a_newer_export_corrects_the_labels_of_an_older_one(landing, tmp_path):
    imported(landing, written(tmp_path, "a.csv", EXPORT))
    newer = written(tmp_path, "b.csv", EXPORT.replace("Reseau,Haute", "access,Critique"))
    os.utime(newer, (1_750_000_000, 1_750_000_000))

    report = imported(landing, newer)

    assert (report.landed, report.already_there) == (0, 3)
    assert current_labels(landing) == [["access", "urgent"], ["access", None]]


def test_the_labels_of_an_export_can_be_listed_before_there_is_a_routing_file(tmp_path):
    export = written(tmp_path, "a.csv", EXPORT + "INC6,x,ACCESS,,\n")

    categories, priorities = count_labels(export)

    assert categories == {"Reseau": 1, "ACCESS": 2}
    assert priorities == {"Haute": 1}


def test_spellings_of_one_label_are_listed_as_the_most_frequent(tmp_path):
    export = written(tmp_path, "a.csv", "id,body,queue\n1,x,PAIE\n2,x,Paie\n3,x,paie\n4,x,Paie\n")

    assert count_labels(export)[0] == {"Paie": 4}


@pytest.mark.parametrize(
    ("found", "drafted"),
    [
        (["Urgent", "basse", "Moyenne"], ("basse", "Moyenne", "Urgent")),
        (["high", "P2", "low", "P1"], ("low", "high", "P1", "P2")),
        (["haute"], ("low", "normal", "high", "urgent")),
        (["P1"], ("low", "normal", "high", "urgent", "P1")),
        ([], ("low", "normal", "high", "urgent")),
    ],
)
def test_a_drafted_routing_orders_the_priorities_whose_words_it_knows(tmp_path, found, drafted):
    rows = "".join(f"x,,{priority}\n" for priority in found)
    export = written(tmp_path, "a.csv", f"body,queue,priority\nx,Paie,\nx,Achats,\n{rows}")

    routing = draft_routing(export)

    assert routing.priorities == drafted
    assert routing.queues == {"Achats": "Achats", "Paie": "Paie"}


def test_an_export_can_be_imported_with_the_routing_drafted_from_it(landing, tmp_path):
    labels = written(tmp_path, "labels.csv", "id,category,priority\nINC2,Achats,P1\n")
    export = written(tmp_path, "a.csv", EXPORT)

    routing = draft_routing(export, labels_path=labels)
    report = import_path(
        landing,
        export,
        categories=routing.categories,
        priorities=routing.priorities,
        labels_path=labels,
    )

    assert routing.categories == ("ACCESS", "Achats", "Reseau")
    assert report.labels == 3


def test_a_draft_without_two_categories_is_refused(tmp_path):
    export = written(tmp_path, "a.csv", "body,type\nx,Paie\n")

    with pytest.raises(ExportError, match=r"names no category.*--column category=MyColumn"):
        draft_routing(export)


def test_messages_without_a_usable_date_are_counted(landing, tmp_path):
    dates = "body,date\na,13/02/2025\nb,31/31/2025\nc,\n"

    report = imported(landing, written(tmp_path, "a.csv", dates))

    assert (report.landed, report.undated) == (3, 2)


UNDECIDED = "id,subject,created at\n1,VPN,02/03/2025\n2,Badge,04/03/2025\n"


@pytest.mark.parametrize("header", ["id,subject,created at", "id,subject,created at,queue"])
def test_dates_that_could_be_read_both_ways_land_nothing_until_their_order_is_given(
    landing, tmp_path, header
):
    export = written(tmp_path, "a.csv", UNDECIDED.replace("id,subject,created at", header))

    with pytest.raises(ExportError, match=rf"^{re.escape(str(export))}: whether .*--dates"):
        imported(landing, export)
    assert not landing.files.folder.exists()

    report = imported(landing, export, date_order="month-first")
    assert (report.landed, report.days) == (2, (date(2025, 2, 3), date(2025, 4, 3)))
    assert [table.dates.order for table in report.tables] == ["month-first"]


def test_an_archive_with_a_table_whose_dates_could_be_read_both_ways_lands_nothing(
    landing, tmp_path
):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.csv", EXPORT)
        archive.writestr("bad.csv", UNDECIDED)

    with pytest.raises(ExportError, match=rf"^bad\.csv in {re.escape(str(path))}: whether"):
        imported(landing, path)
    assert not landing.files.folder.exists()

    report = imported(landing, path, date_order="day-first")
    assert report.landed == 5
    assert [table.where for table in report.tables] == [f"good.csv in {path}", f"bad.csv in {path}"]


def test_the_dates_of_labels_have_the_order_of_their_column(tmp_path):
    labels = written(
        tmp_path,
        "labels.csv",
        "id,category,labelled at\n1,access,03/04/2025\n2,access,03/25/2025\n",
    )

    assert [label.labelled_at.date() for label in read_labels(labels)] == [
        date(2025, 3, 4),
        date(2025, 3, 25),
    ]


def test_a_mailbox_holds_no_labels(tmp_path):
    mbox = written(tmp_path, "a.mbox", "From a Mon Mar  3 10:00:00 2025\nSubject: VPN\n\nx\n")

    assert count_labels(mbox) == ({}, {})


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_labels_are_read_from_every_kind_of_table(tmp_path, kind):
    table = pd.DataFrame({"ticket_id": ["ab" * 10, "INC7"], "category": ["réseau", "access"]})
    path = tmp_path / f"labels.{kind}"
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False, sep="\t" if kind == "tsv" else ",")
    os.utime(path, (1_740_000_000, 1_740_000_000))

    by_ticket, by_number = read_labels(path)

    assert by_ticket == Label(
        category="réseau",
        priority=None,
        labelled_at=datetime.fromtimestamp(1_740_000_000, UTC),
        labelled_by=f"labels.{kind}",
        ticket_id="ab" * 10,
        message_id=None,
    )
    # A desk's own ticket number is the message id of the row it exported.
    assert (by_number.ticket_id, by_number.message_id) == (None, "INC7")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("category\naccess\n", "names no ticket: expected a column ticket_id or message_id"),
        ("message_id\n1@x\n", "holds no label: expected a column category or priority"),
        ("message_id,category\n1@x,access\n,access\n", "row 2 names no ticket"),
        ("message_id,category\n1@x,access,x\n", "row 1 is broken: 3 cells"),
    ],
)
def test_a_label_file_that_cannot_be_used_is_explained(tmp_path, text, reason):
    with pytest.raises(ExportError, match=reason):
        list(read_labels(written(tmp_path, "labels.csv", text)))


def test_a_label_file_that_is_missing_or_no_table_is_explained(tmp_path):
    with pytest.raises(ExportError, match=r"Cannot read .*labels\.csv"):
        list(read_labels(tmp_path / "labels.csv"))
    with pytest.raises(ExportError, match=r"labels\.txt is not a table"):
        list(read_labels(written(tmp_path, "labels.txt", "x")))


@pytest.mark.parametrize(
    ("written_as", "meant"),
    [
        ("Urgent", "urgent"),
        ("URGENTE", "urgent"),
        ("Critique", "urgent"),
        ("critical", "urgent"),
        ("Haute", "high"),
        ("élevée", "high"),
        ("Moyenne", "normal"),
        ("Medium", "normal"),
        ("basse", "low"),
        ("P1", None),
    ],
)
def test_priority_words_mean_the_desks_own_priorities(written_as, meant):
    assert LabelSet(CATEGORIES, PRIORITIES).priority(written_as) == meant


def test_a_priority_word_means_nothing_when_the_desk_has_no_such_priority():
    two = LabelSet(CATEGORIES, ("basse", "haute"))

    assert two.priority("high") == "haute"
    assert two.priority("critical") is None
    # Both are configured: each means itself, and no other word can choose between them.
    both = LabelSet(CATEGORIES, ("low", "urgent", "critical"))
    assert both.priority("Critical") == "critical"
    assert both.priority("critique") is None


def test_unknown_labels_are_counted_by_target():
    now = datetime(2025, 3, 3, tzinfo=UTC)
    labels = [
        Label(category, priority, now, "x", "t", None)
        for category, priority in [("Paie", "P1"), ("Paie", None), ("acces", "low")]
    ]

    assert unknown_labels(labels, LabelSet(("accès",), PRIORITIES)) == {
        "category": {"Paie": 2},
        "priority": {"P1": 1},
    }


def test_a_mapping_for_something_that_is_no_table_is_explained(landing, tmp_path):
    mail = written(tmp_path, "a.eml", "Subject: x\n\nx")

    with pytest.raises(ExportError, match="no columns to map"):
        imported(landing, mail, column_mapping={"body": "x"})


def test_every_field_of_a_row_is_kept_in_the_landed_bytes(landing, tmp_path):
    imported(landing, written(tmp_path, "a.csv", "subject,État\nVPN,clos\n"))

    (day,) = landing.days()
    (message,) = landing.messages(day)
    assert json.loads(landing.read(message))["original"] == {"subject": "VPN", "État": "clos"}
