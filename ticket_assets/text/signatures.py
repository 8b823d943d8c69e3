"""Cuts signatures, mobile footers and disclaimers, and nothing that could be the request."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile

_MAX_LINES = 15
_MAX_CLOSING = 160
_MAX_BLOCK = 8
_MAX_BLOCK_LINE = 110

NameWords = frozenset[str]
"""The words of a person's name, as `name_words` folds them; empty when nobody knows it."""


def name_words(name: str | None) -> NameWords:
    """The words of `name` in any order, without case, accents and initials."""
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode()
    return frozenset(word for word in re.findall(r"[a-z]{2,}", plain.lower()))


def cut_signature(lines: Sequence[str], author: NameWords = frozenset()) -> tuple[str, str]:
    """`lines` as text without its signature, and the signature.

    A closing ("Cordialement", "-- ") is cut with the few short lines below it: name, role,
    telephone, company. What reads like a sentence below it is kept. After a mere "Merci" the
    lines below must also hold an address or a telephone number, or be the name of the `author`.
    Without a closing, a last paragraph of name, role and contact details is cut, and the author's
    name alone on the last line. Banners that a mail gateway put on top are cut too.
    """
    body, footers = _cut_footers(lines)
    body, banner = _cut_banners(body)
    own, signature = _cut_below_closing(body, author)
    own, block = _cut_block(own, author)
    own, name = _cut_name(own, author | name_words(block[0]) if block else author)
    return "\n".join(own).strip(), "\n".join([*banner, *name, *block, *signature, *footers]).strip()


