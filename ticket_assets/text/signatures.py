"""Cuts signatures, mobile footers and disclaimers, and nothing that could be the request."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MAX_LINES = 15
_MAX_CLOSING = 160


def cut_signature(lines: Sequence[str]) -> tuple[str, str]:
    """`lines` as text without its signature, and the signature.

    A closing ("Cordialement", "-- ") is cut with the few short lines below it: name, role,
    telephone, company. What reads like a sentence below it is kept. After a mere "Merci" the
    lines below must also hold an address or a telephone number.
    """
    body, footers = _cut_footers(lines)
    for index, line in enumerate(body):
        closing = line.strip(" *\t")
        if not closing or len(closing) > _MAX_CLOSING:
            continue
        if _is_closing(closing):
            length = _signature_length(body[index + 1 :])
        elif _THANKS.fullmatch(closing):
            length = _signature_length(body[index + 1 :])
            if length and not any(map(_CONTACT.search, body[index + 1 : index + 1 + length])):
                continue
        else:
            continue
        if length is not None and not (length == 0 and _THANKS.fullmatch(closing)):
            cut = index + 1 + length
            return (
                "\n".join([*body[:index], *body[cut:]]).strip(),
                "\n".join([*body[index:cut], *footers]).strip(),
            )
    return "\n".join(body).strip(), "\n".join(footers).strip()


def _is_closing(line: str) -> bool:
    if _DELIMITER.fullmatch(line) or _CLOSING.fullmatch(line):
        return True
    parts = re.split(r"\s*[/|]\s*", line)  # "Mit freundlichen Grüßen / Best regards"
    return len(parts) > 1 and all(map(_CLOSING.fullmatch, parts))


def _signature_length(lines: Sequence[str]) -> int | None:
    """How many of the lines below a closing belong to the signature; None if it is not one."""
    length = filled = 0
    for index, line in enumerate(lines):
        stripped = line.strip()
        if not stripped:
            length = index + 1
            continue
        if _is_content(stripped):
            # Content right below the name is doubtful: keep all. Below a blank line it is apart.
            return length if length == index else None
        filled += 1
        if filled > _MAX_LINES:
            return None
    return len(lines)


def _is_content(line: str) -> bool:
    if _AFTERWORD.match(line) or _TECHNICAL.search(line) or line.endswith("?"):
        return True
    if _CONTACT.search(line):
        return False
    words = line.split()
    starts_low = line[0].islower() and not line.lower().startswith(("i.a", "i.v", "i. a", "i. v"))
    return (
        len(words) > 8 or (len(words) > 2 and starts_low) or (len(words) > 4 and line[-1] in ".!")
    )


def _cut_footers(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines without mobile footers and without paragraphs that are disclaimers; the latter."""
    body: list[str] = []
    footers: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, ""]:
        stripped = line.strip(" *\t<>")
        if (
            _MOBILE.fullmatch(stripped)
            or _IMAGE.fullmatch(stripped)
            or _ENVIRONMENT.match(stripped)
        ):
            footers.append(line)
        elif line.strip():
            paragraph.append(line)
        else:
            (footers if _is_disclaimer(paragraph) else body).extend(paragraph)
            body.append(line)
            paragraph = []
    return body[:-1], footers


def _is_disclaimer(paragraph: Sequence[str]) -> bool:
    text = " ".join(paragraph[:20])
    return (
        len(text) >= 80
        and bool(_DISCLAIMER_START.match(text))
        and bool(_CONFIDENTIAL.search(text))
        and bool(_ADDRESSEE.search(text))
    )


def _phrases(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(phrases)})", re.IGNORECASE)


def _closings(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"(?:{'|'.join(phrases)})[\s,.;:!]*", re.IGNORECASE)


