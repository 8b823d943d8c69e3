"""Tables that help desks export become messages, whatever their columns are called."""

import json
import re
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import yaml

from ticket_assets.mail.importing import read_mailbox
from ticket_assets.mail.input_files import ExportError
from ticket_assets.mail.labels import read_labels
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.parsing import parse_message
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.mail.written_dates import as_datetime
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.text.languages import FOLDER, Words, languages

FRENCH = (
    "Numéro;Objet;Description;Créé le;Demandeur;Catégorie;Priorité;État\r\n"
    'INC1;"Réseau; coupé";"Depuis ce matin\r\nà l’étage";03/02/2025 14:05;'
    "jean@x.fr;Réseau;Haute;clos\r\n"
    "INC2;Écran noir;;04/02/2025;;;;\r\n"
)


def rows(path, **mapping):
    return [
        (json.loads(imported.message.content), imported)
        for imported in read_mailbox(path, column_mapping=mapping)
    ]


def written(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ";"), ("a.csv", ","), ("a.tsv", "\t")])
def test_a_csv_with_french_headers_is_read(tmp_path, encoding, name, delimiter):
    text = FRENCH.replace("Réseau; coupé", "Réseau§ coupé").replace(";", delimiter)
    path = written(tmp_path, name, text.replace("§", ";"), encoding)

    (first, imported), (second, other) = rows(path)

    assert first["subject"] == "Réseau; coupé"
    assert first["body"] == "Depuis ce matin\r\nà l’étage"
    assert (first["message_id"], first["sender"]) == ("INC1", "jean@x.fr")
    assert (first["original"]["Numéro"], first["original"]["État"]) == ("INC1", "clos")
    assert imported.message.received_at == datetime(2025, 2, 3, 14, 5, tzinfo=UTC)
    assert imported.message.received_at_source == "export"
    assert (imported.label.category, imported.label.priority) == ("Réseau", "Haute")
    assert (second["subject"], second["body"], other.label) == ("Écran noir", None, None)


def test_a_row_whose_label_was_corrected_is_still_the_same_message(tmp_path):
    before = rows(written(tmp_path, "a.csv", FRENCH))
    after = rows(written(tmp_path, "a.csv", FRENCH.replace(";Réseau;Haute;", ";Email;Basse;")))

    assert before[0][1].message == after[0][1].message
    assert after[0][1].label.category == "Email"
    assert after[0][1].label.ticket_id == before[0][1].label.ticket_id


def test_the_label_of_a_row_names_the_ticket_that_the_row_becomes(tmp_path):
    imported = rows(written(tmp_path, "a.csv", FRENCH))[0][1]
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    landing.land([imported.message])

    (day,) = landing.days()
    tickets = raw_tickets(landing, [day], max_message_bytes=10_000).tickets
    assert tickets["ticket_id"].tolist() == [imported.label.ticket_id]


def test_json_lines_and_parquet_give_the_same_tickets_as_csv(tmp_path):
    table = pd.DataFrame(
        {
            "id": ["1", "2"],
            "subject": ["Réseau", "Écran"],
            "body": ["coupé", None],
            "created_at": ["2025-02-03T14:05:00+01:00", None],
            "queue": ["network", "hardware"],
        }
    )
    table.to_csv(tmp_path / "a.csv", index=False)
    table.to_json(tmp_path / "a.jsonl", orient="records", lines=True, force_ascii=False)
    table.to_parquet(tmp_path / "a.parquet")

    read = {}
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        read[name] = [
            (
                content["subject"],
                content["body"],
                imported.message.message_id,
                imported.message.received_at,
                imported.label.category,
            )
            for content, imported in rows(tmp_path / name)
        ]
    assert read["a.csv"] == read["a.jsonl"] == read["a.parquet"]
    assert read["a.csv"] == [
        ("Réseau", "coupé", "1", datetime(2025, 2, 3, 13, 5, tzinfo=UTC), "network"),
        ("Écran", None, "2", None, "hardware"),
    ]