def _cut_below_closing(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    for index, line in enumerate(body):
        closing = line.strip(" *\t")
        if not closing or len(closing) > _MAX_CLOSING:
            continue
        if _is_closing(closing):
            length = _signature_length(body[index + 1 :])
        elif _THANKS.fullmatch(closing):
            length = _signature_length(body[index + 1 :])
            below = body[index + 1 : index + 1 + (length or 0)]
            if not any(map(_CONTACT.search, below)) and not _is_name_only(below, author):
                continue
        else:
            continue
        if length is not None and not (length == 0 and _THANKS.fullmatch(closing)):
            cut = index + 1 + length
            return [*body[:index], *body[cut:]], body[index:cut]
    return body, []


def _cut_block(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    """Cuts a last paragraph that is a person's name, role and contact details.

    Whose details? Not the author's when the text above announces them ("le compte de :"), when
    the author is known and somebody else is named, or, for an unknown author, when the paragraph
    above is not a finished sentence or speaks of accounts and colleagues.
    """
    lines = _without_blank_end(body)
    start = len(lines) - len(list(takewhile(str.strip, reversed(lines))))
    block = lines[start:]
    above = "".join(_without_blank_end(lines[:start])[-1:]).strip(" *\t")
    if (
        not 2 <= len(block) <= _MAX_BLOCK
        or not re.search(r"\w", above)
        or _ANNOUNCES.search(above[-80:])
        or not any(map(_CONTACT.search, block))
        or any(map(_is_no_detail, block))
    ):
        return body, []
    name = name_words(block[0])
    if author:
        is_named = bool(name) and (author <= name or name <= author)
    else:
        is_named = (
            bool(_NAME.fullmatch(block[0].strip(" *\t,")))
            and above[-1] in ".!?…)"
            and any(map(_REACHED.search, block))
            and not _SOMEBODY_ELSE.search(above)
        )
    return (lines[:start], block) if is_named else (body, [])


def _is_no_detail(line: str) -> bool:
    line = line.strip(" *\t")
    return (
        len(line) > _MAX_BLOCK_LINE
        or bool(_AFTERWORD.match(line) or _TECHNICAL.search(line) or _TROUBLE.search(line))
        or bool(_SENTENCE.search(line) or _BULLET.match(line))
        or bool(_LABEL.match(line) and not _CONTACT.search(line))
    )


def _cut_name(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    """Cuts the author's name on the last line, unless it belongs to a list or a sentence."""
    lines = _without_blank_end(body)
    if not _is_name_only(lines[-1:], author):
        return body, []
    above = "".join(_without_blank_end(lines[:-1])[-1:]).strip(" *\t")
    is_apart = lines[-2:-1] in ([], [""]) or above[-1:] in ".!?…" or _THANKS.fullmatch(above)
    return (
        (lines[:-1], lines[-1:]) if is_apart and not _ANNOUNCES.search(above[-40:]) else (body, [])
    )


def _is_name_only(lines: Sequence[str], author: NameWords) -> bool:
    names = [name_words(line) for line in lines if line.strip()]
    return (
        bool(names)
        and all(name and name <= author for name in names)
        and not re.search(r"[0-9?:/\\@]", "".join(lines))
    )


def _without_blank_end(lines: Sequence[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return list(lines[:end])


def _cut_banners(body: list[str]) -> tuple[list[str], list[str]]:
    """Cuts the warning about an outside sender that a gateway puts above the first words."""
    start = next((index for index, line in enumerate(body) if line.strip()), len(body))
    end = start
    # Line by line: the request may begin right below.
    while end < len(body) and _is_banner(body[end].strip(" *\t"), is_first=end == start):
        end += 1
    rest = body[end:]
    if end == start or not any(map(str.strip, rest)):
        return body, []
    return rest, body[start:end]


def _is_banner(line: str, *, is_first: bool) -> bool:
    """Whether every sentence of the line is a gateway's warning; its first line says "outside"."""
    if not line or len(line) > _MAX_BANNER or _is_personal(line):
        return False
    if is_first and _TAG.fullmatch(line):
        return True
    sentences = [
        part for part in re.split(r"(?<=[.!:]) ", line) if len(re.findall(r"\w+", part)) > 1
    ]
    if is_first and not any(map(_BANNER.match, sentences)):
        return False
    return bool(sentences) and all(
        (_BANNER.match(part) and not _TROUBLE.search(part)) or _ADVICE.search(part)
        for part in sentences
    )


def _is_closing(line: str) -> bool:
    if _DELIMITER.fullmatch(line) or _CLOSING.fullmatch(line):
        return True
    if "/" not in line and "|" not in line:
        return False
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
    if len(words) > 1 and _TROUBLE.search(line):
        return True
    starts_low = line[0].islower() and not line.lower().startswith(("i.a", "i.v", "i. a", "i. v"))
    return (
        len(words) > 8 or (len(words) > 2 and starts_low) or (len(words) > 4 and line[-1] in ".!")
    )


def _cut_footers(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines without mobile footers and without paragraphs that are disclaimers; the latter."""
    body: list[str] = []
    footers: list[str] = []
    paragraph: list[str] = []
    folded = "\n".join(lines).lower()
    may_have_footers = any(word in folded for word in _FOOTER_WORDS)
    for line in [*lines, ""]:
        stripped = line.strip(" *\t<>")
        if may_have_footers and (
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
        and not _is_personal(text)
    )


def _is_personal(text: str) -> bool:
    """Whether somebody speaks of himself or asks, which a company's own text does not."""
    return "?" in text or bool(_FIRST_PERSON.search(text))


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
    r"best(?: wishes)?|all the best|yours (?:sincerely|faithfully|truly)",
    r"sincerely(?: yours)?|cheers",
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
        r"(?:avant d['’]imprimer.{0,40})?pensez à l['’]environnement",
        r"n['’]imprimez (?:ce|cet)",
        r"(?:please )?(?:consider|think of) the environment",
        r"bitte denken sie an die umwelt",
        r"(?:piense|pense) (?:en el medio|no meio) ambiente",
    ).pattern,
    re.IGNORECASE,
)
# In every footer above there is one of them: one search instead of three for each line.
_FOOTER_WORDS = (
    *("envoyé", "expédié", "outlook", "courrier pour", "sent from", "gesendet", "enviado"),
    *("image", "cid:", "environnement", "environment", "imprimez", "umwelt", "ambiente"),
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
    "diffusion non autorisée", "unauthori[sz]ed", "no autorizad", "não autorizad",
)  # fmt: skip
_FIRST_PERSON = re.compile(
    r"\b(?:je|mon|ma|mes|moi|i|my|ich|mein\w*|mir|mich|yo|mi|mis|eu|meu|minha)\b"
    r"|\b(?:j|m)['’]",
    re.IGNORECASE,
)
_MAX_BANNER = 400
_ADVICE = re.compile(
    r"\b(?:do not|don['’]t) (?:click|open|reply)|\bunless you|\blearn why|\bbe careful"
    r"|\bne cliquez|\bn['’]ouvrez|\bsauf si vous|\bdécouvrez pourquoi|\bsoyez (?:prudent|vigilant)"
    r"|\bklicken sie|\böffnen sie|\bseien sie vorsichtig|\berfahren sie, warum"
    r"|\bno haga clic|\bno abra|\bdescubra por qué|\bnão clique|\bnão abra|\bsaiba por que",
    re.IGNORECASE,
)
_TAG = re.compile(
    r"[\[(<*#]{1,3} ?(?:extern(?:al|e|o|er)?|ext|mail externe|correo externo|externe e-?mail"
    r"|e-?mail externo|external (?:e-?mail|sender)|expéditeur externe) ?[\])>*#]{1,3}:?",
    re.IGNORECASE,
)
_BANNER = re.compile(
    r"\W{0,6}(?:\w+\W{1,3})?(?:"
    r"this (?:e-?mail|message|sender)\b.{0,30}\bfrom\b.{0,30}\b(?:outside|external)"
    r"|external (?:e-?mail|sender|message)[.:!]?$"
    r"|(?:e-?mail|message|courriel|mail|expéditeur) (?:externe|extérieur)[.:! ]*$"
    r"|(?:ce|cet) (?:e-?mail|message|courriel|mail) (?:provient|vient|émane|a été envoyé)\b.{0,60}"
    r"\b(?:externe|extérieur|hors de)"
    r"|(?:diese|dies ist eine|externe) (?:e-?mail|nachricht)\b.{0,60}\b(?:extern|außerhalb|anhänge)"
    r"|externer absender"
    r"|(?:este|correo|mensaje|esta|e-?mail|mensagem)\b.{0,60}\b(?:extern[oa]|fuera de|fora d)"
    r"|(?:you don['’]t often get (?:e-?mail|messages?) from"
    r"|vous n['’]obtenez pas souvent|vous ne recevez pas souvent"
    r"|sie erhalten nicht (?:häufig|oft) e-?mails von"
    r"|no suele recibir|não costuma receber|não recebe frequentemente)"
    r")",
    re.IGNORECASE,
)
_CONTACT = re.compile(
    r"@|\S \| \S|\bwww\.|https?://|\+[0-9]|\b[0-9]{2}(?:[ .\-][0-9]{2}){3}|\b[0-9]{4,5} [A-ZÀ-Ü]"
    r"|\b(?i:tél|tel|téléphone|telefone?|teléfono|tfno|phone|mob|mobile?|portable|port|fax|gsm"
    r"|handy|móvil|telemóvel|direct|ligne directe|durchwahl)\b\W{0,5}[0-9(]"
)
_NAME = re.compile(
    r"(?:(?:dr|m|mme|mr|mrs|ms|herr|frau|sr|sra)\.? )?"
    r"[A-ZÀ-Þ][^\W\d_]*\.?(?:['’-][^\W\d_]+)*"
    r"(?: (?:(?:de|du|da|dos|van|von|der|del|la|le) )*"
    r"[A-ZÀ-Þ][^\W\d_]*\.?(?:['’-][^\W\d_]+)*){1,4}"
)
# Three words in a row in lower case, the little ones of titles and streets aside.
_SMALL = r"(?:de|du|des|d['’]|la|le|les|l['’]|et|of|and|the|für|und|der|die|y|e|do|da|dos|del|en)"
_SENTENCE = re.compile(
    rf"(?:(?<![\w@.])(?!{_SMALL}\b)[a-zà-ÿ][\w'’]*,?(?: {_SMALL})* ){{2}}(?!{_SMALL}\b)[a-zà-ÿ]"
    r"|[?!…]$|\b(?:je|nous|vous|il|elle|ich|wir|i|we|you|it|yo|eu)\b(?![.:/])"
)
_BULLET = re.compile(r"[-*•·–]\s|[0-9]{1,2}[.)]\s|[a-z]\)\s")
_LABEL = re.compile(r"[^\W\d][\w .°'’-]{1,24}\s?:(?!//)")
_ANNOUNCES = re.compile(
    r":$|\b(?:suivante?s?|ci-dessous|ci-après|coordonnées|contact\w*|following|below|details"
    r"|folgende\w*|unten|kontakt\w*|siguientes?|datos|seguintes?|dados)\b|\b(?:pour|for|für|para)$",
    re.IGNORECASE,
)
_TROUBLE = re.compile(
    r"\b(?:pas|plus|panne|hs|h\.s|bloqué\w*|cassé\w*|noir|lente?|perdue?|écran|imprimante|clavier"
    r"|accès|not|no|down|broken|stuck|slow|lost|printer|screen|keyboard|password|kaputt|defekt"
    r"|nicht|kein\w*|drucker|bildschirm|gesperrt|roto|rota|falla|impresora|pantalla|não|avariad[oa]"
    r"|impressora|ecrã|vpn|pc|ticket|urgente?|dringend)\b",
    re.IGNORECASE,
)
_SOMEBODY_ELSE = re.compile(
    r"\b(?:annuaire|comptes?|utilisat\w*|collègues?|collaborat\w*|arriv\w*|nouvel\w*|nouveau|créer|ajouter"
    r"|badge|directory|accounts?|users?|colleague|joins?|new|create|add|konto|benutzer|kolleg\w*|neue\w*"
    r"|anlegen|cuenta|usuari\w*|nuev[oa]|crear|conta|utilizador\w*|nov[oa]|criar|person\w*)\b",
    re.IGNORECASE,
)
_REACHED = re.compile(r"\w@\w|\bwww\.|\+[0-9]|(?:[0-9][ .()/-]{0,3}){8}")
_AFTERWORD = re.compile(r"(?:p\.?\s?s|n\.?\s?b|p\.?\s?j|edit|nota)\b\.?\s?[:.]", re.IGNORECASE)
_TECHNICAL = _phrases(
    r"\b0x[0-9a-f]+", r"[a-z]:\\", r"\b(?:erreur|error|fehler|erro)\b", r"\b[a-z]{2,5}-[0-9]{4,}"
)
