"""Letters as HTML, with the markup by which Outlook, Gmail, Apple Mail and others are known."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from ticket_assets.sample import plain
from ticket_assets.sample.letters import Letter, Quoted


@dataclass(frozen=True)
class Style:
    """The templates of one client."""

    page: str
    paragraph: str
    signature: str
    quote: str
    """Around an earlier message; holds {heading} and {text}."""
    header_block: bool
    """Whether the heading of a quote is Outlook's block of fields, else one attribution line."""


_FIELDS_BOX = (
    '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm">\n'
    '<p class="MsoNormal">{heading}</p></div>\n{text}'
)

WORD = Style(
    page=(
        '<html xmlns:v="urn:schemas-microsoft-com:vml" '
        'xmlns:o="urn:schemas-microsoft-com:office:office" xmlns="http://www.w3.org/TR/REC-html40">'
        '<head><meta name="Generator" content="Microsoft Word 15 (filtered medium)">\n'
        "<style><!--\n/* Style Definitions */\np.MsoNormal, li.MsoNormal, div.MsoNormal\n"
        '\t{{margin:0cm;font-size:11.0pt;font-family:"Calibri",sans-serif;}}\n'
        "a:link {{mso-style-priority:99;color:#0563C1;}}\n--></style></head>\n"
        '<body lang="{language}" link="#0563C1" style="word-wrap:break-word">\n'
        '<div class="WordSection1">\n{content}\n</div>\n</body></html>\n'
    ),
    paragraph='<p class="MsoNormal">{text}<o:p></o:p></p>\n'
    '<p class="MsoNormal"><o:p>&nbsp;</o:p></p>',
    signature='<p class="MsoNormal"><span style="color:#1F4E79">{text}<o:p></o:p></span></p>',
    quote=_FIELDS_BOX,
    header_block=True,
)
MOBILE = Style(
    page=(
        '<html><head><meta http-equiv="Content-Type" content="text/html"></head>\n'
        '<body dir="auto" lang="{language}">\n{content}\n</body></html>\n'
    ),
    paragraph='<div dir="ltr" style="font-family: Aptos, sans-serif;">{text}</div>\n'
    "<div><br></div>",
    signature='<div id="ms-outlook-mobile-signature"><div></div>{text}</div>',
    quote='<hr style="display:inline-block;width:98%" tabindex="-1">\n'
    '<div id="divRplyFwdMsg" dir="ltr"><font face="Calibri, sans-serif">{heading}</font></div>\n'
    "{text}",
    header_block=True,
)
GMAIL = Style(
    page='<div dir="ltr">{content}</div>\n',
    paragraph="<div>{text}</div>\n<div><br></div>",
    signature='<span class="gmail_signature_prefix">-- </span><br>'
    '<div dir="ltr" class="gmail_signature" data-smartmail="gmail_signature">{text}</div>',
    quote='<br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">{heading}<br></div>'
    '<blockquote class="gmail_quote" style="margin:0px 0px 0px 0.8ex;'
    'border-left:1px solid rgb(204,204,204);padding-left:1ex">{text}</blockquote></div>',
    header_block=False,
)
APPLE = Style(
    page='<html><head></head><body dir="auto" style="overflow-wrap: break-word;">'
    "{content}</body></html>\n",
    paragraph="<div>{text}</div>\n<div><br></div>",
    signature='<div dir="ltr">{text}</div>',
    quote='<div><br><blockquote type="cite"><div>{heading}</div><br>{text}</blockquote></div>',
    header_block=False,
)
THUNDERBIRD = Style(
    page='<!DOCTYPE html>\n<html>\n  <head>\n  </head>\n  <body text="#000000" '
    'bgcolor="#FFFFFF">\n{content}\n  </body>\n</html>\n',
    paragraph="    <p>{text}</p>",
    signature='    <div class="moz-signature">-- <br>\n{text}</div>',
    quote='    <div class="moz-cite-prefix">{heading}<br></div>\n'
    '    <blockquote type="cite" cite="mid:quoted@example.org">\n{text}</blockquote>',
    header_block=False,
)


def written(letter: Letter, style: Style, plain_style: plain.Style) -> str:
    """The HTML page that says what `plain.written` says."""
    language = letter.author.language
    blocks = [style.paragraph.format(text=_escaped(text)) for text in letter.paragraphs]
    if letter.sign_off:
        blocks.append(style.paragraph.format(text=_lines(letter.sign_off)))
    if plain_style.tag:
        blocks.append(style.signature.format(text=_escaped(plain_style.tag[language])))
    elif letter.author.signature:
        blocks.append(style.signature.format(text=_lines(letter.author.signature)))
    if letter.quoted:
        blocks.append(_quoted(letter, style, language, 0))
    return style.page.format(content="\n".join(blocks), language=language.upper())


def _quoted(letter: Letter, style: Style, language: str, depth: int) -> str:
    quoted, recipient = letter.quoted[depth], plain.recipients(letter)[depth]
    text = "\n".join(style.paragraph.format(text=_escaped(text)) for text in quoted.paragraphs)
    if depth + 1 < len(letter.quoted):
        text += "\n" + _quoted(letter, style, language, depth + 1)
    heading = _heading(quoted, recipient, language, style.header_block or letter.forwarded)
    return style.quote.format(heading=heading, text=text)


def _heading(quoted: Quoted, recipient: str, language: str, header_block: bool) -> str:
    if header_block:
        fields = plain.header_fields(quoted, recipient, language, plain.NO_BREAK_SPACE)
        return "<br>\n".join(f"<b>{name}</b> {_escaped(value)}" for name, value in fields)
    return _escaped(plain.attribution(quoted, language, short=False))


def _escaped(text: str) -> str:
    return escape(text, quote=False)


def _lines(lines: tuple[str, ...]) -> str:
    return "<br>\n".join(_escaped(line) for line in lines)