def test_a_parquet_timestamp_is_taken_as_utc(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"text": ["x"], "date": [pd.Timestamp("2025-02-03 14:05")]}).to_parquet(path)

    assert rows(path)[0][1].message.received_at == datetime(2025, 2, 3, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        (
            "a.csv",
            "subject,body\nun,1\ndeux,2,3\ntrois,3\n",
            "row 2: 3 cells where the header has 2",
        ),
        (
            "a.jsonl",
            '{"subject": "un"}\n{"subject": "deux\n{"subject": "trois"}\n',
            "row 2: not a JSON",
        ),
    ],
)
def test_a_broken_row_lands_and_is_rejected_and_the_others_are_tickets(
    tmp_path, name, text, reason
):
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    landing.land(imported.message for imported in read_mailbox(written(tmp_path, name, text)))

    (today,) = landing.days()
    result = raw_tickets(landing, [today], max_message_bytes=10_000)
    assert sorted(result.tickets["subject"]) == ["trois", "un"]
    (row,) = result.rejected.to_dict("records")
    assert row["reason"].startswith(reason)
    assert b"deux" in (landing.files.folder / row["path"]).read_bytes()


@pytest.mark.parametrize("after", ["INC3,x\n", 'INC3,"x"\n', 'INC3,"x" y\n'])
def test_a_stray_quote_does_not_hide_the_rows_after_it(tmp_path, after):
    path = written(tmp_path, "a.csv", f'id,subject\nINC1,un\nINC2,"deux\n{after}')

    (first, _), (second, _) = rows(path)

    assert first["subject"] == "un"
    assert second["broken"].startswith("row 2: its quotes do not match")
    assert second["original"] == {"text": f'INC2,"deux\n{after}'}


def test_sloppy_quotes_inside_one_line_are_read(tmp_path):
    path = written(tmp_path, "a.csv", 'id,subject\nINC1,"il dit "non" ici"\n')

    assert rows(path)[0][0]["subject"] == 'il dit non" ici"'


def test_a_column_can_be_named_by_the_user(tmp_path):
    path = written(tmp_path, "a.csv", "Titre court,Détail\nVPN,coupé\n")

    (content, _imported), *_ = rows(path, subject="titre court", body="Détail")
    assert (content["subject"], content["body"]) == ("VPN", "coupé")


@pytest.mark.parametrize(
    ("text", "mapping", "reason"),
    [
        ("a,b\n1,2\n", {}, r"subject or a body. Its columns: a, b. .*`--column body=MyColumn`"),
        ("a,b\n1,2\n", {"body": "c"}, "no column 'c' for body. Its columns: a, b"),
        ("a,b\n1,2\n", {"corps": "a"}, "no field 'corps' to map: subject, body"),
        ("\n\n", {}, "is empty"),
    ],
)
def test_columns_that_cannot_be_found_are_explained(tmp_path, text, mapping, reason):
    with pytest.raises(ExportError, match=reason):
        rows(written(tmp_path, "a.csv", text), **mapping)


def test_columns_of_the_same_name_are_both_kept_and_the_first_counts(tmp_path):
    path = written(tmp_path, "a.csv", "subject,body,body,,\nVPN,coupé,depuis hier,1,2\n")

    ((content, _imported),) = rows(path)

    assert content["body"] == "coupé"
    assert content["original"] == {
        "subject": "VPN",
        "body": "coupé",
        "body (2)": "depuis hier",
        "": "1",
        "(2)": "2",
    }


def test_the_unicode_text_of_a_spreadsheet_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("Sujet\tCorps\nÉcran\tnoir\n", "utf-16")

    ((content, _imported),) = rows(path)

    assert (content["subject"], content["body"]) == ("Écran", "noir")


def test_a_file_that_is_not_text_is_explained(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"subject,body\n\x00\x01\x02")

    with pytest.raises(ExportError, match=r"a\.csv is not text, .*save it as UTF-8"):
        rows(path)


def test_a_json_array_and_a_broken_parquet_are_explained(tmp_path):
    with pytest.raises(ExportError, match="JSON array: expected one object per line"):
        rows(written(tmp_path, "a.json", '[{"subject": "x"}]'))
    with pytest.raises(ExportError, match="not a readable Parquet file"):
        rows(written(tmp_path, "a.parquet", "PAR1 no"))


DESKS = yaml.safe_load(Path(__file__).with_name("desk_exports.yaml").read_text("utf-8"))
FIELDS = ("subject", "body", "sender", "sender_name", "recipients", "message_id")


@pytest.mark.parametrize("export", DESKS, ids=[export["desk"] for export in DESKS])
def test_the_exports_of_desks_are_understood_in_their_languages(tmp_path, export):
    ((content, imported),) = rows(written(tmp_path, "a.csv", export["table"]))

    received_at = imported.message.received_at
    category, priority = (
        (imported.label.category, imported.label.priority) if imported.label else (None, None)
    )
    found = {field: content.get(field) for field in FIELDS}
    found |= {"received_at": received_at, "category": category, "priority": priority}
    expected = dict.fromkeys(found) | export["is"]
    if expected["received_at"]:
        expected["received_at"] = as_datetime(expected["received_at"])
    assert found == expected


