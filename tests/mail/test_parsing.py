"""What desks receive becomes text without loss; what cannot be read is refused with a reason."""

import json
import logging
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.mail.parsing import UnreadableMessage, clean_text, parse_message


def mail(headers: str, body: bytes = b"Bonjour\r\n") -> bytes:
    lines = "From: claire@exemple.fr\nTo: support@exemple.fr\nSubject: Panne\n" + headers
    return lines.replace("\n", "\r\n").encode() + b"\r\n" + body


def parsed(content: bytes):
    return parse_message(content, "eml")


def part(headers: bytes, body: bytes) -> bytes:
    return b"--frontiere\r\n" + headers + b"\r\n\r\n" + body + b"\r\n"


def multipart(*parts: bytes, kind: str = "mixed") -> bytes:
    headers = f"Content-Type: multipart/{kind}; boundary=frontiere\n"
    return mail(headers, b"".join(parts) + b"--frontiere--\r\n")


def test_a_quoted_printable_latin_1_mail_keeps_its_accents():
    content = mail(
        "Content-Type: text/plain; charset=iso-8859-1\n"
        "Content-Transfer-Encoding: quoted-printable\n",
        b"L'imprimante du 3=E8me =E9tage est bloqu=E9e.\r\n",
    )

    assert parsed(content).body_text == "L'imprimante du 3ème étage est bloquée.\n"


def test_a_base64_windows_1252_mail_keeps_its_typographic_signs():
    content = mail(
        "Content-Type: text/plain; charset=windows-1252\nContent-Transfer-Encoding: base64\n",
        b"TJJpbXByaW1hbnRlIGNv+3RlIDIwIIA=\r\n",
    )

    assert parsed(content).body_text == "L’imprimante coûte 20 €"


@pytest.mark.parametrize(
    "charset",
    ["", "; charset=utf-8", "; charset=us-ascii", "; charset=inconnu", "; charset=undefined"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_a_missing_or_wrong_charset_loses_no_letter(charset, encoding):
    content = mail(
        f"Content-Type: text/plain{charset}\nContent-Transfer-Encoding: 8bit\n",
        "Réseau coupé à l’étage, coût 20 €".encode(encoding),
    )

    assert parsed(content).body_text == "Réseau coupé à l’étage, coût 20 €"


def test_latin_1_that_is_really_windows_1252_keeps_its_typographic_signs():
    content = mail(
        "Content-Type: text/plain; charset=iso-8859-1\n", "L’accès coûte 20 €".encode("cp1252")
    )

    assert parsed(content).body_text == "L’accès coûte 20 €"


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("=?utf-8?B?UHJvYmzDqG1l?= VPN", "Problème VPN"),
        (
            "=?iso-8859-1?Q?Probl=E8me_d'acc=E8s?=\r\n =?iso-8859-1?Q?_au_VPN?=",
            "Problème d'accès au VPN",
        ),
        ("=?utf-8?B?UHJvYmzD?= =?utf-8?B?qG1l?=", "Problème"),
        ("=?inconnu?Q?Probl=C3=A8me?=", "Problème"),
        ("=?utf-8?B?UHJvYmzDqG1l!!!?=", "Problème"),
        ("=?utf-8?B?a?=", "=?utf-8?B?a?="),
    ],
)
def test_an_encoded_subject_is_decoded(sent, read):
    content = f"From: a@b.fr\r\nSubject: {sent}\r\n\r\nx".encode()

    assert parsed(content).subject == read


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
def test_raw_8_bit_headers_are_decoded(encoding):
    content = (
        "From: Hélène Façade <h@x.fr>\nSubject: Accès =?utf-8?Q?r=C3=A9seau?= coupé\n\nx"
    ).encode(encoding)

    assert parsed(content).sender_name == "Hélène Façade"
    assert parsed(content).subject == "Accès réseau coupé"


def test_a_mail_with_html_alone_has_only_html():
    content = mail("Content-Type: text/html; charset=utf-8\n", "<p>Écran noir</p>".encode())

    assert parsed(content).body_text is None
    assert parsed(content).body_html == "<p>Écran noir</p>"


