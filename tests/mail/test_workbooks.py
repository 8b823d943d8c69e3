"""Excel workbooks become messages like other tables; what is hostile or damaged is refused."""

import json
import subprocess
import sys
import zipfile
from datetime import UTC, datetime
from random import Random

import openpyxl
import pytest
from openpyxl.utils.escape import escape
from openpyxl.xml.constants import SHARED_STRINGS, SHEET_MAIN_NS

from ticket_assets.mail import workbooks
from ticket_assets.mail.folders import poll_drop_folder
from ticket_assets.mail.importing import import_path, read_mailbox
from ticket_assets.mail.input_files import ExportError
from ticket_assets.mail.labels import read_labels
from ticket_assets.mail.landing import LandingZone
from ticket_assets.storage.folder_blobs import FolderBlobs

HEADER = ["Numéro", "Objet", "Description", "Demandeur", "Créé le", "Catégorie"]
ROWS = [
    [17, "VPN", "coupé\ndepuis hier", "ana@example.org", datetime(2026, 3, 4, 14, 5), "réseau"],
    [18.0, "Écran", None, None, "05/03/2026 09:15", None],
]
SHEET = "xl/worksheets/sheet1.xml"


def saved(path, **sheets):
    """A workbook with the rows of each sheet."""
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(path)
    return path