@pytest.mark.slow
def test_a_file_of_words_adds_the_columns_and_dates_of_a_language(tmp_path):
    for path in FOLDER.glob("*.yaml"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    made_up = {field.name: [] for field in fields(Words)} | {
        "months": "zano zefo zaro zapo zamo zuno zulo zogo zepo zoko zovo zedo",
        "weekdays": "zonda",
        "date_words": "zum",
        "hour_words": "zor",
        "date_orders": "day",
        "subject_columns": "zubet",
        "sender_columns": "zmail",
        "sender_name_columns": "zname",
        "received_at_columns": "zreat",
    }
    (tmp_path / "zz.yaml").write_text(yaml.safe_dump(made_up))
    table = "Zubet;Zname;Zmail;Zreat\nVPN;Ada;ada@example.org;zonda 9 Zamo 2026 zum 14 zor 05\n"
    program = (
        "import json, sys, pathlib\n"
        "from ticket_assets.text import languages\n"
        "languages.FOLDER = pathlib.Path(sys.argv[1])\n"
        "from ticket_assets.mail.importing import read_mailbox\n"
        "for message, _ in read_mailbox(pathlib.Path(sys.argv[2])):\n"
        "    row = json.loads(message.content)\n"
        "    print(row['subject'], row['sender'], row['sender_name'], message.received_at)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path, written(tmp_path, "a.csv", table)],
        check=True,
        capture_output=True,
        text=True,
    )

    assert done.stdout == "VPN ada@example.org Ada 2026-05-09 14:05:00+00:00\n"


def test_no_word_is_two_months():
    months: dict[str, int] = {}
    for words in languages():
        for number, names in enumerate(words.months, 1):
            for name in names.split():
                assert months.setdefault(name, number) == number, name


def requester(tmp_path, table):
    """Name and address of the requester in a table's rows."""
    messages = [imported.message for _, imported in rows(written(tmp_path, "a.csv", table))]
    parsed = [parse_message(message.content, message.extension) for message in messages]
    return [(ticket.sender_name, ticket.sender) for ticket in parsed]


def test_a_requester_has_the_name_and_the_address_that_their_columns_hold(tmp_path):
    table = (
        "subject;requester;requester email\n"
        "a;Ada Poe;ada@example.org\n"
        "b;Ada Poe;\n"
        "c;;ada@example.org\n"
        "d;Ada Poe <ada@example.org>;\n"
        "e;ada@example.org;\n"
        "f;ada@example.org;ada@example.org\n"
        'g;"Poe, Ada";ADA@example.org\n'
        "h;;\n"
    )

    assert requester(tmp_path, table) == [
        ("Ada Poe", "ada@example.org"),
        ("Ada Poe", None),
        (None, "ada@example.org"),
        ("Ada Poe", "ada@example.org"),
        (None, "ada@example.org"),
        (None, "ada@example.org"),
        ("Poe, Ada", "ada@example.org"),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Betreff;Anfragesteller;E-Mail-Adresse", "a;Ute Lang;ute@example.org"),
        ("Objet;E-mail du demandeur;Demandeur", "a;ute@example.org;Ute Lang"),
        ("Asunto;Nombre completo;Correo electrónico", "a;Ute Lang;ute@example.org"),
        ("Assunto;Solicitante;E-mail do solicitante", "a;Ute Lang;ute@example.org"),
        ("Subject;Email;Full name;Assignee email", "a;ute@example.org;Ute Lang;it@example.org"),
        ("Subject;Caller", "a;Ute Lang <ute@example.org>"),
    ],
)
def test_an_address_beside_a_name_is_the_senders_in_every_language(tmp_path, header, row):
    assert requester(tmp_path, f"{header}\n{row}\n") == [("Ute Lang", "ute@example.org")]


def test_a_row_without_a_column_of_names_is_the_same_message_as_before(tmp_path):
    ((_, imported),) = rows(written(tmp_path, "a.csv", "id,subject,sender\n1,VPN,a@x.org\n"))

    assert imported.message.content == (
        b'{"body": null, "in_reply_to": null, "message_id": "1", "original": {"id": "1",'
        b' "sender": "a@x.org", "subject": "VPN"}, "recipients": null, "sender": "a@x.org",'
        b' "subject": "VPN"}'
    )