def test_the_alternatives_of_a_mail_are_kept_apart_and_several_texts_joined():
    content = multipart(
        part(b"Content-Type: text/plain", b"Bonjour"),
        part(b"Content-Type: text/html", b"<p>Bonjour</p>"),
        part(b"Content-Type: text/plain", b"Pied de page"),
    )

    assert parsed(content).body_text == "Bonjour\nPied de page"
    assert parsed(content).body_html == "<p>Bonjour</p>"


def test_attachments_are_named_and_their_text_stays_out():
    content = multipart(
        part(b"Content-Type: text/plain", b"Voir le journal"),
        part(b"Content-Type: text/plain; name=journal.log", b"ERREUR 42"),
        part(
            b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename*=utf-8''%C3%A9cran.pdf",
            b"JVBERi0=",
        ),
        part(b'Content-Type: image/png; name="=?utf-8?Q?=C3=A9cran.png?="', b"PNG"),
        part(b"Content-Type: image/png\r\nContent-ID: <logo.png@01D>", b"PNG"),
        part(b"Content-Type: text/calendar", b"BEGIN:VCALENDAR"),
        part(b"Content-Type: text/plain\r\nContent-Disposition: attachment", b"sans nom"),
    )

    assert parsed(content).body_text == "Voir le journal"
    assert parsed(content).attachments == [
        "journal.log",
        "écran.pdf",
        "écran.png",
        "logo.png@01D",
        "attachment.ics",
        "attachment.txt",
    ]


FORWARDED = part(
    b"Content-Type: message/rfc822",
    b"From: bob@exemple.fr\r\nSubject: =?utf-8?Q?Re=C3=A7u?=\r\n\r\nTexte de Bob",
)


def test_the_text_of_a_forwarded_message_does_not_replace_the_requesters():
    message = parsed(multipart(part(b"Content-Type: text/plain", b"Voir ci-joint"), FORWARDED))

    assert (message.body_text, message.subject) == ("Voir ci-joint", "Panne")
    assert message.attachments == ["Reçu.eml"]


def test_a_pure_forward_keeps_the_forwarded_text():
    message = parsed(multipart(FORWARDED))

    assert (message.body_text, message.subject) == ("Texte de Bob", "Panne")
    assert message.sender == "claire@exemple.fr"


@pytest.mark.parametrize(
    ("parameters", "boundary"),
    [
        ('; boundary="----=_Part.1\'2?"', "----=_Part.1'2?"),
        (';\n\tboundary="a b"', "a b"),
        ('; boundary="a "', "a"),
        ('; BOUNDARY="a"; type="text/html"', "a"),
        ('; charset="us-ascii"; boundary=a', "a"),
        ('; boundary="<a>"', "a"),
        ('; boundary="a\\"b"', 'a"b'),
    ],
)
def test_a_boundary_is_found_however_it_is_written(parameters: str, boundary: str):
    content = mail(
        f"Content-Type: Multipart/Alternative{parameters}\n",
        f"--{boundary}\r\n\r\nEcran noir\r\n"
        f"--{boundary}\r\nContent-Type: text/html\r\n\r\n<p>Ecran noir</p>\r\n"
        f"--{boundary}--\r\n".encode(),
    )

    message = parsed(content)

    assert (message.body_text, message.body_html) == ("Ecran noir", "<p>Ecran noir</p>")
    assert message.attachments == []


def test_a_multipart_without_its_boundary_keeps_its_text():
    content = mail("Content-Type: multipart/mixed\n", "Réseau coupé".encode("cp1252"))

    assert parsed(content).body_text == "Réseau coupé"


def test_nul_characters_and_lone_surrogates_do_not_reach_the_table():
    content = mail("Content-Type: text/plain; charset=utf-8\n", b"avant\x00apr\xc3\xa8s")
    row = json.dumps({"subject": "x\ud83d\ude00\ud800", "body": "a\x00b"}).encode()

    assert parsed(content).body_text == "avantaprès"
    assert parse_message(row, "json").subject == "x😀\ufffd"
    assert parse_message(row, "json").body_text == "ab"


