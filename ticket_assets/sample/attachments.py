"""Small files as people attach them: a screenshot, a PDF, a log, a Word document."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

from ticket_assets.sample.material import entries
from ticket_assets.sample.wording import Pen


@dataclass(frozen=True)
class Attachment:
    name: str
    media_type: str
    data: bytes


def attachment(pen: Pen) -> Attachment:
    """A file of some hundred bytes to a few kB that opens as what it claims to be."""
    return pen.rng.choice(_KINDS)(pen)


def _screenshot(pen: Pen) -> Attachment:
    rng = pen.rng
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
    stem = pen.language.forms.attachments["screenshot"]
    name = rng.choice((f"{stem} {pen.moment:%Y-%m-%d}.png", f"image{rng.randrange(1, 9):03d}.png"))
    return Attachment(name, "image/png", data)


def _pdf(pen: Pen) -> Attachment:
    material = entries("attachments.yaml")
    text = material["pdf_text"].format(number=pen.rng.randrange(10**6))
    data, offsets = "%PDF-1.4\n", []
    for number, template in enumerate(material["pdf_objects"], start=1):
        offsets.append(len(data))
        content = template.replace("{length}", str(len(text))).replace("{text}", text)
        data += f"{number} 0 obj\n{content}\nendobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    size = len(offsets) + 1
    data += (
        f"xref\n0 {size}\n0000000000 65535 f \n{table}"
        f"trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{len(data)}\n%%EOF\n"
    )
    name = f"{pen.language.forms.attachments['document']}_{pen.rng.randrange(1000)}.pdf"
    return Attachment(name, "application/pdf", data.encode("ascii"))


def _log(pen: Pen) -> Attachment:
    rng = pen.rng
    lines = (
        f"{pen.moment + timedelta(seconds=second):%Y-%m-%d %H:%M:%S} "
        f"{rng.choice(('INFO', 'INFO', 'WARN', 'ERROR'))} "
        f"service[{rng.randrange(9999)}]: status {rng.randrange(600)}\n"
        for second in range(rng.randrange(8, 40))
    )
    name = f"trace_{pen.moment:%Y%m%d}.log"
    return Attachment(name, "text/plain", "".join(lines).encode("ascii"))


def _word(pen: Pen) -> Attachment:
    number = str(pen.rng.randrange(10**9))
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in entries("attachments.yaml")["word_files"].items():
            # ZipInfo's own date, 1980, instead of now: the same bytes every time.
            archive.writestr(zipfile.ZipInfo(name), content.replace("{number}", number))
    media_type = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    name = f"{pen.language.forms.attachments['procedure']}_{pen.rng.randrange(100)}.docx"
    return Attachment(name, media_type, buffer.getvalue())


_KINDS: tuple[Callable[[Pen], Attachment], ...] = (_screenshot, _screenshot, _pdf, _log, _word)