def received(tmp_path, header, cells, **options):
    path = written(tmp_path, "a.csv", "\n".join([f"Subject;{header}", *(f"a;{c}" for c in cells)]))
    return [imported.message.received_at for imported in read_mailbox(path, **options)]


def test_the_order_of_day_and_month_is_that_of_the_column(tmp_path):
    ninth_of_june, sixth_of_september = (
        datetime(2026, 6, 9, tzinfo=UTC),
        datetime(2026, 9, 6, tzinfo=UTC),
    )

    assert received(tmp_path, "Created", ["06/09/2026", "06/30/2026"])[0] == ninth_of_june
    assert received(tmp_path, "Created", ["06/09/2026", "30/06/2026"])[0] == sixth_of_september
    assert received(tmp_path, "Created", ["06/09/2026"])[0] == sixth_of_september
    given = received(tmp_path, "Created", ["06/09/2026"], date_order="month-first")
    assert given[0] == ninth_of_june


def test_a_date_that_can_be_read_in_one_way_alone_is_read_so_whatever_was_said(tmp_path):
    cells = ["06/09/2026", "30/06/2026", "06/30/2026"]

    for order in ("day-first", "month-first"):
        assert (
            received(tmp_path, "Created", cells, date_order=order)[1:]
            == [datetime(2026, 6, 30, tzinfo=UTC)] * 2
        )


def reading(tmp_path, text, **options):
    path, readings = written(tmp_path, "a.csv", text), []
    list(read_mailbox(path, readings=readings, **options))
    (only,) = readings
    return only


@pytest.mark.parametrize(
    ("header", "cells", "reason"),
    [
        (
            "Subject;Created",
            ["06/09/2026", "30/06/2026", "29/06/2026"],
            "2 values can be read in no other way",
        ),
        ("Subject;Created", ["06.09.2026"], "they are written with dots"),
        ("Subject;Date d'ouverture", ["06/09/2026"], "as in the language of the columns' names"),
        ("Objet;Date", ["06-09-2026"], "as in the language of the columns' names"),
        ("Asunto;Creado el", ["06/09/2026"], "as in the language of the columns' names"),
    ],
)
def test_how_dates_were_read_is_said_with_its_reason(tmp_path, header, cells, reason):
    table = reading(tmp_path, "\n".join([header, *(f"a;{cell}" for cell in cells)]))

    column = header.partition(";")[2]
    table.require_date_order()
    assert table.finding == (
        f"{tmp_path / 'a.csv'}: dates in {column!r} were read with the day first ({reason})."
    )


def test_nothing_is_said_of_dates_that_can_be_read_in_one_way(tmp_path):
    for cell in ("2026-06-09", "9 June 2026", "06/06/2026", "30/06/2026", "x"):
        table = reading(tmp_path, f"Subject;Created\na;{cell}\n")
        table.require_date_order()
        assert table.finding is None


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (["06/09/2026", "6/9/26"], "all its dates may have either, like '06/09/2026'"),
        (
            ["06/09/2026", "06/30/2026", "30/06/2026"],
            "'30/06/2026' has the day first, '06/30/2026' the month,"
            " and '06/09/2026' may have either",
        ),
    ],
)
def test_an_order_that_cannot_be_told_is_refused_until_it_is_given(tmp_path, cells, reason):
    text = "\n".join(["Subject;Created", *(f"a;{cell}" for cell in cells)])

    with pytest.raises(
        ExportError, match=re.escape(f"'Created' cannot be told: {reason}. Nothing")
    ):
        reading(tmp_path, text).require_date_order()
    table = reading(tmp_path, text, date_order="month-first")
    table.require_date_order()
    assert table.finding.endswith("read with the month first (as it was asked for).")


def test_fields_that_no_column_holds_are_named_with_the_columns_that_are_there(tmp_path):
    (warning,) = reading(tmp_path, "Body;Sachgebiet;Wann\na;b;c\n").warnings

    assert warning == (
        f"{tmp_path / 'a.csv'} has no column known as subject, sender, received_at. Its columns:"
        " Body, Sachgebiet, Wann. Name it, like `--column subject=MyColumn`."
    )
    assert reading(tmp_path, "Subject;Body;Caller;Date\na;b;c;d\n").warnings == []