def test_ids_addresses_and_thread_are_normalised():
    content = (
        b"Message-ID: <3@x>\r\nIn-Reply-To: <2@x>\r\nReferences: <1@x>\r\n <2@x>\r\n"
        b'From: "Petit, Jean" <Jean.PETIT@Exemple.fr>\r\n'
        b"To: support@exemple.fr, Bob <BOB@exemple.fr>\r\nCc: bob@exemple.fr\r\n"
        b"Subject: Re: VPN\r\n\r\nx"
    )
    message = parsed(content)

    assert (message.message_id, message.in_reply_to, message.thread_id) == ("3@x", "2@x", "1@x")
    assert (message.sender, message.sender_name) == ("jean.petit@exemple.fr", "Petit, Jean")
    assert message.recipients == ["support@exemple.fr", "bob@exemple.fr"]


def test_a_mail_without_ids_has_no_thread_of_its_own():
    assert parsed(b"From: a@b.fr\nSubject: RE: VPN\n\nx").thread_id is None


def test_a_name_without_an_address_is_kept_as_the_senders_name():
    message = parsed(b"From: Accueil du site\nSubject: x\n\nx")

    assert (message.sender, message.sender_name) == (None, "Accueil du site")


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ("", "request"),
        ("Auto-Submitted: no\n", "request"),
        ("Auto-Submitted: auto-replied\n", "auto_reply"),
        ("X-Autoreply: yes\n", "auto_reply"),
        ("X-Autorespond: absent\n", "auto_reply"),
        ("Precedence: auto_reply\n", "auto_reply"),
        ("Precedence: bulk\n", "auto_reply"),
        ("Precedence: bulk\nList-Id: <annonces.exemple.fr>\n", "list"),
        ("List-Unsubscribe: <https://exemple.fr>\n", "list"),
        ("Precedence: list\n", "list"),
        ("Auto-Submitted: auto-replied\nX-Failed-Recipients: z@x.fr\n", "bounce"),
        ("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n", "bounce"),
        ("Return-Path: <>\n", "request"),
        # Exchange puts it on people's mail too: it asks others not to answer by machine.
        ("X-Auto-Response-Suppress: All\n", "request"),
        ("Auto-Submitted: auto-generated\n", "auto_reply"),
        ("List-Id: <annonces.exemple.fr>\n", "list"),
    ],
)
def test_the_kind_of_a_mail_is_in_its_headers(headers, kind):
    assert parsed(mail(headers)).kind == kind


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("Réponse automatique : VPN", "auto_reply"),
        ("=?utf-8?q?R=C3=A9ponse_automatique_=3A_VPN?=", "auto_reply"),
        ("Automatic reply: VPN", "auto_reply"),
        ("Automatische Antwort: VPN", "auto_reply"),
        ("Respuesta automática: VPN", "auto_reply"),
        ("Resposta automática: VPN", "auto_reply"),
        ("Absence du bureau : Jean", "auto_reply"),
        ("Out of Office: VPN", "auto_reply"),
        ("Abwesenheitsnotiz: VPN", "auto_reply"),
        ("TR : Réponse automatique : VPN", "request"),
        ("Réponse automatique ne part pas", "request"),
        ("Réponse automatique :", "request"),
        ("Message d'absence", "request"),
        ("Absent du bureau demain, qui me remplace ?", "request"),
        ("Out of office message cannot be set", "request"),
    ],
)
def test_an_automatic_answer_is_told_by_the_start_of_its_subject(subject, kind):
    content = f"From: a@b.fr\nIn-Reply-To: <1@c.fr>\nSubject: {subject}\n\nx"

    assert parsed(content.encode()).kind == kind


def test_a_question_about_automatic_answers_is_a_request():
    content = "From: a@b.fr\nSubject: Réponse automatique : comment la régler ?\n\nx"

    assert parsed(content.encode()).kind == "request"


