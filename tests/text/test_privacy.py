"""What is masked, what is left alone, and that the quality gate agrees."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ticket_assets.text.privacy import find_personal_data, mask_personal_data

REGIONS = ("FR", "BE", "CH", "GB", "US", "DE", "ES", "PT")

PERSONAL = [
    # e-mail addresses
    ("écrire à jean.dupont@exemple.fr", "écrire à [EMAIL]"),
    ("<Jean.Dupont+it@sous.domaine.example.com>", "<[EMAIL]>"),
    ("mailto:a_b@x.co.uk,", "mailto:[EMAIL],"),
    ("UPN: jdupont@corp.local.", "UPN: [EMAIL]."),
    ("müller@firma.de und josé@empresa.es", "[EMAIL] und [EMAIL]"),
    ("o'brien@x.ie", "[EMAIL]"),
    ("a@b.fr;c@d.fr", "[EMAIL];[EMAIL]"),
    ("jean.dupont[at]exemple.fr", "[EMAIL]"),
    ("jean.dupont (at) exemple.fr", "[EMAIL]"),
    # French telephone numbers
    ("06 12 34 56 78", "[PHONE]"),
    ("au 06.12.34.56.78.", "au [PHONE]."),
    ("0612345678", "[PHONE]"),
    ("01.23.45.67.89", "[PHONE]"),
    ("06-12-34-56-78", "[PHONE]"),
    ("06/12/34/56/78", "[PHONE]"),
    ("+33 6 12 34 56 78", "[PHONE]"),
    ("+33 (0)6 12 34 56 78", "[PHONE]"),
    ("+33(0)612345678", "[PHONE]"),
    ("+33612345678", "[PHONE]"),
    ("0033 6 12 34 56 78", "[PHONE]"),
    ("Tél. : 01 23 45 67 89 poste 4512", "Tél. : [PHONE] poste 4512"),
    ("06 12 34 56 78 / 01 23 45 67 89", "[PHONE] / [PHONE]"),
    ("06 12 34 56 78 01 23 45 67 89", "[PHONE] [PHONE]"),
    ("(06 12 34 56 78)", "([PHONE])"),
    ("tél.0612345678", "tél.[PHONE]"),
    ("portable:0612345678", "portable:[PHONE]"),
    ("06 12 34 56 78/01 23 45 67 89", "[PHONE]/[PHONE]"),
    ("appelez-moi au 33 6 12 34 56 78", "appelez-moi au [PHONE]"),
    # other countries
    ("+44 20 7946 0958", "[PHONE]"),
    ("020 7946 0958", "[PHONE]"),
    ("+44 (0)20 7946 0958", "[PHONE]"),
    ("(555) 123-4567", "[PHONE]"),
    ("call 212-555-0123 now", "call [PHONE] now"),
    ("+1 212 555 0123", "[PHONE]"),
    ("Tel. 030 123456", "Tel. [PHONE]"),
    ("030 123456", "[PHONE]"),
    ("+49 30 123456", "[PHONE]"),
    ("0171 1234567", "[PHONE]"),
    ("+49 (0) 171 / 1234567", "[PHONE]"),
    ("02 511 11 11", "[PHONE]"),
    ("+32 475 12 34 56", "[PHONE]"),
    ("044 668 18 00", "[PHONE]"),
    ("+41 44 668 18 00", "[PHONE]"),
    ("móvil 612 345 678", "móvil [PHONE]"),
    ("Teléfono: 912345678", "Teléfono: [PHONE]"),
    ("+34 612 345 678", "[PHONE]"),
    ("telemóvel: 912 345 678", "telemóvel: [PHONE]"),
    ("+351 912 345 678", "[PHONE]"),
    ("portable : 612345678", "portable : [PHONE]"),
    ("612 34 56 78", "[PHONE]"),
    ("612 345 678", "[PHONE]"),
    ("0475/12.34.56", "[PHONE]"),
    ("1-800-555-0199", "[PHONE]"),
    # bank accounts, cards, social security
    ("FR76 3000 6000 0112 3456 7890 189", "[IBAN]"),
    ("IBAN:FR7630006000011234567890189 merci", "IBAN:[IBAN] merci"),
    ("IBAN FR76 3000 6000 0112 3456 7890 189 BIC AGRIFRPP", "IBAN [IBAN] BIC AGRIFRPP"),
    ("DE89 3704 0044 0532 0130 00", "[IBAN]"),
    ("GB29 NWBK 6016 1331 9268 19", "[IBAN]"),
    ("ES91 2100 0418 4502 0005 1332", "[IBAN]"),
    ("BE68-5390-0754-7034", "[IBAN]"),
    ("de89370400440532013000", "[IBAN]"),
    ("NIR 2 55 08 14 168 025 38", "NIR [NIR]"),
    ("255081416802538", "[NIR]"),
    ("4111 1111 1111 1111", "[CARD]"),
    ("4111111111111111", "[CARD]"),
    ("5500-0000-0000-0004", "[CARD]"),
    ("3782 822463 10005", "[CARD]"),
    # machines
    ("ping 192.168.1.12 échoue", "ping [IP] échoue"),
    ("le flux vers 10.24.4.157 est filtré", "le flux vers [IP] est filtré"),
    ("de 2001:db8::1ff:fe23 vers 10.0.0.5, non", "de [IP] vers [IP], non"),
    ("serveur 10.0.0.5:8080", "serveur [IP]:8080"),
    ("10.1.2.0/24.", "[IP]/24."),
    ("fe80::1ff:fe23:4567:890a", "[IP]"),
    ("2001:0db8:85a3:0000:0000:8a2e:0370:7334", "[IP]"),
    # secrets
    ("mot de passe : Azerty123", "mot de passe : [PASSWORD]"),
    ("mdp=Azerty123", "mdp=[PASSWORD]"),
    ("MDP: Soleil2024!", "MDP: [PASSWORD]"),
    ("password: P@ssw0rd.", "password: [PASSWORD]."),
    ("My password is Hunter22", "My password is [PASSWORD]"),
    ("mon mot de passe est Azerty123", "mon mot de passe est [PASSWORD]"),
    ("le mot de passe provisoire : Xk9#pQ2z", "le mot de passe provisoire : [PASSWORD]"),
    ('Passwort: "Sommer2024"', 'Passwort: "[PASSWORD]"'),
    ("Kennwort = Geheim99", "Kennwort = [PASSWORD]"),
    ("contraseña: Hola1234", "contraseña: [PASSWORD]"),
    ("senha: Brasil10", "senha: [PASSWORD]"),
    ("pwd=soleil", "pwd=[PASSWORD]"),
    ("code PIN : 4821", "code PIN : [PASSWORD]"),
    ("PIN 4821", "PIN [PASSWORD]"),
    ("pwd Azerty123", "pwd [PASSWORD]"),
    ("mes identifiants : jdupont / Azerty123", "mes identifiants : jdupont / [PASSWORD]"),
    ("clé API = sk_live_12345abc", "clé API = [PASSWORD]"),
    ("https://jean:secret1@srv.exemple.fr/x", "https://[URL_CREDENTIALS]@srv.exemple.fr/x"),
]

NOT_PERSONAL = [
    "Windows 10.0.19045.3803",
    "version 1.2.3.4 du pilote",
    "firmware v10.20.30.40",
    "Chrome 120.0.6099.130",
    "v7.4.1.2",
    "02.03.2024 08 h 15",
    "netmask 255.255.255.0",
    "127.0.0.1",
    "ticket INC0012345",
    "demande RITM0612345678",
    "ticket #48213",
    "#0612345678",
    "erreur 0x80070005",
    "0x0000007B",
    "ORA-12154",
    "ORA-01017: invalid username/password; logon denied",
    "KB5034441",
    "le 12/03/2024 à 10:22:33",
    "01.02.2024",
    "02.03.2024 08:15",
    "2024-03-12 10:22:33,123",
    "2024-03-12T10:22:33.123456Z",
    "20240312102233",
    "12-03-2024",
    "10:22:33",
    "C:\\Users\\Public\\x64\\setup_0612345.log",
    "/var/log/app-2024.03.12.log",
    "\\\\srv01\\partage\\2024",
    "S/N 5CG1234567",
    "S/N: 0123456789",
    "n° de série 0123456789",
    "serial 1234567890123",
    "numéro de commande 4500123456",
    "1 250,00 €",
    "12 345 678,90 EUR",
    "1.234.567,89",
    "bureau 204",
    "poste 4512",
    "salle B-1204",
    "SIREN 732 829 320",
    "SIRET 732 829 320 00074",
    "article 732829320",
    "IMEI 356938035643809",
    "00:1A:2B:3C:4D:5E",
    "std::vector<int>",
    "GUID 550e8400-e29b-41d4-a716-446655440000",
    "d41d8cd98f00b204e9800998ecf8427e",
    "Error 1603",
    "event ID 7031",
    "HTTP 503",
    "mot de passe : expiré",
    "mot de passe: oublié",
    "mon mot de passe est expiré depuis 3 jours",
    "mot de passe : problème de connexion",
    "password: reset please",
    "my password is not working",
    "Password expired",
    "Passwort: abgelaufen",
    "senha: esquecida",
    "password: ********",
    "mot de passe : [PASSWORD]",
    "password is 12 characters long",
    "le mot de passe est trop court (8 caractères)",
    "mdp office365 oublié",
    "pwd windows10 perdu",
    "Passe par le VPN = 10 fois",
    "client 0612345678",
    "facture 2024-0612345678",
    "TVA FR40303265045",
    "RAM : 612 345 678 octets",
    "612 345 678 €",
    "numéros courts 3615, 112 et 118 218",
    "react@18.2.0",
    "@Support merci",
    "3 x 8 = 24",
    "tél. portable cassé",
    "téléphone 2024-03-12 perdu",
    "30 000 lignes, 12 000 erreurs",
    "1920x1080",
    "192.168.1",
    "0123",
    "PO 4500012345",
    "écran 27 pouces 2560 x 1440",
    "4111 1111 1111 1112",
    "FR76 3000 6000 0112 3456 7890 188",
    "0,0612345678",
    "ISO 27001:2022",
    "10.22.33",
]


def masked(text: str) -> str:
    return mask_personal_data(text, phone_regions=REGIONS).text


@pytest.mark.parametrize(("text", "expected"), PERSONAL, ids=[text for text, _ in PERSONAL])
def test_personal_data_becomes_a_typed_placeholder(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("text", NOT_PERSONAL)
def test_the_gate_accepts_what_masking_leaves(text: str) -> None:
    assert find_personal_data(text, phone_regions=REGIONS) == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("a@b.fr", ["EMAIL"]),
        ("06 12 34 56 78", ["PHONE"]),
        ("+44 20 7946 0958", ["PHONE"]),
        ("FR76 3000 6000 0112 3456 7890 189", ["IBAN"]),
        ("2 55 08 14 168 025 38", ["NIR"]),
        ("4111-1111-1111-1111", ["CARD"]),
        ("ping 192.168.1.12", ["IP"]),
        ("mdp: Azerty123", ["PASSWORD"]),
        ("ftp://jean:secret@srv/x", ["URL_CREDENTIALS"]),
        ("a@b.fr 10.0.0.5", ["EMAIL", "IP"]),
    ],
)
def test_the_gate_finds_what_was_not_masked(text: str, kinds: list[str]) -> None:
    assert find_personal_data(text, phone_regions=REGIONS) == kinds


def test_counts_name_each_kind_once_per_placeholder() -> None:
    result = mask_personal_data("a@b.fr, c@d.fr, 06 12 34 56 78", phone_regions=REGIONS)

    assert result.counts == {"EMAIL": 2, "PHONE": 1}


def test_ip_addresses_stay_when_the_desk_wants_them() -> None:
    text = "ping 192.168.1.12"

    result = mask_personal_data(text, phone_regions=REGIONS, mask_ip_addresses=False)

    assert result.text == text
    assert find_personal_data(text, phone_regions=REGIONS, mask_ip_addresses=False) == []


def test_national_numbers_of_countries_the_desk_does_not_serve_stay() -> None:
    assert mask_personal_data("(555) 123-4567", phone_regions=["FR"]).text == "(555) 123-4567"


PLANTED = [text for text, _ in PERSONAL]
noise = st.text(alphabet="0123456789 +-./()@:aFRx\n,é#[]", max_size=40)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PLANTED), noise), max_size=6).map("".join))
@example("a@b.fr0612345678")
@example("[PHONE]0612345678")
def test_masking_is_a_fixpoint_that_satisfies_the_gate(text: str) -> None:
    once = masked(text)

    assert masked(once) == once
    assert find_personal_data(once, phone_regions=REGIONS) == []


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_accepted(text: str) -> None:
    once = masked(text)

    assert masked(once) == once


@pytest.mark.slow
@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "unit",
    ["a", "1", "0", " ", "@", "+", "01.", "a@", "1:", "password:", "4111 ", "FR76", "(", "+1"],
)
def test_megabytes_of_the_same_thing_end_soon(unit: str) -> None:
    text = unit * (200_000 // len(unit))

    assert find_personal_data(masked(text), phone_regions=REGIONS) == []