def changed(path, part, change):
    """The same workbook with one part rewritten."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts.get(part, b""))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


def contents(path, **options):
    return [json.loads(imported.message.content) for imported in read_mailbox(path, **options)]


def reading(path):
    readings = []
    list(read_mailbox(path, readings=readings))
    (only,) = readings
    return only


def test_a_workbook_is_read_like_any_table(tmp_path):
    path = saved(tmp_path / "a.xlsx", Tickets=[HEADER, *ROWS])

    first, second = read_mailbox(path)

    content = json.loads(first.message.content)
    assert (content["message_id"], content["subject"]) == ("17", "VPN")
    assert (content["body"], content["sender"]) == ("coupé\ndepuis hier", "ana@example.org")
    assert first.message.received_at == datetime(2026, 3, 4, 14, 5, tzinfo=UTC)
    assert (first.label.category, first.message.source) == ("réseau", "xlsx:a.xlsx")
    assert content["original"]["Créé le"] == "2026-03-04T14:05:00"
    content = json.loads(second.message.content)
    assert (content["message_id"], content["body"], second.label) == ("18", None, None)
    assert second.message.received_at == datetime(2026, 3, 5, 9, 15, tzinfo=UTC)


def test_reading_it_again_gives_the_same_messages(tmp_path):
    first = contents(saved(tmp_path / "a.xlsx", Tickets=[HEADER, *ROWS]))

    assert contents(saved(tmp_path / "b.xlsx", Other=[HEADER, [], *ROWS])) == first


def test_a_title_above_the_header_and_blank_rows_are_no_tickets(tmp_path):
    rows = [["Export of tickets"], [], HEADER, ROWS[0], [None, " "], ROWS[1], [None] * 3]

    assert [row["subject"] for row in contents(saved(tmp_path / "a.xlsx", T=rows))] == [
        "VPN",
        "Écran",
    ]


def test_the_sheet_of_tickets_is_read_and_the_others_are_named(tmp_path):
    path = saved(
        tmp_path / "a.xlsx",
        About=[["Exported by", "Ada"], ["Filter", "all"]],
        Tickets=[HEADER, *ROWS],
        March=[HEADER, *ROWS],
        Empty=[],
    )

    assert len(contents(path)) == 2
    (warning,) = reading(path).warnings
    assert warning == (
        f"{path}: of its sheets one was read, and not March, About. Import them from workbooks of"
        " their own."
    )


def test_hidden_sheets_are_passed_over(tmp_path):
    path = saved(tmp_path / "a.xlsx", Old=[HEADER, ROWS[0]], Tickets=[HEADER, ROWS[1]])
    workbook = openpyxl.load_workbook(path)
    workbook["Old"].sheet_state = "hidden"
    workbook.save(path)

    assert [row["subject"] for row in contents(path)] == ["Écran"]
    assert reading(path).warnings == []


def test_a_column_that_the_user_names_chooses_the_sheet_as_well(tmp_path):
    path = saved(tmp_path / "a.xlsx", A=[["x", "y"], [1, 2]], B=[["Was", "Wo"], ["VPN", "oben"]])

    assert contents(path, column_mapping={"body": "was"})[0]["body"] == "VPN"


@pytest.mark.parametrize(
    ("change", "subjects"),
    [
        # Many programs write the size of a sheet wrongly, or leave out where a cell stands.
        (lambda xml: xml.replace(b'ref="A1:F3"', b'ref="A1"'), ["VPN", "Écran"]),
        (lambda xml: xml.replace(b'<row r="3">', b'<row r="900000">'), ["VPN", "Écran"]),
        (lambda xml: xml.replace(b'r="B2"', b""), ["VPN", "Écran"]),
        (lambda xml: xml.replace(b"<sheetData>", b"<!-- x --><sheetData>"), ["VPN", "Écran"]),
    ],
)
def test_sheets_as_other_programs_write_them_are_read_wholly(tmp_path, change, subjects):
    path = changed(saved(tmp_path / "a.xlsx", T=[HEADER, *ROWS]), SHEET, change)

    assert [row["subject"] for row in contents(path)] == subjects


def test_the_line_ends_of_excel_are_line_ends(tmp_path):
    path = saved(tmp_path / "a.xlsx", T=[["Subject", "Body"], ["VPN", escape("one\r") + "\ntwo"]])

    assert contents(path)[0]["body"] == "one\r\ntwo"


def test_cells_beside_the_table_and_columns_of_one_name_are_kept(tmp_path):
    path = saved(
        tmp_path / "a.xlsx", T=[["Subject", "Body", "Body"], ["a", "b", "c", None, "note"]]
    )

    assert contents(path)[0]["original"] == {
        "Subject": "a",
        "Body": "b",
        "Body (2)": "c",
        "(4)": None,
        "(5)": "note",
    }


def test_the_order_of_dates_that_are_text_is_decided_by_the_column(tmp_path):
    rows = [["Subject", "Created"], ["a", "03/04/2026"], ["b", datetime(2026, 3, 1)]]

    undecided = reading(saved(tmp_path / "a.xlsx", T=rows))
    with pytest.raises(ExportError, match="'Created' cannot be told: all its dates"):
        undecided.require_date_order()
    decided = reading(saved(tmp_path / "b.xlsx", T=[*rows, ["c", "03/25/2026"]]))
    assert decided.dates.order == "month-first"


def test_workbooks_come_from_archives_and_drop_folders_and_hold_labels(tmp_path):
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    dropped = tmp_path / "dropped"
    dropped.mkdir()
    workbook = saved(dropped / "a.xlsx", T=[HEADER, *ROWS])
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(workbook, "exports/a.xlsx")
    allowed = {"categories": ["réseau"], "priorities": ["low"]}

    archived = import_path(landing, tmp_path / "a.zip", **allowed)
    report = poll_drop_folder(
        landing,
        dropped,
        FolderBlobs(tmp_path / "cursors"),
        **allowed,
        max_messages=10,
        settled_seconds=0,
    )

    assert (archived.landed, archived.labels, len(archived.tables)) == (2, 1, 1)
    assert (report.landed, report.already_there, report.problems) == (0, 2, [])
    labels = saved(tmp_path / "l.xlsx", T=[["Message-ID", "Category"], ["<1@x>", "VPN"], [17, "a"]])
    assert [(label.message_id, label.category) for label in read_labels(labels)] == [
        ("1@x", "VPN"),
        ("17", "a"),
    ]


def test_a_poll_leaves_a_large_workbook_to_a_fetch(tmp_path, monkeypatch):
    monkeypatch.setattr("ticket_assets.mail.folders.POLLED_WORKBOOK_BYTES", 100)
    (tmp_path / "dropped").mkdir()
    saved(tmp_path / "dropped" / "a.xlsx", T=[HEADER, *ROWS])
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    def look(**options):
        return poll_drop_folder(
            landing,
            tmp_path / "dropped",
            FolderBlobs(tmp_path / "cursors"),
            categories=["réseau"],
            priorities=["low"],
            max_messages=10,
            settled_seconds=0,
            **options,
        )

    (problem,) = look(deadline=1e12).problems
    assert "land it with `tickets fetch`" in problem
    assert look().landed == 2


def with_shared_texts(path, texts=("VPN",), before=b""):
    """The workbook with a row of texts that stand in a part of their own, as Excel has them."""
    shared = (
        f'<sst xmlns="{SHEET_MAIN_NS}">{"".join(f"<si><t>{text}</t></si>" for text in texts)}</sst>'
    )
    cells = "".join(f'<c t="s"><v>{at}</v></c>' for at in range(len(texts)))
    row = f"<row>{cells}</row></sheetData>".encode()
    kind = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{SHARED_STRINGS}"/></Types>'
    changed(path, SHEET, lambda xml: xml.replace(b"</sheetData>", row))
    changed(path, "[Content_Types].xml", lambda xml: xml.replace(b"</Types>", kind.encode()))
    return changed(path, "xl/sharedStrings.xml", lambda _: before + shared.encode())


def test_the_shared_texts_of_excel_are_read(tmp_path):
    path = with_shared_texts(saved(tmp_path / "a.xlsx", T=[HEADER]), ["7", "VPN", "coupé_x000D_"])

    (content,) = contents(path)
    assert (content["message_id"], content["subject"], content["body"]) == ("7", "VPN", "coupé")


ENTITIES = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize(
    ("part", "change", "reason"),
    [
        (SHEET, lambda xml: xml.replace(b"<row", b"<row/>" * (1 << 19) + b"<row", 1), "200 times"),
        ("xl/styles.xml", lambda xml: xml + b" " * (17 << 20), "formats of more than 16 MB"),
        ("[Content_Types].xml", lambda _: b"", "not a readable workbook"),
        ("xl/workbook.xml", lambda xml: xml[:100], "not a readable workbook"),
        (SHEET, lambda xml: xml[: len(xml) // 2], "not a readable workbook"),
        (SHEET, lambda xml: ENTITIES + xml, "not a readable workbook"),
        (SHEET, lambda xml: xml.replace(b'r="F2"', b'r="ZZZZZ2"'), "not a readable workbook"),
    ],
)
def test_a_damaged_or_hostile_workbook_is_refused_in_one_line(tmp_path, part, change, reason):
    path = changed(saved(tmp_path / "a.xlsx", T=[HEADER, *ROWS]), part, change)

    with pytest.raises(ExportError) as refused:
        list(read_mailbox(path))

    assert str(refused.value).startswith(f"{path} ")
    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_shared_texts_whose_entities_grow_are_refused(tmp_path):
    path = with_shared_texts(saved(tmp_path / "a.xlsx", T=[HEADER]), ["1", "&b;"], ENTITIES)

    with pytest.raises(ExportError, match=r"not a readable workbook \(Entities"):
        list(read_mailbox(path))


@pytest.mark.slow
def test_a_row_or_shared_texts_without_end_are_refused(tmp_path, monkeypatch):
    rng = Random(3)  # noqa: S311
    long = "".join(rng.choices("abcdefgh", k=3 << 20))
    cell = f'<row><c t="inlineStr"><is><t>{long}</t></is></c></row></sheetData>'.encode()
    row = saved(tmp_path / "row.xlsx", T=[HEADER])
    changed(row, SHEET, lambda xml: xml.replace(b"</sheetData>", cell))
    texts = with_shared_texts(saved(tmp_path / "texts.xlsx", T=[HEADER]), ["1", long])
    assert [len(contents(path)) for path in (row, texts)] == [1, 1]

    monkeypatch.setattr(workbooks, "MAX_ROW_CHARACTERS", 1 << 20)
    monkeypatch.setattr(workbooks, "MAX_SHARED_BYTES", 2 << 20)
    with pytest.raises(ExportError, match=r"row\.xlsx holds a row of more than 1 MB"):
        contents(row)
    with pytest.raises(ExportError, match=r"texts\.xlsx holds texts of more than 2 MB"):
        contents(texts)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "has a password or is an old .xls"),
        (b"subject,body\na,b\n", "is not a readable workbook"),
        (b"PK\x03\x04 and no more", "is not a readable workbook"),
    ],
)
def test_what_is_no_workbook_whatever_its_name_says_is_explained(tmp_path, content, reason):
    path = tmp_path / "a.xlsx"
    path.write_bytes(content)

    with pytest.raises(ExportError, match=reason):
        list(read_mailbox(path))


def test_a_workbook_without_a_table_is_explained(tmp_path):
    with pytest.raises(ExportError, match="names no columns: expected a header line"):
        list(read_mailbox(saved(tmp_path / "a.xlsx", T=[["Notes"], ["x"], ["y"]])))


@pytest.mark.slow
def test_every_damage_inside_a_workbook_is_read_or_refused_by_one_line(tmp_path):
    whole, rng = saved(tmp_path / "whole.xlsx", T=[HEADER, *ROWS]), Random(7)  # noqa: S311
    path, refusals = tmp_path / "a.xlsx", []
    with zipfile.ZipFile(whole) as archive:
        names = archive.namelist()

    def damage(content):
        at = rng.randrange(len(content))
        match rng.randrange(3):
            case 0:
                return content[:at] + rng.randbytes(rng.randint(1, 3)) + content[at + 2 :]
            case 1:
                return content[:at] + content[at + rng.randint(1, 60) :]
        return content[:at] + rng.choice([b'"', b"<", b"9" * 400, b"&x;", b"</row>"]) + content[at:]

    for _ in range(150):
        path.write_bytes(whole.read_bytes())
        changed(path, rng.choice(names), damage)
        try:
            contents(path)
        except ExportError as refused:
            refusals.append(str(refused))

    assert len(refusals) > 30
    assert [refusal for refusal in refusals if not refusal.startswith(f"{path} ")] == []
    assert [refusal for refusal in refusals if "\n" in refusal] == []


MEMORY = """
import resource, sys
from pathlib import Path
from ticket_assets.mail.importing import read_mailbox
rows = sum(1 for _ in read_mailbox(Path(sys.argv[1])))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)
"""


@pytest.mark.slow
def test_the_rows_of_a_long_workbook_are_not_held_in_memory(tmp_path):
    peaks = []
    for rows in (500, 20_000):
        workbook = openpyxl.Workbook(write_only=True)
        sheet = workbook.create_sheet("T")
        for row in [HEADER, *([n, f"VPN {n}", f"{n} down " * 100] for n in range(rows))]:
            sheet.append(row)
        workbook.save(tmp_path / f"{rows}.xlsx")
        output = subprocess.run(
            [sys.executable, "-c", MEMORY, tmp_path / f"{rows}.xlsx"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        read, megabytes = map(int, output.split())
        assert read == rows
        peaks.append(megabytes)

    assert peaks[1] - peaks[0] < 20, "the texts are 20 MB"