def test_an_empty_return_path_from_the_mailer_daemon_is_a_bounce():
    content = b"Return-Path: <>\nFrom: MAILER-DAEMON@mx.exemple.fr\nSubject: Undelivered\n\nx"

    assert parsed(content).kind == "bounce"


@pytest.mark.parametrize(
    ("sender", "subject", "kind"),
    [
        ("MAILER-DAEMON@mx.exemple.fr (Mail Delivery System)", "x", "bounce"),
        ("Mail Delivery Subsystem <mailer-daemon@exemple.fr>", "Votre message", "bounce"),
        ("<Mailer-Daemon@exemple.fr>", "", "bounce"),
        ("mailer_daemon@exemple.fr", "x", "bounce"),
        ("MAILER-DAEMON", "failure notice", "bounce"),
        ("Postmaster <postmaster@exemple.fr>", "Undeliverable: VPN", "bounce"),
        ("postmaster@exemple.fr", "Undelivered Mail Returned to Sender", "bounce"),
        ("postmaster@exemple.fr", "Delivery Status Notification (Failure)", "bounce"),
        ("postmaster@exemple.fr", "Mail delivery failed: returning message to sender", "bounce"),
        ("postmaster@exemple.fr", "Non remis : VPN", "bounce"),
        ("postmaster@exemple.fr", "Échec de la remise", "bounce"),
        ("postmaster@exemple.fr", "Notification d'état de remise (échec)", "bounce"),
        ("postmaster@exemple.fr", "Unzustellbar: VPN", "bounce"),
        ("postmaster@exemple.fr", "Zustellung fehlgeschlagen", "bounce"),
        ("postmaster@exemple.fr", "No se puede entregar: VPN", "bounce"),
        ("postmaster@exemple.fr", "Não é possível entregar: VPN", "bounce"),
        ("postmaster@exemple.fr", "Ihre Nachricht konnte nicht zugestellt werden", "bounce"),
        ("postmaster@exemple.fr", "Votre message à a@b.fr n'a pas pu être remis", "bounce"),
        ("postmaster@exemple.fr", "Mancata consegna: VPN", "bounce"),
        ("postmaster@exemple.fr", "Onbestelbaar: VPN", "bounce"),
        ("postmaster@exemple.fr", "Delayed Mail (still being retried)", "bounce"),
        ("Mail Delivery System <noreply@exemple.fr>", "Delivery failure", "bounce"),
        (f"Microsoft Outlook <MicrosoftExchange{'0a' * 16}@x.fr>", "Unzustellbar: VPN", "bounce"),
        ("Postmaster <postmaster@exemple.fr>", "Enregistrement MX", "request"),
        ("postmaster@exemple.fr", "Unzustellbare Mails seit Montag", "request"),
        ("postmaster@exemple.fr", "Undelivered mails since this morning", "request"),
        ("postmaster@exemple.fr", "RE: Undeliverable: VPN", "request"),
        ("postmaster@exemple.fr", "Delivery of the new screens: when?", "request"),
        ("claire@exemple.fr", "TR: Undelivered Mail Returned to Sender", "request"),
        ("claire@exemple.fr", "Undeliverable: VPN", "request"),
        ("claire@exemple.fr", "failure notice", "request"),
        ('"Why a mailer-daemon?" <claire@exemple.fr>', "x", "request"),
    ],
)
def test_a_report_of_a_mail_server_is_a_bounce_without_its_return_path(sender, subject, kind):
    content = f"From: {sender}\nSubject: {subject}\n\nuser unknown".encode()
    row = json.dumps({"sender": sender, "subject": subject, "body": "user unknown"}).encode()

    assert parsed(content).kind == kind
    assert parse_message(row, "json").kind == kind


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the message is empty"),
        (b" \r\n\r\n", "the message is empty"),
        (b"\x89PNG\x00\x01", "no header lines"),
        (b"Bonjour, rien ne marche", "no header lines"),
        (b"X-Mailer: rien\n\n \n", "no subject, sender or text"),
    ],
)
def test_what_is_not_a_mail_is_refused_with_a_reason(content, reason):
    with pytest.raises(UnreadableMessage, match=f"^{reason}"):
        parsed(content)


