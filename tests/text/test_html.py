"""HTML bodies of the common clients become text whose quotes the reply splitter recognises."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.text.html import html_to_text
from ticket_assets.text.quoting import split_reply


def test_lines_lists_and_tables_stay_readable() -> None:
    html = (
        "<p>Bonjour&nbsp;&eacute;quipe,</p><p>Deux soucis&nbsp;:<br>voir ci-dessous</p>"
        "<ul><li>écran</li><li>souris</li></ul>"
        "<table><tr><td>Code</td><td>0x80070005</td></tr><tr><td>Poste</td><td>PC-204</td></tr></table>"
    )

    text = html_to_text(html)

    assert [line.strip() for line in text.split("\n") if line.strip()] == [
        "Bonjour équipe,",
        "Deux soucis :",
        "voir ci-dessous",
        "• écran",
        "• souris",
        "Code 0x80070005",
        "Poste PC-204",
    ]


def test_what_is_not_seen_is_dropped() -> None:
    html = (
        "<html><head><title>T</title><style>p{color:red}</style></head><body>"
        "<script>alert(1)</script><div style='display:none'>aperçu</div><!-- note -->"
        "<p>vu</p><img alt='logo' src='cid:1'></body></html>"
    )

    assert html_to_text(html).strip() == "vu"


CLIENTS = {
    "gmail": """
        <div dir="ltr">Toujours en panne.</div><br>
        <div class="gmail_quote"><div dir="ltr" class="gmail_attr">Le lun. 12 mars 2024 à 10:22, S
        &lt;<a href="mailto:s@x.fr">s@x.fr</a>&gt; a écrit&nbsp;:<br></div>
        <blockquote class="gmail_quote"><div>Bonjour</div></blockquote></div>""",
    "apple mail": """
        <div>Toujours en panne.</div>
        <blockquote type="cite"><div>Le 12 mars 2024 à 10:22, S a écrit :</div><br>
        <div>Bonjour</div></blockquote>""",
    "thunderbird, unlisted language": """
        <p>Toujours en panne.</p><div class="moz-cite-prefix">Ngày 12 S viết:<br></div>
        <blockquote type="cite" cite="mid:1"><p>Bonjour</p></blockquote>""",
    "outlook web": """
        <div>Toujours en panne.</div><div id="appendonsend"></div><hr>
        <div id="divRplyFwdMsg"><b>De :</b> S &lt;s@x.fr&gt;<br><b>Envoyé :</b> lundi<br>
        <b>À :</b> J<br><b>Objet :</b> VPN</div><div>Bonjour</div>""",
    "outlook web, unlisted language": """
        <div>Toujours en panne.</div>
        <div id="divRplyFwdMsg"><b>Od:</b> S<br><b>Wysłano:</b> x<br></div><div>Bonjour</div>""",
    "outlook desktop": """
        <p class=MsoNormal>Toujours en panne.<o:p></o:p></p>
        <div style="border:none;border-top:solid #E1E1E1 1.0pt"><p class=MsoNormal>
        <b>De&nbsp;:</b> S<br><b>Envoyé&nbsp;:</b> lundi<br><b>À&nbsp;:</b> J<br>
        <b>Objet&nbsp;:</b> VPN</p></div><p>Bonjour</p>""",
    "yahoo": """
        <div>Toujours en panne.</div><div class="yahoo_quoted">
        <div>Le lundi 12 mars 2024, S a écrit :</div><div>Bonjour</div></div>""",
    "proton": """
        <div>Toujours en panne.</div><div class="protonmail_quote">
        On Monday, March 12th, 2024 at 10:22, S &lt;s@x.fr&gt; wrote:<br>
        <blockquote class="protonmail_quote" type="cite">Bonjour</blockquote></div>""",
}


@pytest.mark.parametrize("html", CLIENTS.values(), ids=CLIENTS)
def test_only_the_answer_is_left_of_a_reply(html: str) -> None:
    assert split_reply(html_to_text(html)).own == "Toujours en panne."


def test_an_answer_inside_the_quote_is_kept() -> None:
    html = (
        "<blockquote type='cite'>Redémarré ?</blockquote><div>Oui.</div>"
        "<blockquote type='cite'>Quel poste ?</blockquote><div>PC-204.</div>"
    )

    assert split_reply(html_to_text(html)).own == "Oui.\nPC-204."


def test_a_forward_by_gmail_is_kept() -> None:
    html = (
        "<div>Pour action</div><div class='gmail_quote'><div class='gmail_attr'>"
        "---------- Forwarded message ---------<br>De : J &lt;j@x.fr&gt;<br>"
        "Date: lundi<br>Subject: VPN<br>To: s<br></div><br>Le VPN est coupé.</div>"
    )

    assert split_reply(html_to_text(html)).own == "Pour action\nLe VPN est coupé."


def test_a_forward_by_apple_mail_is_kept() -> None:
    html = (
        "<div>Bonjour, voici</div><blockquote type='cite'>"
        "<div>Début du message réexpédié :</div><br>"
        "<div><b>De: </b>J</div><div><b>Objet: </b>VPN</div><div><b>Date: </b>lundi</div>"
        "<div><b>À: </b>s</div><br><div>Le VPN est coupé.</div></blockquote>"
    )

    assert split_reply(html_to_text(html)).own == "Bonjour, voici\nLe VPN est coupé."


def test_an_indented_passage_of_outlook_is_the_requesters() -> None:
    html = "<p>Le message :</p><blockquote style='margin-left:30px'>Erreur 691</blockquote>"

    assert "Erreur 691" in split_reply(html_to_text(html)).own


def test_embedded_images_do_not_use_up_the_size_limit() -> None:
    html = f"<img src='data:image/png;base64,{'A' * 4_000_000}'><p>écran noir</p>"

    assert html_to_text(html).strip() == "écran noir"


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("<>/divblockquote \"'=&;!-\x00\ud800é"), max_size=200))
def test_any_markup_is_accepted(html: str) -> None:
    assert "\x00" not in html_to_text(html)


@pytest.mark.slow
@pytest.mark.timeout(20, func_only=True)
@pytest.mark.parametrize(
    "unit", ["<div>a", "<blockquote type=cite>a", "<table><tr><td>", "<", "&#", "<b>", "<p>a</p>"]
)
def test_huge_documents_end_soon(unit: str) -> None:
    assert isinstance(split_reply(html_to_text(unit * (1_000_000 // len(unit)))).own, str)
