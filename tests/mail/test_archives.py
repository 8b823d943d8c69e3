"""Archives are imported as their unpacked folder is; bombs and damage are refused in one line."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from ticket_assets.mail import archives
from ticket_assets.mail.importing import import_path, read_mailbox
from ticket_assets.mail.input_files import NO_FILES, ExportError
from ticket_assets.mail.labels import UnknownLabelError
from ticket_assets.mail.landing import LandingZone
from ticket_assets.storage.folder_blobs import FolderBlobs

FIRST = b"From: a@x.fr\nDate: Mon, 3 Mar 2025 10:00:00 +0100\nMessage-ID: <1@x>\n\nBonjour\n"
SECOND = b"From: b@x.fr\nSubject: Panne\n\nDeux lignes\n"
FROM_LINE = b"From a@x.fr Mon Mar  3 10:00:05 2025\n"
MBOX = FROM_LINE + FIRST + b"\n" + FROM_LINE + SECOND + b"\n"
EXPORT = b"id,subject,category,date\nINC1,VPN,access,2025-03-03\nINC2,Badge,,2025-03-04\n"
WRITTEN_AT = 1_740_000_000


@pytest.fixture
def landing(tmp_path):
    return LandingZone(FolderBlobs(tmp_path / "landing"))


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def tarred(path, files, mode="w:gz"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), WRITTEN_AT
            archive.addfile(info, io.BytesIO(content))
    return path


def contents(path, **options):
    return [imported.message.content for imported in read_mailbox(path, **options)]


def imported(landing, path, **options):
    return import_path(landing, path, categories=["access"], priorities=["low"], **options)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.zip", None),
        ("a.tar", "w"),
        ("a.tar.gz", "w:gz"),
        ("a.tgz", "w:gz"),
        ("a.tar.bz2", "w:bz2"),
        ("a.tar.xz", "w:xz"),
        ("named-anyhow", "w:gz"),
    ],
)
def test_an_archive_gives_the_mails_of_its_folders(tmp_path, name, mode):
    files = {"2025/a.eml": FIRST, "Maildir/cur/1740.M1.host:2,S": SECOND, "box.mbox": MBOX}
    path = tmp_path / name
    if mode:
        tarred(path, files, mode)
    else:
        zipped(path, files)

    assert contents(path) == [FIRST, SECOND, FIRST, SECOND]
    assert [imported.message.source for imported in read_mailbox(path)] == [
        f"eml:{name}",
        f"maildir:{name}",
        "mbox:box.mbox",
        "mbox:box.mbox",
    ]


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archived_export_lands_its_messages_and_labels_once(landing, tmp_path, pack):
    path = pack(tmp_path / "a.archive", {"exports/tickets.csv": EXPORT})

    first = imported(landing, path)
    again = imported(landing, path)

    assert (first.landed, first.labels) == (2, 1)
    assert (again.landed, again.already_there, again.labels) == (0, 2, 0)
    (label,) = landing.labels()
    assert (label.category, label.labelled_by) == ("access", "csv:tickets.csv")


def test_the_unpacked_files_of_an_archive_land_nothing_again(landing, tmp_path):
    files = {"mails/a.eml": FIRST, "mails/b.eml": SECOND, "tickets.csv": EXPORT, "box": MBOX}
    path = tarred(tmp_path / "a.tar.gz", files)
    assert imported(landing, path).landed == 4
    with tarfile.open(path) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")

    for name in ("mails", "tickets.csv", "box"):
        report = imported(landing, tmp_path / "unpacked" / name)
        assert (report.landed, report.already_there, report.labels) == (0, 2, 0)


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_unknown_label_in_an_archive_lands_nothing(landing, tmp_path, pack):
    files = {"a.eml": FIRST, "tickets.csv": EXPORT.replace(b"access", b"Paie")}

    with pytest.raises(UnknownLabelError, match="unknown categories: 'Paie'"):
        imported(landing, pack(tmp_path / "a.archive", files))

    assert not landing.files.folder.exists()


def test_a_column_mapping_reaches_an_archived_export(tmp_path):
    path = zipped(tmp_path / "a.zip", {"t.csv": b"Quoi\nVPN\n"})

    with pytest.raises(ExportError) as refused:
        contents(path)
    assert str(refused.value).startswith(f"t.csv in {path} has no column known as a subject")
    assert len(contents(path, column_mapping={"body": "Quoi"})) == 1
    with pytest.raises(ExportError, match="holds no table"):
        contents(zipped(tmp_path / "b.zip", {"a.eml": FIRST}), column_mapping={"body": "Quoi"})


def test_what_is_no_mail_is_passed_over_and_counted(landing, tmp_path):
    files = {
        "a.eml": FIRST,
        "__MACOSX/._a.eml": b"\x00\x05",
        "Takeout/settings.json": b"{}",
        "older.zip": zipped(tmp_path / "older.zip", {"b.eml": SECOND}).read_bytes(),
        "empty.csv": b"",
    }

    report = imported(landing, zipped(tmp_path / "a.zip", files))

    assert report.landed == 1
    assert report.ignored == {"files that are not mail": 3, "archives inside it": 1}


def test_a_name_that_climbs_out_of_the_archive_writes_nothing_there(landing, tmp_path):
    outside = tmp_path / "outside.csv"
    files = {f"../../..{outside}": EXPORT, str(outside): EXPORT, "..\\..\\a.eml": FIRST}

    for pack in (zipped, tarred):
        imported(landing, pack(tmp_path / pack.__name__, files))

    assert not outside.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["landing", "tarred", "zipped"]


def test_links_and_devices_are_passed_over_and_counted(tmp_path):
    secret = tmp_path / "secret.eml"
    secret.write_bytes(SECOND)
    as_tar, as_zip = tarred(tmp_path / "a.tar", {"a.eml": FIRST}, "w"), tmp_path / "a.zip"
    with tarfile.open(as_tar, "a") as archive:
        for number, kind in enumerate([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE]):
            info = tarfile.TarInfo(f"{number}.eml")
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
    with zipfile.ZipFile(as_zip, "w") as archive:
        archive.writestr("a.eml", FIRST)
        link = zipfile.ZipInfo("link.eml")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, str(secret))

    for path, count in ((as_tar, 3), (as_zip, 1)):
        ignored = archives.Counter()
        assert contents(path, ignored=ignored) == [FIRST]
        assert ignored == {NO_FILES: count}


@pytest.mark.slow
@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_bomb_is_refused_wherever_it_lies(landing, tmp_path, compress):
    # In a file that is passed over: its bytes count all the same.
    plain = tarred(tmp_path / "a.tar", {"a.eml": FIRST, "zeros.bin": bytes(40 << 20)}, "w")
    path = tmp_path / "a.tar.packed"
    path.write_bytes(compress(plain.read_bytes()))

    with pytest.raises(ExportError, match="unpacks to more than 200 times its size"):
        imported(landing, path)

    assert not landing.files.folder.exists()


@pytest.mark.parametrize("name", ["a.eml", "a.csv", "cur/mail"])
def test_a_zip_bomb_is_refused(landing, tmp_path, name):
    path = zipped(tmp_path / "a.zip", {name: b"id,body\n" + b"x" * (40 << 20)})

    with pytest.raises(ExportError, match=r"unpacks to more than 200 times.*import it in parts"):
        imported(landing, path)

    assert not landing.files.folder.exists()


@pytest.fixture
def refusal_of():
    """The reason why an archive is refused, and the bytes of memory that Python takes to see it."""

    def read(path):
        tracemalloc.start()
        with pytest.raises(ExportError) as refused:
            contents(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return str(refused.value), peak

    return read


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_bomb_in_small_parts_is_refused_before_it_takes_memory(landing, tmp_path, pack):
    part = FIRST + b"x" * (1 << 20)
    path = pack(tmp_path / "a.archive", {f"{number}.eml": part for number in range(40)})
    read = []

    with pytest.raises(ExportError, match="unpacks to more than 200 times its size"):
        read.extend(len(message.message.content) for message in read_mailbox(path))
    with pytest.raises(ExportError):
        imported(landing, path)

    assert sum(read) <= 200 * path.stat().st_size
    assert not landing.files.folder.exists()


@pytest.mark.slow
def test_an_archive_of_mails_that_are_much_alike_is_no_bomb(landing, tmp_path):
    """As a monitoring system writes them: in tar.gz they take a fiftieth of their size."""
    table = b"<table><tr><td>Notification Type</td><td>PROBLEM</td></tr></table>\n" * 40
    names = [os.urandom(16).hex() for _ in range(500)]
    files = {
        f"{name}.eml": FIRST.replace(b"<1@x>", f"<{name}@x>".encode()) + table for name in names
    }

    for number, pack in enumerate((zipped, tarred)):
        report = imported(landing, pack(tmp_path / pack.__name__, files))
        assert (report.landed, report.already_there) == ((500, 0), (0, 500))[number]


@pytest.mark.slow
@pytest.mark.parametrize("line", [b"x", b"\n", b"\r\n"])
def test_a_mail_without_end_takes_no_more_memory_than_the_largest(
    tmp_path, monkeypatch, refusal_of, line
):
    monkeypatch.setattr("ticket_assets.mail.mailboxes.MAX_MAIL_BYTES", 1 << 20)
    monkeypatch.setattr("ticket_assets.mail.archives.MAX_RATIO", 1 << 20)
    files = {"a.mbox": FROM_LINE + line * ((8 << 20) // len(line))}

    reason, peak = refusal_of(zipped(tmp_path / "a.zip", files))

    assert "exceeds 1 MB, which no mail does" in reason
    assert peak < 8 << 20


def test_a_zip_that_lists_too_many_files_is_refused_before_they_are_read(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", {f"{number}.eml": FIRST for number in range(30)})
    monkeypatch.setattr(archives, "MAX_DIRECTORY_BYTES", 1000)

    with pytest.raises(ExportError, match="lists too many files, which no mailbox does"):
        contents(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_name_of_a_hundred_megabytes_in_a_tar_is_refused_unread(tmp_path, kind, refusal_of):
    path = tmp_path / "a.tar"
    name = tarfile.TarInfo("name")
    name.type, name.size = kind, 100 << 20
    with path.open("wb") as file:
        file.write(name.tobuf())
        file.truncate(200 << 20)

    reason, peak = refusal_of(path)

    assert "cannot be read (broken header" in reason
    assert peak < 4 << 20


@pytest.mark.parametrize("name", ["a.eml", "a.mbox", "a.csv"])
def test_holes_in_a_tar_count_as_what_is_read_of_them(tmp_path, name):
    path = tmp_path / "a.tar"
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:410] = b"00000000000\x0000000001000\x00"  # 512 bytes at 0
    header[483:495] = b"10000000000\x00"  # of 1 GB
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\x00 " % sum(header)
    path.write_bytes(header + FROM_LINE.ljust(512, b"x") + bytes(1024))

    with pytest.raises(ExportError, match=r"200 times its size|exceeds 160 MB"):
        contents(path)


def test_a_cut_zip_does_not_pass_for_the_zip_that_lies_in_it(landing, tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"inner.eml": SECOND}).read_bytes()
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.eml", FIRST)
        archive.writestr("older.zip", inner)
        archive.writestr("b.eml", FIRST + b"more\n")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"b.eml")])

    with pytest.raises(ExportError, match=r"its end is missing.*get the archive again"):
        imported(landing, path)

    assert not landing.files.folder.exists()


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("MAX_MEMBERS", 2, "holds more than 2 files, which no mailbox does"),
        ("MAX_UNPACKED_BYTES", 100, "unpacks to more than .* GB, which no mailbox does"),
        ("MAX_TABLE_BYTES", 20, r"c\.csv in .* is larger than .* GB: unpack it"),
    ],
)
def test_each_limit_of_an_archive_is_kept(tmp_path, monkeypatch, limit, value, reason):
    files = {"a.eml": FIRST, "b.eml": SECOND, "c.csv": EXPORT}
    monkeypatch.setattr(archives, limit, value)

    for pack in (zipped, tarred):
        with pytest.raises(ExportError, match=reason):
            contents(pack(tmp_path / pack.__name__, files))


def with_password(path):
    content = bytearray(path.read_bytes())
    content[6] |= 1  # "encrypted", in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


def test_a_password_is_explained(tmp_path):
    path = with_password(zipped(tmp_path / "a.zip", {"a.eml": FIRST}))

    with pytest.raises(ExportError) as refused:
        contents(path)

    assert str(refused.value) == (
        f"a.eml in {path} is protected by a password: unpack the archive, then import its folder."
    )


def stretched(number):
    """Mails that do not compress, so that damage anywhere meets content."""
    return {f"{name}.eml": FIRST + os.urandom(5000).hex().encode() for name in range(number)}


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_archive_lands_nothing_and_says_what_to_do(landing, tmp_path, pack, damage):
    path = pack(tmp_path / "a.archive", stretched(20))
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-len(content) // 3 :]
    else:
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(ExportError, match=r"cannot be read \(.+\): get the archive again"):
        imported(landing, path)

    assert not landing.files.folder.exists()


def test_a_wrong_checksum_at_the_end_is_damage(tmp_path):
    path = tmp_path / "a.tar.gz"
    plain = tarred(tmp_path / "a.tar", {"a.eml": FIRST}, "w").read_bytes()
    content = bytearray(gzip.compress(plain + bytes(100_000)))  # a last record of any size
    content[-8] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(ExportError, match="CRC check failed"):
        contents(path)


@pytest.mark.parametrize("moment", [-1e18, 1e18, float("nan")])
def test_a_time_that_no_file_has_costs_nothing(tmp_path, moment):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.csv")
        info.size, info.pax_headers = len(EXPORT), {"mtime": str(moment)}
        archive.addfile(info, io.BytesIO(EXPORT))

    assert len(contents(path)) == 2


def test_a_plain_tar_that_breaks_off_or_has_a_broken_header_is_damaged(tmp_path):
    path = tarred(tmp_path / "a.tar", {"a.eml": FIRST, "b.eml": SECOND, "c.eml": FIRST}, "w")
    content = path.read_bytes()

    for damaged in (content[:1024], content[:1200], content[:1100] + b"!" + content[1101:]):
        path.write_bytes(damaged)
        with pytest.raises(ExportError, match="cannot be read"):
            contents(path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "holds no mail (it is empty)"),
        ({"a.txt": b"x", "b.tgz": b"x"}, "(files that are not mail: 1, archives inside it: 1)"),
    ],
)
def test_an_archive_without_mail_is_explained(tmp_path, files, reason):
    path = zipped(tmp_path / "a.zip", files)

    with pytest.raises(ExportError) as refused:
        contents(path)

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_document_or_a_single_compressed_file_is_no_archive_of_mail(tmp_path):
    document = zipped(tmp_path / "a.docx", {"[Content_Types].xml": b"<x/>", "a.eml": FIRST})
    single = tmp_path / "a.mbox.gz"
    single.write_bytes(gzip.compress(MBOX))

    with pytest.raises(ExportError, match=r"a document; save its table as \.xlsx or CSV"):
        contents(document)
    with pytest.raises(ExportError, match="one compressed file; unpack it"):
        contents(single)


def test_a_hostile_name_cannot_write_to_the_terminal(tmp_path):
    path = with_password(zipped(tmp_path / "a.zip", {"\x1b[2Jx\n.eml": FIRST}))

    with pytest.raises(ExportError) as refused:
        contents(path)

    assert str(refused.value).startswith(f"?[2Jx?.eml in {path}")


def test_no_temporary_copy_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    Path(tmp_path / "temporary").mkdir()
    path = zipped(tmp_path / "a.zip", {"a.csv": EXPORT, "b.csv": b"Quoi\nVPN\n"})

    with pytest.raises(ExportError):
        contents(path)

    assert list((tmp_path / "temporary").iterdir()) == []