@pytest.mark.slow
def test_a_mail_nested_beyond_reason_is_refused():
    content = b"From: a@b.fr\n" + b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (depth, depth)
        for depth in range(3000)
    )

    with pytest.raises(UnreadableMessage, match="nested too deeply"):
        parsed(content)


def test_winmail_dat_is_named_and_left_alone():
    tnef = b"Content-Type: application/ms-tnef; name=winmail.dat\r\n\r\n\x78\x9f\x3e\x22"
    message = parsed(
        multipart(part(b"Content-Type: text/plain", b"Voir le tableau"), part(tnef, b""))
    )

    assert (message.body_text, message.attachments) == ("Voir le tableau", ["winmail.dat"])


@pytest.mark.slow
def test_a_mail_of_25_mb_keeps_its_text_and_the_names_of_its_attachments():
    photo = b"Content-Type: image/jpeg; name=photo.jpg\r\nContent-Transfer-Encoding: base64"
    content = multipart(
        part(b"Content-Type: text/plain", b"Voici la photo"),
        part(photo, b"\r\n".join([b"A" * 76] * 320_000)),
    )
    message = parsed(content)

    assert len(content) > 24_000_000
    assert (message.body_text, message.attachments) == ("Voici la photo", ["photo.jpg"])


@pytest.mark.slow
def test_a_mail_of_20_000_parts_loses_none():
    message = parsed(
        multipart(
            part(b"Content-Type: text/plain", b"Bonjour"),
            *(
                part(b"Content-Type: image/png; name=%d.png" % number, b"x")
                for number in range(20_000)
            ),
        )
    )

    assert message.body_text == "Bonjour"
    assert message.attachments == [f"{number}.png" for number in range(20_000)]


def test_headers_without_a_value_hold_nothing():
    names = ("Message-ID", "In-Reply-To", "References", "From", "To", "Cc", "Subject", "Date")
    names += ("Content-Type", "Content-Transfer-Encoding", "Content-Disposition")
    message = parsed("".join(f"{name}:\r\n" for name in names).encode() + b"\r\nBonjour")

    assert (message.message_id, message.in_reply_to, message.sender, message.sender_name) == (
        None,
    ) * 4
    assert (message.recipients, message.subject, message.attachments) == ([], None, [])
    assert (message.body_text, message.kind) == ("Bonjour", "request")


def test_bidirectional_and_zero_width_characters_reach_the_table_as_sent():
    text = "Facture\u202e\u200bfdp\u2066.exe\u2069 \ufeffet mot\u200dlié"
    message = parsed(
        f"From: a@b.fr\nSubject: {text}\nContent-Type: text/plain; charset=utf-8\n\n{text}".encode()
    )

    assert (message.subject, message.body_text) == (text, text)


def test_a_line_that_is_no_header_starts_the_text():
    message = parsed("Subject: Panne\nÉtage 3\nFrom: a@b.fr\n\nRéseau coupé".encode())

    assert (message.subject, message.body_text) == (
        "Panne",
        "Étage 3\nFrom: a@b.fr\n\nRéseau coupé",
    )


def test_a_file_name_in_a_charset_that_cannot_hold_it_costs_the_name_alone():
    named = b"Content-Type: application/pdf; name*=punycode''%C3%A9.pdf"
    message = parsed(multipart(part(b"Content-Type: text/plain", b"Bonjour"), part(named, b"PDF")))

    assert (message.body_text, message.attachments) == ("Bonjour", ["attachment.pdf"])


@pytest.mark.parametrize("charset", ["utf-8\x00", "''", '""', "=", "utf-8;charset="])
@pytest.mark.parametrize("flowed", ["", "; format=flowed"])
def test_a_charset_that_is_no_name_costs_no_letter(charset, flowed):
    content = mail(
        f"Content-Type: text/plain; charset={charset}{flowed}\n", "Réseau coupé".encode()
    )

    assert parsed(content).body_text == "Réseau coupé"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Content-Type", "From", "To", "Subject", "References"])
