"""What servers say is shown without the secrets that they quote."""

import base64
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ticket_assets.server_replies import HIDDEN, REPLY_CHARACTERS, cleansed

PASSWORDS = ["correct horse-battery", "sécret-ß", 'qu"ote\\d', "short1", "ya29." + "aZ09-_" * 60]


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


QUOTED = {
    "as it is": lambda user, secret: secret,
    "quoted": lambda user, secret: (
        f'LOGIN "{user}" "' + secret.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
    "as bytes": lambda user, secret: repr(secret.encode()),
    "Base64": lambda user, secret: base64_of(secret),
    "Base64 of PLAIN": lambda user, secret: base64_of(f"\0{user}\0{secret}"),
    "Base64 of XOAUTH2": lambda user, secret: base64_of(f"user={user}\1auth=Bearer {secret}\1\1"),
    "Base64 without padding": lambda user, secret: base64_of(secret).rstrip("="),
    "for addresses": lambda user, secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "percent": lambda user, secret: quote(secret, safe=""),
    "hexadecimal": lambda user, secret: secret.encode().hex(),
    "cut off": lambda user, secret: secret[:-1],
    "Base64, cut off": lambda user, secret: base64_of(f"\0{user}\0{secret}")[:-1],
    "among words": lambda user, secret: f"<{secret}>,",
}


@pytest.mark.parametrize("quoted", QUOTED.values(), ids=QUOTED)
def test_a_reply_is_shown_without_the_secret(quoted):
    for secret in PASSWORDS:
        for user in ("u", "us", "desk@example.org"):
            words = cleansed(f"[AUTH] Refused: {quoted(user, secret)} is wrong", [secret])

            assert words.startswith("[AUTH] Refused:"), (user, secret)
            assert HIDDEN in words, (user, secret)
            pieces = [secret[start : start + 5] for start in range(len(secret) - 4)]
            assert not [piece for piece in pieces if piece in words], (user, secret)


@given(st.text(min_size=6, max_size=40), st.text(max_size=30), st.text(max_size=30))
def test_no_secret_survives_beside_other_text(secret, before, after):
    assume(secret.strip() == secret and " " not in secret)

    for code in (secret, base64_of(secret), base64_of(f"\0user\0{secret}")):
        shown = cleansed(f"{before} {code} {after}", [secret])
        assert code not in shown


def test_a_reply_in_several_words_is_left_out_as_a_whole():
    code = base64_of("\0user\0correct-horse")

    words = " ".join(code[start : start + 4] for start in range(0, len(code), 4))

    assert cleansed(f"No: {words}", ["correct-horse"]) == HIDDEN


def test_a_reply_without_a_secret_stays_as_it_is_and_is_cut():
    assert cleansed("Invalid credentials (Failure) abc123", ["hunter2"]) == (
        "Invalid credentials (Failure) abc123"
    )
    assert len(cleansed("page " * 1000, [])) == REPLY_CHARACTERS
    assert cleansed("\x1b[2Jgone\r\nError: x", []) == r"\x1b[2Jgone Error: x"
