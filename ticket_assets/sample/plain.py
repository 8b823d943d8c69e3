"""Letters as plain text: line lengths, signature separators and the quoting styles."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from ticket_assets.sample import dates
from ticket_assets.sample.letters import Letter, Quoted

_FIELDS = {"fr": ("De", "Envoyé", "À", "Objet"), "en": ("From", "Sent", "To", "Subject")}
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
"""What current Outlook and Gmail put before a French colon."""


@dataclass(frozen=True)
class Style:
    """How a client lays out plain text."""

    quoting: str
    """"angles", "header_block" (Outlook) or "original_message" (older Outlook)."""
    separator: str = ""
    """Line above the signature, "-- " where the client marks it."""
    flowed: bool = False
    """Whether lines are wrapped as RFC 3676 format=flowed."""
    attribution_short: bool = False
    """Whether the line above a quote leaves the address out."""
    tag: dict[str, str] = field(default_factory=dict)
    """What a mobile client adds at the end, by language."""


def written(letter: Letter, style: Style) -> str:
    """The whole plain text body, quotes included."""
    language = letter.author.language
    blocks = ["\n".join(_wrapped(text, style)) for text in letter.paragraphs]
    if letter.sign_off:
        blocks.append("\n".join(letter.sign_off))
    if letter.author.signature and not style.tag:
        lines = [*([style.separator] if style.separator else []), *letter.author.signature]
        blocks.append("\n".join(lines))
    if style.tag:
        blocks.append(style.tag[language])
    if letter.quoted:
        blocks.append(_quoted(letter, style, language))
    return "\n\n".join(blocks) + "\n"


def attribution(quoted: Quoted, language: str, short: bool) -> str:
    """The line above a quote, such as "Le lun. 3 nov. 2025 à 09:12, X <x@y> a écrit :"."""
    moment = quoted.moment
    author = quoted.name if short else f"{quoted.name} <{quoted.address}>"
    if language == "en":
        return f"On {dates.abbreviated(moment, language)}, {author} wrote:"
    if short:
        return f"Le {dates.numeric(moment, language)} à {moment:%H:%M}, {author} a écrit :"
    return f"Le {dates.abbreviated(moment, language)}, {author} a écrit{NO_BREAK_SPACE}:"


def header_fields(
    quoted: Quoted, recipient: str, language: str, space: str
) -> list[tuple[str, str]]:
    """The four lines that Outlook puts above an earlier message: label with colon, value.

    `space` is what stands before the colon in French.
    """
    colon = f"{space}:" if language == "fr" else ":"
    values = (
        f"{quoted.name} <{quoted.address}>",
        dates.full(quoted.moment, language),
        recipient,
        quoted.subject,
    )
    labels = [f"{name}{colon}" for name in _FIELDS[language]]
    return list(zip(labels, values, strict=True))


def recipients(letter: Letter) -> list[str]:
    """To whom each of the quoted messages went, in their order."""
    if letter.forwarded:
        return [f"{letter.author.name} <{letter.author.address}>"]
    first = letter.quoted[-1]
    return [f"{first.name} <{first.address}>"] * (len(letter.quoted) - 1) + ["support@example.org"]


def _quoted(letter: Letter, style: Style, language: str) -> str:
    if style.quoting == "angles" and not letter.forwarded:
        return "\n".join(_in_angles(letter.quoted, style, language))
    heading = {
        ("header_block", "fr"): "_" * 32,
        ("header_block", "en"): "_" * 32,
        ("original_message", "fr"): "-----Message d'origine-----",
        ("original_message", "en"): "-----Original Message-----",
        ("angles", "fr"): "---------- Forwarded message ---------"
        if style.separator
        else "Début du message réexpédié :",
        ("angles", "en"): "---------- Forwarded message ---------"
        if style.separator
        else "Begin forwarded message:",
    }[style.quoting, language]
    space = NO_BREAK_SPACE if style.quoting == "header_block" else " "
    blocks = []
    for quoted, recipient in zip(letter.quoted, recipients(letter), strict=True):
        fields = header_fields(quoted, recipient, language, space)
        lines = [f"{name} {value}" for name, value in fields]
        blocks.append("\n".join([heading, *lines, "", "\n\n".join(quoted.paragraphs)]))
    return "\n\n".join(blocks)


def _in_angles(chain: tuple[Quoted, ...], style: Style, language: str) -> list[str]:
    first, *earlier = chain
    inner = [line for text in first.paragraphs for line in (*textwrap.wrap(text, 70), "")]
    if earlier:
        inner += _in_angles(tuple(earlier), style, language)
    else:
        inner = inner[:-1]
    # Gmail breaks the line in the middle of "a écrit".
    heading = textwrap.wrap(attribution(first, language, style.attribution_short), 76)
    return [*heading, *(f">{line}" if line.startswith(">") else f"> {line}" for line in inner)]


def _wrapped(text: str, style: Style) -> list[str]:
    if not style.flowed:
        return [text]
    lines = textwrap.wrap(text, 71, break_long_words=False, break_on_hyphens=False)
    # A trailing space says that the paragraph goes on (RFC 3676).
    return [*(f"{line} " for line in lines[:-1]), *lines[-1:]]