@pytest.mark.parametrize("unit", ["a;b=c;", "<a@b>, ", '"', "(", "=?utf-8?Q?=C3=A9?= "])
def test_a_header_of_a_megabyte_does_not_cost_the_text(name, unit):
    headers = {"From": "a@b.fr", "Subject": "Panne", name: unit * (1_000_000 // len(unit))}
    lines = "".join(f"{header}: {value}\n" for header, value in headers.items())

    assert parsed(f"{lines}\nBonjour".encode()).body_text == "Bonjour"


def test_an_address_of_nested_comments_is_kept_as_a_name():
    row = json.dumps({"subject": "x", "sender": "(" * 5000, "recipients": "(" * 5000}).encode()
    message = parse_message(row, "json")

    assert (message.sender, message.sender_name, message.recipients) == (None, "(" * 5000, [])


def test_parsing_neither_prints_nor_logs_nor_writes(tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.WARNING):
        parsed(
            multipart(
                part(b"Content-Type: text/rtf", b"{\\rtf1}"),
                part(b"Content-Type: application/ms-tnef", b"x"),
                part(b"Content-Type: text/enriched", b"x"),
            )
        )
        parsed(b"From: a@b.fr\nSubject: =?utf-8?B?a?=\n\nx")

    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert list(tmp_path.iterdir()) == []


def test_a_row_of_an_export_is_a_request():
    row = {
        "subject": "Écran noir",
        "body": "Depuis ce matin",
        "sender": "Jean Petit <JEAN@exemple.fr>",
        "recipients": "support@exemple.fr, bob@exemple.fr",
        "message_id": "INC0042",
        "original": {"État": "clos"},
    }
    message = parse_message(json.dumps(row).encode(), "json")

    assert (message.subject, message.body_text) == ("Écran noir", "Depuis ce matin")
    assert (message.sender, message.sender_name) == ("jean@exemple.fr", "Jean Petit")
    assert message.recipients == ["support@exemple.fr", "bob@exemple.fr"]
    assert (message.message_id, message.thread_id, message.kind) == (
        "INC0042",
        "INC0042",
        "request",
    )


def test_html_in_the_body_column_is_kept_as_html():
    row = json.dumps({"subject": "x", "body": "<p>Bonjour</p>"}).encode()
    comparison = json.dumps({"subject": "x", "body": "si a < b et c > d"}).encode()

    assert parse_message(row, "json").body_html == "<p>Bonjour</p>"
    assert parse_message(comparison, "json").body_text == "si a < b et c > d"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"subject": " ", "original": {}}', "neither a subject nor a body"),
        (b'{"broken": "row 3: 4 cells where the header has 2"}', "row 3: 4 cells"),
    ],
)
def test_a_row_without_a_ticket_is_refused_with_a_reason(row, reason):
    with pytest.raises(UnreadableMessage, match=reason):
        parse_message(row, "json")


MAILS = [
    multipart(
        part(b"Content-Type: text/plain; charset=utf-8", "Réseau coupé".encode()),
        part(b"Content-Type: text/html; charset=iso-8859-1", b"<p>R\xe9seau</p>"),
        FORWARDED,
        part(b"Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64", b"iVBO"),
    ),
    mail("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n", b"w6k="),
    "From: =?utf-8?Q?H=C3=A9l?= <h@x.fr>\nSubject: =?utf-8?B?w6k=?= é\n\nx".encode(),
]


@st.composite
def mutated_mails(draw):
    content = bytearray(draw(st.sampled_from(MAILS)))
    for _ in range(draw(st.integers(1, 12))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.integers(0, 20)))
        content[start:stop] = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from([b"\r\n", b"\n\n", b"--frontiere", b"=?", b"charset=utf-16", b"<"]),
            )
        )
    return bytes(content)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.one_of(mutated_mails(), st.binary(max_size=400)), st.sampled_from(["eml", "json"]))
