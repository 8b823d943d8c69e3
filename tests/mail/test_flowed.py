"""Soft-wrapped lines become the paragraphs their writer typed."""

import pytest

from ticket_assets.mail.flowed import unflow
from ticket_assets.mail.parsing import parse_message


def test_the_paragraphs_of_the_rfcs_example_are_rejoined():
    sent = (
        "`Take some more tea,' the March Hare said to Alice, \r\n"
        "very earnestly.\r\n"
        "\r\n"
        "`I've had nothing yet,' Alice replied in an offended \r\n"
        "tone, `so I can't take more.'\r\n"
    )

    assert unflow(sent) == (
        "`Take some more tea,' the March Hare said to Alice, very earnestly.\n"
        "\n"
        "`I've had nothing yet,' Alice replied in an offended tone, `so I can't take more.'\n"
    )


def test_the_quotations_of_the_rfcs_example_keep_their_depth():
    sent = (
        ">>>Take some more tea.\n"
        ">>I've had nothing yet, so I can't take more.\n"
        ">You mean you can't take LESS, it's very easy to take \n"
        ">MORE than nothing.\n"
    )

    assert unflow(sent) == (
        ">>> Take some more tea.\n"
        ">> I've had nothing yet, so I can't take more.\n"
        "> You mean you can't take LESS, it's very easy to take MORE than nothing.\n"
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("fixed\nlines", "fixed\nlines"),
        ("> quoted \nanswered", "> quoted \nanswered"),
        ("> quoted \n>> deeper", "> quoted \n>> deeper"),
        ("Regards \n-- \nAlice \nHatter", "Regards \n-- \nAlice Hatter"),
        ("> Regards \n> -- \n> Alice", "> Regards \n> -- \n> Alice"),
        ("Bonjour, \n\nLe VPN", "Bonjour, \n\nLe VPN"),
        ("last ", "last "),
        (" From here \n on", "From here on"),
        ("  indented", " indented"),
        (" > not quoted", " > not quoted"),
        ("", ""),
    ],
)
def test_what_ends_a_paragraph_and_what_a_leading_space_means(sent, read):
    assert unflow(sent) == read


def test_with_delsp_the_space_before_the_break_is_no_text():
    assert unflow("FR76 3000 6000 0112 34 \n56 7890 189", delete_space=True) == (
        "FR76 3000 6000 0112 3456 7890 189"
    )
    assert unflow("FR76 3000 6000 0112 \n3456 7890 189") == "FR76 3000 6000 0112 3456 7890 189"


@pytest.mark.parametrize(
    ("content_type", "read"),
    [
        ("text/plain; charset=iso-8859-1; format=flowed", "Té l. 06 12 34 56 78"),
        ('text/plain; charset=iso-8859-1; Format="Flowed"; DelSp=Yes', "Tél. 06 12 34 56 78"),
        ("text/plain; charset=iso-8859-1; format=fixed", "Té \nl. 06 12 \n34 56 78"),
        ("text/plain; charset=iso-8859-1", "Té \nl. 06 12 \n34 56 78"),
    ],
)
@pytest.mark.parametrize("wrapped_in", ["", "multipart/mixed"])
def test_a_mail_is_rejoined_when_its_part_says_that_it_flows(content_type, read, wrapped_in):
    space = "  " if "DelSp" in content_type else " "
    body = f"Té \nl. 06 12{space}\n34 56 78".replace("é", "=E9").replace(" \n", "=20\n")
    part = f"Content-Type: {content_type}\nContent-Transfer-Encoding: quoted-printable\n\n{body}"
    if wrapped_in:
        part = f"Content-Type: {wrapped_in}; boundary=b\n\n--b\n{part}\n--b--\n"

    mail = parse_message(f"From: a@exemple.fr\nSubject: x\n{part}".encode(), "eml")

    assert mail.body_text == read


def test_html_and_attached_text_are_left_alone():
    html = "Content-Type: text/html; format=flowed\n\n<p>a \nb</p>"

    assert parse_message(f"From: a@x.fr\n{html}".encode(), "eml").body_html == "<p>a \nb</p>"
