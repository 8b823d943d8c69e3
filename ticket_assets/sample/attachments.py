"""Small files as people attach them: a screenshot, a PDF, a log, a Word document."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from random import Random


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    data: bytes


def attachment(language: str, moment: datetime, rng: Random) -> Attachment:
    """A file of some hundred bytes to a few kB that opens as what it claims to be."""
    return rng.choice(_KINDS)(language, moment, rng)


def _screenshot(language: str, moment: datetime, rng: Random) -> Attachment:
    width, height = rng.randrange(24, 64), rng.randrange(16, 40)
    # Every row starts with filter type 0; one grey byte per pixel. Stored, not squeezed: each
    # version of zlib squeezes differently, and the bytes should not.
    rows = b"".join(b"\0" + rng.randbytes(width) for _ in range(height))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk)) + kind + chunk + struct.pack(">I", zlib.crc32(kind + chunk))
        for kind, chunk in (
            (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(rows, 0)),
            (b"IEND", b""),
        )
    )
    stem = "capture d’écran" if language == "fr" else "screenshot"
    name = rng.choice((f"{stem} {moment:%Y-%m-%d}.png", f"image{rng.randrange(1, 9):03d}.png"))
    return Attachment(name, "image/png", data)


def _pdf(language: str, moment: datetime, rng: Random) -> Attachment:
    text = f"BT /F1 12 Tf 72 720 Td (Document {rng.randrange(10**6)}) Tj ET"
    objects = (
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(text)} >>\nstream\n{text}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    )
    data, offsets = "%PDF-1.4\n", []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    data += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    )
    stem = "pièce" if language == "fr" else "document"
    return Attachment(f"{stem}_{rng.randrange(1000)}.pdf", "application/pdf", data.encode("ascii"))


def _log(language: str, moment: datetime, rng: Random) -> Attachment:
    levels = ("INFO", "INFO", "WARN", "ERROR")
    lines = (
        f"{moment + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} {rng.choice(levels)} "
        f"service[{rng.randrange(9999)}]: status {rng.randrange(600)}\n"
        for second in range(rng.randrange(8, 40))
    )
    return Attachment(f"trace_{moment:%Y%m%d}.log", "text/plain", "".join(lines).encode("ascii"))


def _word(language: str, moment: datetime, rng: Random) -> Attachment:
    sheet = "http://schemas.openxmlformats.org"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{sheet}/package/2006/content-types">'
        '<Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-'
        'officedocument.wordprocessingml.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{sheet}/package/2006/relationships">'
        f'<Relationship Id="r1" Type="{sheet}/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": f'<w:document xmlns:w="{sheet}/wordprocessingml/2006/main"><w:body>'
        f"<w:p><w:r><w:t>{rng.randrange(10**9)}</w:t></w:r></w:p></w:body></w:document>",
    }
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            # ZipInfo's own date, 1980, instead of now: the same bytes every time.
            archive.writestr(zipfile.ZipInfo(name), f'<?xml version="1.0"?>{content}')
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    stem = "procédure" if language == "fr" else "procedure"
    return Attachment(f"{stem}_{rng.randrange(100)}.docx", media_type, buffer.getvalue())


_KINDS: tuple[Callable[[str, datetime, Random], Attachment], ...] = (
    _screenshot,
    _screenshot,
    _pdf,
    _log,
    _word,
)
