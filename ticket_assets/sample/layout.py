"""Letters as mail clients lay them out: plain text and HTML, signatures and quotes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from html import escape

from ticket_assets.sample.letters import Letter, Quoted
from ticket_assets.sample.material import Language, MailClient


def plain_text(letter: Letter, client: MailClient) -> str:
    """The whole plain text body, quotes included."""
    blocks = [_flowed(text) if client.flowed else text for text in letter.paragraphs]
    if letter.sign_off:
        blocks.append("\n".join(letter.sign_off))
    if signature := _signature(letter, client):
        mark = [client.signature_mark] if client.signature_mark else []
        blocks.append("\n".join([*mark, *signature]))
    if client.in_angles and not letter.forwarded:
        blocks += _quotes_in_angles(letter, client)
    else:
        blocks += _quotes_below_fields(letter, client)
    return "\n\n".join(blocks) + "\n"


def html_page(letter: Letter, client: MailClient) -> str:
    """The HTML page that says what `plain_text` says."""
    style = client.html
    blocks = [style.paragraph.format(text=_html([text])) for text in letter.paragraphs]
    if letter.sign_off:
        blocks.append(style.paragraph.format(text=_html(letter.sign_off)))
    if signature := _signature(letter, client):
        blocks.append(style.signature.format(text=_html(signature)))
    blocks += _html_quotes(letter, client)
    return style.page.format(
        content="\n".join(blocks), language=letter.author.language.code.upper()
    )


def _signature(letter: Letter, client: MailClient) -> tuple[str, ...]:
    """What a mobile client adds by itself, else the author's own."""
    line = letter.author.language.forms.client_lines.get(client.name)
    return (line,) if line else letter.author.signature


def _quotes_in_angles(letter: Letter, client: MailClient) -> list[str]:
    """The quoted messages as one block, each within the next, or none."""
    lines: list[str] = []
    for quoted in reversed(letter.quoted):
        text = [part for text in quoted.paragraphs for part in (*textwrap.wrap(text, 70), "")]
        inner = text + lines if lines else text[:-1]
        attribution = _attribution(quoted, letter.author.language, client.short_attribution)
        # Gmail breaks the line in the middle of "a écrit".
        lines = textwrap.wrap(attribution, 76)
        lines += [f">{line}" if line.startswith(">") else f"> {line}" for line in inner]
    return ["\n".join(lines)] if lines else []


def _quotes_below_fields(letter: Letter, client: MailClient) -> list[str]:
    blocks = []
    for quoted in letter.quoted:
        lines = [letter.author.language.forms.quote_headings[client.quote_heading]]
        for label, value in _header_fields(quoted, letter.author.language):
            line = label if client.no_break_spaces else label.replace("\N{NO-BREAK SPACE}", " ")
            lines.append(f"{line} {value}")
        blocks.append("\n".join([*lines, "", "\n\n".join(quoted.paragraphs)]))
    return blocks


def _html_quotes(letter: Letter, client: MailClient) -> list[str]:
    """The quoted messages as one block, each within the next, or none."""
    style, language = client.html, letter.author.language
    block: list[str] = []
    for quoted in reversed(letter.quoted):
        if style.header_block or letter.forwarded:
            fields = _header_fields(quoted, language)
            heading = "<br>\n".join(f"<b>{label}</b> {_html([value])}" for label, value in fields)
        else:
            heading = _html([_attribution(quoted, language, short=False)])
        paragraphs = [style.paragraph.format(text=_html([text])) for text in quoted.paragraphs]
        block = [style.quote.format(heading=heading, text="\n".join(paragraphs + block))]
    return block


def _attribution(quoted: Quoted, language: Language, short: bool) -> str:
    form = language.forms.short_attribution if short else language.forms.attribution
    return language.dated(form, quoted.moment, name=quoted.name, address=quoted.address)


def _header_fields(quoted: Quoted, language: Language) -> list[tuple[str, str]]:
    """The four lines that Outlook puts above an earlier message: label with colon, value."""
    date = language.dated(language.forms.header_date, quoted.moment)
    values = (f"{quoted.name} <{quoted.address}>", date, quoted.recipient, quoted.subject)
    return list(zip(language.forms.header_labels, values, strict=True))


def _flowed(text: str) -> str:
    # A trailing space says that the paragraph goes on (RFC 3676).
    return " \n".join(textwrap.wrap(text, 71, break_long_words=False, break_on_hyphens=False))


def _html(lines: Iterable[str]) -> str:
    return "<br>\n".join(escape(line, quote=False) for line in lines)