@pytest.mark.parametrize(
    ("header", "label"),
    [
        ("subject,body,category,priority", ("subject", "body", "category", "priority")),
        ("Sujet,Corps,Catégorie,Priorité", ("Sujet", "Corps", "Catégorie", "Priorité")),
        ("Objet,Description,Queue,Priority", ("Objet", "Description", "Queue", "Priority")),
    ],
)
def test_the_usual_names_of_columns_are_recognised(tmp_path, header, label):
    ((content, imported),) = rows(written(tmp_path, "a.csv", f"{header}\n{','.join(label)}\n"))

    assert (content["subject"], content["body"]) == label[:2]
    assert (imported.label.category, imported.label.priority) == label[2:]


@pytest.fixture
def new_memory():
    """Arrow's memory of a test alone; it knows the most that was taken of it."""
    usual = pyarrow.default_memory_pool()
    pool = pyarrow.proxy_memory_pool(usual)
    pyarrow.set_memory_pool(pool)
    yield pool
    pyarrow.set_memory_pool(usual)


@pytest.mark.parametrize("keeps_its_kind", [True, False])
def test_a_parquet_text_that_many_rows_share_is_no_way_to_fill_the_memory(
    tmp_path, new_memory, keeps_its_kind
):
    shared = pyarrow.array(["x" * (1 << 20)])
    column = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 2000, pyarrow.int32()), shared)
    pyarrow.parquet.write_table(
        pyarrow.table({"body": column}),
        tmp_path / "a.parquet",
        compression="zstd",
        dictionary_pagesize_limit=1 << 30,
        store_schema=keeps_its_kind,
    )
    before = new_memory.max_memory()

    with pytest.raises(ExportError, match="unpacks to more than 200 times its size"):
        rows(tmp_path / "a.parquet")

    assert new_memory.max_memory() - before < 50 << 20


def test_repetitive_exports_in_parquet_are_read(tmp_path):
    table = pd.DataFrame({"body": ["Le VPN ne marche plus"] * 5000, "queue": ["a", "b"] * 2500})
    table.to_parquet(tmp_path / "a.parquet")

    assert [row["original"]["body"] for row, _ in rows(tmp_path / "a.parquet")] == list(table.body)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'subject\n"' + "x\n" * 1000),
        ("a.csv", "subject," * 500),
        ("a.jsonl", '{"subject": "' + "x" * 2000 + '"}'),
    ],
)
def test_a_row_without_end_is_refused(tmp_path, monkeypatch, name, text):
    monkeypatch.setattr("ticket_assets.mail.exports.MAX_ROW_CHARACTERS", 1000)

    with pytest.raises(ExportError, match=r"holds a row of over .* check that its quotes match"):
        rows(written(tmp_path, name, text))


WEDGES = [
    b"\x00",
    b"\xff\xfe",
    b'"',
    b"\n",
    b"\r",
    b"{",
    b"[",
    b"\xed\xa0\x80",
    b"1e999",
    b"9" * 5000,
]


def damaged(content, rng):
    damage = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(damage) + 1)
        match rng.randrange(5):
            case 0:
                damage[at : at + 1] = rng.randbytes(1)
            case 1:
                del damage[at : at + rng.randint(1, 200)]
            case 2:
                damage[at:at] = rng.choice(WEDGES)
            case 3:
                damage[:0] = rng.choice(WEDGES)
            case 4:
                del damage[at:]
    return bytes(damage)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_damaged_table_is_read_or_refused_by_one_line_with_its_name(tmp_path, kind):
    columns = ["message_id", "category", "labelled_at", "subject"]
    table = pd.DataFrame(
        [["<1@x>", "accès", "2026-01-05", "VPN"], [None] * 4] * 10, columns=columns
    )
    path = tmp_path / f"a.{kind}"
    if kind == "csv":
        table.to_csv(path, index=False)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_parquet(path)
    whole, rng = path.read_bytes(), Random(5)  # noqa: S311

    refusals = []
    for _ in range(300):
        path.write_bytes(damaged(whole, rng))
        for read in (read_mailbox, read_labels):
            try:
                list(read(path))
            except ExportError as refused:
                refusals.append(str(refused))

    assert [refusal for refusal in refusals if not refusal.startswith(f"{path}")] == []
    assert [refusal for refusal in refusals if "\n" in refusal] == []


def test_text_in_parquet_that_is_not_unicode_is_explained(tmp_path):
    octets = pyarrow.array([b"1@x", b"caf\xe9"]).view(pyarrow.string())
    table = pyarrow.table({"message_id": octets, "category": ["network", "network"]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")

    with pytest.raises(ExportError, match=r"a\.parquet is not a readable Parquet file: .*utf-8"):
        list(read_labels(tmp_path / "a.parquet"))