_DELIMITER = re.compile(r"--|__|—")
_CLOSING = _closings(
    # French
    r"(?:merci.{0,40}[,.!]? )?(?:(?:bien|très) )?(?:cordialement|amicalement|respectueusement)"
    r"(?: vôtre| à (?:vous|tous|toutes et tous))?",
    r"bien à (?:vous|toi|tous)",
    r"cdl?t|cdlmt",
    r"(?:sincères|meilleures|cordiales) salutations|salutations(?: distinguées)?",
    r"(?:je vous prie d['’]agréer|veuillez (?:agréer|recevoir)).{0,120}",
    r"(?:avec mes )?(?:sincères )?remerciements",
    r"bonne (?:journée|soirée|réception|fin de journée)(?: à (?:vous|tous))?",
    # English
    r"(?:with )?(?:thanks (?:and|&) )?(?:best|kind|warm|kindest|warmest|many)? ?regards",
    r"best wishes|all the best|yours (?:sincerely|faithfully|truly)|sincerely(?: yours)?|cheers",
    # German
    r"mit (?:freundlichen|besten|vielen|lieben|herzlichen) gr(?:ü|ue)(?:ß|ss)en",
    r"(?:viele|beste|liebe|freundliche|schöne) gr(?:ü|ue)(?:ß|ss)e(?: aus \w+)?",
    r"mfg|vg|lg|hochachtungsvoll",
    # Spanish
    r"(?:reciba )?(?:un )?(?:cordial )?(?:saludos?)(?: (?:cordial(?:es)?|atentos?))?",
    r"atentamente|atte|(?:muchas )?gracias y (?:un )?saludos?",
    # Portuguese
    r"atenciosamente|att|cordialmente|(?:um )?abraços?",
    r"(?:com os )?(?:melhores |meus )?cumprimentos",
)
_THANKS = _closings(
    r"(?:bien )?merci(?: (?:d['’]avance|beaucoup|par avance|à vous|bien|de votre aide))?",
    r"(?:many )?thanks(?: in advance| a lot)?|thank you(?: very much)?",
    r"(?:vielen |besten |herzlichen )?dank(?: im voraus)?|danke(?: schön)?",
    r"(?:muchas )?gracias(?: de antemano)?",
    r"(?:muito )?obrigad[oa]",
)
_MOBILE = re.compile(
    _phrases(
        r"(?:envoyé|expédié) (?:de|depuis|à partir d[eu']) ?"
        r"(?:mon|ma|yahoo|outlook|courrier|l['’]app\w*)\b",
        r"(?:télécharge[rz]|obtenir|obtenez) outlook pour",
        r"provenance : courrier pour",
        r"sent from (?:my|outlook|mail|yahoo|samsung|proton)\b",
        r"get outlook for",
        r"von mein\w+ .{1,30} gesendet",
        r"gesendet (?:von|mit) (?:mein\w*|mail|outlook|yahoo|der)\b",
        r"(?:outlook für \w+ (?:beziehen|herunterladen)|holen sie sich outlook für)",
        r"enviado (?:desde|do|a partir do|pelo) (?:mi|meu|outlook|yahoo|correo|correio|mail)\b",
        r"(?:obtener|descargar|obter o|baixar o|obtenha o) outlook para",
    ).pattern
    + r".{0,60}",
    re.IGNORECASE,
)
_IMAGE = re.compile(r"\[?(?:cid:\S+|image\d*\.\w{3,4})\]?", re.IGNORECASE)
_ENVIRONMENT = re.compile(
    r"\W{0,6}"
    + _phrases(
        r"pensez à l['’]environnement",
        r"n['’]imprimez (?:ce|cet)",
        r"(?:please )?(?:consider|think of) the environment",
        r"bitte denken sie an die umwelt",
        r"(?:piense|pense) (?:en el medio|no meio) ambiente",
    ).pattern,
    re.IGNORECASE,
)
_DISCLAIMER_START = re.compile(
    r"\W{0,6}"
    + _phrases(
        r"ce (?:message|mail|courriel|courrier)",
        r"cet e-?mail",
        r"les informations contenues",
        r"this (?:e-?mail|message|communication)",
        r"the (?:information|contents?)",
        r"diese (?:e-?mail|nachricht)",
        r"este (?:mensaje|correo|e-?mail)",
        r"esta (?:mensagem|comunicaci)",
        r"(?:confidential|disclaimer|avis|aviso|hinweis)",
    ).pattern,
    re.IGNORECASE,
)
_CONFIDENTIAL = _phrases(
    "confident?iel", "confidential", "privileged", "vertraulich", "confidencia"
)
_ADDRESSEE = _phrases(
    "destinat[aá][ir]", "pièces? jointes?", "recipient", "intended", "addressee", "attachment",
    "empfänger", "adressat", "anhäng", "unbefugt", "adjunto", "anexo",
)  # fmt: skip
_CONTACT = re.compile(
    r"@|\S \| \S|\bwww\.|https?://|\+[0-9]|\b[0-9]{2}(?:[ .\-][0-9]{2}){3}|\b[0-9]{4,5} [A-ZÀ-Ü]"
    r"|\b(?i:tél|tel|téléphone|phone|mob|mobile|portable|fax|gsm|handy|móvil|telemóvel)\b\W{0,3}[0-9(]"
)
_AFTERWORD = re.compile(r"(?:p\.?\s?s|n\.?\s?b|p\.?\s?j|edit|nota)\b\.?\s?[:.]", re.IGNORECASE)
_TECHNICAL = _phrases(
    r"\b0x[0-9a-f]+", r"[a-z]:\\", r"\b(?:erreur|error|fehler|erro)\b", r"\b[a-z]{2,5}-[0-9]{4,}"
)
