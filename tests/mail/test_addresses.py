"""One mailbox is told by one address, however clients write it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.mail.addresses import (
    addresses_in,
    canonical_address,
    is_address,
    mailboxes_in,
    sender_in,
    spellings_pattern,
)

ADDRESS = "vic@x.fr"
SPELLINGS = [
    "vic@x.fr",
    "VIC@X.FR",
    '"vic"@x.fr',
    "'vic@x.fr'",
    "vic@x.fr.",
    '"vic@x.fr"',
    "v\u200bic@x.fr",
    "vic＠x.fr",
    "mailto:vic@x.fr",
    "vic @ x.fr",
    '"v\\ic"@x.fr',
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "<{}>", "Vic <{}>", "{}, other@y.fr", "Vic, M. <{}>"])
def test_a_mailbox_is_named_by_each_spelling_of_its_address(spelling, around):
    assert canonical_address(spelling) == ADDRESS
    assert ADDRESS in addresses_in(around.format(spelling))


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("vic@x.fr on behalf of b@y.fr", {ADDRESS, "b@y.fr"}),
        ("Vic vic@x.fr", {ADDRESS}),
        ("Team: a@x.fr, vic@x.fr;", {"a@x.fr", ADDRESS}),
        ("=?utf-8?q?vic=40x=2Efr?=", {ADDRESS}),
        ('"vic@x.fr" <other@y.fr>', {"other@y.fr"}),
        ("vic@bücher.example", {"vic@xn--bcher-kva.example"}),
        ("vic@xn--bcher-kva.example", {"vic@xn--bcher-kva.example"}),
        ("victor@x.fr, vic+b@x.fr, vic@x.fr.uk", {"victor@x.fr", "vic+b@x.fr", "vic@x.fr.uk"}),
        ("nobody", set()),
        ("@x.fr", set()),
    ],
)
def test_the_addresses_of_a_header_are_told(value, addresses):
    assert addresses_in(value) == addresses


@pytest.mark.parametrize(
    ("header", "name", "address"),
    [
        ("Vic Petit <vic@x.fr>", "Vic Petit", ADDRESS),
        ('"Petit, Vic" <vic@x.fr>', "Petit, Vic", ADDRESS),
        ("vic@x.fr (Vic Petit)", "Vic Petit", ADDRESS),
        ("vic@x.fr <vic@x.fr>", "", ADDRESS),
        ("'vic@x.fr' <VIC@x.fr>", "", "VIC@x.fr"),
        # Encoded words where the standard knows none.
        ('"=?UTF-8?Q?Zo=C3=A9_Lef=C3=A8vre?=" <vic@x.fr>', "Zoé Lefèvre", ADDRESS),
        ('"=?utf-8?b?Wm/DqQ==?= =?iso-8859-1?q?_Lef=E8vre?=" <vic@x.fr>', "Zoé Lefèvre", ADDRESS),
        ("'=?windows-1252?Q?Zo=E9?=' <vic@x.fr>", "Zoé", ADDRESS),
        ("=?UTF-8?Q?Zo=C3=A9?= <vic@x.fr>", "Zoé", ADDRESS),
        ('"M. =?UTF-8?Q?Zo=C3=A9?=" <vic@x.fr>', "M. Zoé", ADDRESS),
        ("=?UTF-8?Q?=22Petit,_Zo=C3=A9=22?= <vic@x.fr>", "Petit, Zoé", ADDRESS),
        ("=?UTF-8?Q?Zo=C3=A9_=3Cvic=40x=2Efr=3E?=", "Zoé", ADDRESS),
        ('"=?utf-8?B?broken" <vic@x.fr>', "=?utf-8?B?broken", ADDRESS),
        ("=?utf-8?B?a?= <vic@x.fr>", "=?utf-8?B?a?=", ADDRESS),
        # Without brackets, or with others.
        ("Vic Petit vic@x.fr", "Vic Petit", ADDRESS),
        ('"Vic Petit" vic@x.fr', "Vic Petit", ADDRESS),
        ("Vic Petit [vic@x.fr]", "Vic Petit", ADDRESS),
        ("Vic Petit [mailto:vic@x.fr]", "Vic Petit", ADDRESS),
        ("Vic Petit (vic@x.fr)", "Vic Petit", ADDRESS),
        ("Vic Petit <<vic@x.fr>>", "Vic Petit", ADDRESS),
        ("Vic Petit <vic@x.fr", "Vic Petit", ADDRESS),
        ("Vic Petit - vic@x.fr.", "Vic Petit", ADDRESS),
        ("Vic Petit <mailto:vic@x.fr>", "Vic Petit", ADDRESS),
        ("Vic Petit <'vic@x.fr'>", "Vic Petit", ADDRESS),
        (
            "Vic Petit <vic@x.fr> (by way of the desk) now",
            "Vic Petit (by way of the desk) now",
            ADDRESS,
        ),
        ("Petit, Vic <vic@x.fr>", "Petit, Vic", ADDRESS),
        ('<"vic@x.fr">', "", ADDRESS),
        ("vic@x.fr <Vic Petit>", "Vic Petit", ADDRESS),
        ("Vic Petit: vic@x.fr", "Vic Petit", ADDRESS),
        ('"vic@x.fr"', "", ADDRESS),
        ("<mailto:vic@x.fr>", "", ADDRESS),
        ("vic@x.fr.", "", ADDRESS),
        ("o'neill@x.fr", "", "o'neill@x.fr"),
        # None, or none for certain.
        ("Service informatique", "Service informatique", ""),
        ("vic@x.fr on behalf of b@y.fr", "vic@x.fr on behalf of b@y.fr", ""),
        ('"vic@x.fr" <other@y.fr>', "vic@x.fr", "other@y.fr"),
        ("", "", ""),
    ],
)
def test_the_sender_is_read_however_it_is_written(header, name, address):
    assert sender_in(header) == (name, address)
    assert not address or canonical_address(address) in addresses_in(header)


@pytest.mark.parametrize(
    ("header", "addresses"),
    [
        ("a@x.fr; b@x.fr", ["a@x.fr", "b@x.fr"]),
        ("a@x.fr;b@x.fr; ", ["a@x.fr", "b@x.fr"]),
        ('"Petit; Anne" <a@x.fr>; Bob <b@x.fr>, c@x.fr', ["a@x.fr", "b@x.fr", "c@x.fr"]),
        ('"Petit; Anne" <a@x.fr>, b@x.fr', ["a@x.fr", "b@x.fr"]),
        ("Anne (Nord; Sud) <a@x.fr>; b@x.fr", ["a@x.fr", "b@x.fr"]),
        ("=?utf-8?q?Anne;_B?= <a@x.fr>; b@x.fr", ["a@x.fr", "b@x.fr"]),
        ("mailto:a@x.fr; mailto:b@x.fr", ["a@x.fr", "b@x.fr"]),
        ("Anne a@x.fr; Bob [b@x.fr]", ["a@x.fr", "b@x.fr"]),
        ("'a@x.fr'; <'b@x.fr'>; <\"c@x.fr\">", ["a@x.fr", "b@x.fr", "c@x.fr"]),
        ("Petit, Anne <a@x.fr>; Noir, Bob <b@x.fr>", ["a@x.fr", "b@x.fr"]),
        ("Team: a@x.fr, b@x.fr;", ["a@x.fr", "b@x.fr"]),
        ("Team: a@x.fr, b@x.fr;, c@x.fr", ["a@x.fr", "b@x.fr", "c@x.fr"]),
        ("undisclosed-recipients:;", []),
        ("Anne; Bob", []),
    ],
)
def test_recipients_are_told_apart_by_semicolons_too(header, addresses):
    assert [person.address for person in mailboxes_in(header)] == addresses


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        '"a',
        '"',
        '"\\"a',
        "(",
        "(a\\(",
        "<",
        "a@",
        "[",
        "=?a?q?",
        "=?",
        ";",
        "a@b;",
        ":",
        "' ",
        "{ ",
    ],
)
def test_no_list_of_recipients_takes_for_ever(unit):
    assert mailboxes_in(unit * (260_000 // len(unit))) is not None


NAMES = st.text("abcxyz0189._+-", min_size=1, max_size=12).map(lambda name: f"n{name}n")


@given(NAMES, NAMES, st.sampled_from(['"{}"@{}', "'{}@{}'", "{}@{}.", "{}@{}", "<{}@{}>"]))
def test_no_spelling_makes_another_mailbox(local, domain, spelling):
    written = spelling.format(local, domain.replace("_", "-"))
    address = canonical_address(written)

    assert address == f"{local}@{domain.replace('_', '-')}"
    assert canonical_address(address) == address
    assert address in addresses_in(f"Somebody <{written}>")
    assert re.search(spellings_pattern(address), f"of {written} and")


@given(st.text(max_size=200))
def test_any_text_is_read(text):
    for address in addresses_in(text):
        assert is_address(address)
        assert canonical_address(address) == address


@pytest.mark.timeout(60)
@pytest.mark.parametrize("attack", ['"a', "a", '"a"', "a@", "<", "(", "\\", ' "'])
def test_no_header_takes_for_ever(attack):
    assert addresses_in(attack * 500_000) is not None


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ('from \\"vic\\"@x.fr:', True),
        ("'VIC@X.FR'", True),
        ("<vic@x.fr>", True),
        ("vic@x.fr-other", False),
        ("victor.vic@x.fr", False),
        ("vic@x.frx", False),
    ],
)
def test_a_spelling_is_found_in_a_text(text, there):
    assert bool(re.search(spellings_pattern(ADDRESS), text, re.IGNORECASE)) == there