def test_whatever_the_bytes_the_result_is_valid_unicode_or_a_reason(content, extension):
    try:
        message = parse_message(content, extension)
    except UnreadableMessage:
        return
    everything = json.dumps(vars(message), ensure_ascii=False)
    assert everything.encode("utf-8")
    assert "\\u0000" not in everything
    assert parse_message(content, extension) == message


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_valid_text_without_control_characters_is_left_alone(text):
    visible = "".join(char for char in text if not "\x80" <= char <= "\x9f")

    assert clean_text(visible) == visible


def test_text_after_a_damaged_header_line_is_a_ticket_though_its_parts_are_missing():
    # The header line is no header, so that decoded text stands beside the octets of the body.
    content = b"Content-Type: multipart/mixed; boundary=x\n\xc3\xa9\n\nEcran \xff noir\n"

    message = parse_message(content, "eml")

    assert message.body_text is not None
    assert "Ecran ÿ noir" in message.body_text
    assert message.attachments == []


def test_text_of_a_multipart_whose_parts_no_parser_finds_is_a_ticket():
    content = (
        b"Content-Type: multipart/alternative; boundary=n12\n;\nSubject: x\n--n12\n"
        b"Content-Type: multipart/alternative; boundary=n12\n\nEcran noir"
    )

    assert parse_message(content, "eml").body_text == "Ecran noir"


def test_a_file_name_in_a_charset_that_cannot_be_named_is_read():
    content = (
        b"From: a@b.fr\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nEcran noir\n--x\n"
        b'Content-Type: image/png; name="=?utf\x00?Q?e?="\n\nabc\n--x--\n'
    )

    message = parse_message(content, "eml")

    assert (message.body_text, message.attachments) == ("Ecran noir", ["e"])


@pytest.fixture
def peak_of():
    """The most bytes that Python takes for a call."""

    def measured(call):
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    return measured


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [b"X: y\n" * 999_999, b"References: " + b"<a@b> " * 999_999 + b"\n"]
)
def test_headers_without_end_cost_no_more_than_the_longest(peak_of, more):
    content = b"From: claire@exemple.fr\nSubject: Panne\n" + more + b"\nBonjour\n"
    assert (parsed(content).subject, parsed(content).body_text) == ("Panne", "Bonjour\n")

    assert peak_of(lambda: parsed(content)) < 60 << 20
    assert peak_of(lambda: mail_message(content, "x")) < 60 << 20


def test_a_header_that_is_cut_keeps_its_encoding():
    content = ("Subject: Réseau " + "é" * 1_000_000 + "\n\nBonjour\n").encode()

    assert parsed(content).subject.startswith("Réseau éé")
    assert set(parsed(content).subject[7:]) == {"é"}


def test_a_mail_of_a_million_parts_is_refused_unread(peak_of):
    content = multipart(b"--frontiere\r\n\r\n" * 1_000_000)

    def refused():
        with pytest.raises(UnreadableMessage, match="it has more than 100,000 parts"):
            parsed(content)

    assert peak_of(refused) < 20 << 20


def test_lines_of_dashes_in_a_text_are_no_parts():
    text = b"-----\r\n" * 100_001

    assert parsed(mail("Content-Type: text/plain\n", text)).body_text.count("-----\n") == 100_001


def test_no_more_of_a_text_is_kept_than_is_read():
    endless = "mot " * 1_000_000
    html = f"<p>{endless}</p>"

    assert len(parsed(mail("", endless.encode())).body_text) == 3_000_000
    assert len(parsed(mail("Content-Type: text/html\n", html.encode())).body_html) == 3_000_000
    row = parse_message(json.dumps({"body": endless}).encode(), "json")
    assert len(row.body_text) == 3_000_000


def test_nul_characters_leave_the_signs_between_them():
    assert clean_text("\x00a\x00\x93\x00\x94\x81\x00b\x00\x00") == "a“”b"
