"""The files of languages: complete, readable, and enough to add a language."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from ticket_assets.settings import Settings
from ticket_assets.text import languages as languages_module
from ticket_assets.text.languages import (
    FOLDER,
    LanguageFileError,
    Words,
    all_words,
    languages,
    words_of,
)
from ticket_assets.text.tokens import tokens

FILES = {path.stem: path for path in FOLDER.glob("*.yaml")}
KEYS = [field.name for field in fields(Words)]
EMPTY: dict[str, object] = {key: [] for key in KEYS}


@pytest.mark.parametrize("language", sorted(FILES.keys() - {"others"}))
def test_all_languages_have_the_same_keys_in_the_same_order(language: str) -> None:
    assert list(yaml.safe_load(FILES[language].read_text("utf-8"))) == KEYS


def test_every_language_that_the_settings_allow_has_a_file() -> None:
    allowed = Settings.model_fields["languages"].default

    assert set(allowed) <= FILES.keys()
    assert all(words_of(language).stopwords for language in allowed)


def test_the_detector_knows_every_language() -> None:
    import eldc

    eldc.init()
    coded = sorted(FILES.keys() - {"others"})

    assert sorted(eldc.instance().set_languages(coded)) == coded


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"contractions", "written_dates"}))
def test_every_entry_is_a_pattern_in_small_letters_that_captures_nothing(key: str) -> None:
    entries = [entry for words in languages() for entry in getattr(words, key)]

    assert [entry for entry in entries if re.compile(entry).groups] == []
    # Only escapes like \W and ranges like A-Z may be capitals.
    small = [re.sub(r"\\[A-Z]|A-Z", "", entry) for entry in entries]
    assert [entry for entry in small if entry != entry.lower()] == []


def test_footers_and_names_of_secrets_are_not_overlooked_for_want_of_a_plain_word() -> None:
    """The plain words are looked for first; a footer without one of them would stay."""
    words = all_words()

    for hints, entries in (
        (words.footer_words, words.mobile_footers + words.environment_footers),
        (words.secret_hints, words.password_words + words.secret_names),
        (words.secret_hints, words.code_words + words.phrase_names),
        (words.login_hints, words.login_names),
    ):
        # Of [oö] or s? there is one letter or none: compare what is left of both without them.
        plain = [
            re.sub(r"\[[^]]*\]|\w\?|[^\w. -]", " ", entry.replace("\\.", ".")) for entry in entries
        ]
        assert [entry for entry in plain if not any(hint in entry for hint in hints)] == []


@pytest.mark.slow
def test_one_file_adds_a_language(tmp_path: Path) -> None:
    """Without a line of Python: a made-up language is read, cleaned and split like the others."""
    for path in FILES.values():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    made_up = EMPTY | {
        "stopwords": "zu lem",
        "elisions": "w",
        "reply_prefixes": "zre",
        "introduction_starts": "ze",
        "introduction_verbs": "zkrib",
        "date_words": "zmonda zmarzo",
        "header_sender": "zvon",
        "header_sent": "zsent",
        "header_subject": "zbetre",
        "header_other": "zan",
        "closings": ["zaludi(?: zordiali)?"],
        "greetings": "zalut",
    }
    (tmp_path / "zz.yaml").write_text(yaml.safe_dump(made_up))
    program = (
        "import sys, pathlib\n"
        "from ticket_assets.text import languages\n"
        "languages.FOLDER = pathlib.Path(sys.argv[1])\n"
        "from ticket_assets.text.cleaning import clean_text\n"
        "from ticket_assets.text.tokens import tokens\n"
        "for body in (\n"
        "    'Print kaput 12\\n\\nZaludi zordiali\\nAna Berg\\n\\n'\n"
        "    'Ze zmonda 12 zmarzo 2026, Desk <d@example.org> zkrib:\\n> Bitte',\n"
        "    'Zalut,\\n\\nZvon: Ana\\nZsent: zmonda 12\\nZan: Desk\\nZbetre: Print\\n\\n'\n"
        "    'Print 12',\n"
        "):\n"
        "    clean = clean_text('Zre: Print', body, None, languages=['fr'], phone_regions=['FR'])\n"
        "    print(repr(clean.text))\n"
        "print(tokens('lem w\\'print', 'zz'))\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True
    )

    assert done.stdout.splitlines() == [
        "'Print\\nPrint kaput 12'",
        "'Print\\nZalut,\\nPrint 12'",
        "['print']",
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"closing": ["saluti"]}, "there is no key closing"),
        ({"closings": None}, "closings is not a list of texts"),
        ({"turning_words": False}, "turning_words is not a list of texts; quote yes, no"),
        ({"introduction_starts": [True]}, "introduction_starts is not a list of texts"),
        ({"priorities": ["bassa", "alta"]}, "priorities needs 4 entries, or none"),
    ],
)
def test_a_file_that_is_not_right_is_named_with_its_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], problem: str
) -> None:
    (tmp_path / "xx.yaml").write_text(yaml.safe_dump(EMPTY | changes))
    monkeypatch.setattr(languages_module, "FOLDER", tmp_path)

    with pytest.raises(LanguageFileError, match=rf"xx\.yaml: {problem}"):
        words_of("xx")
    words_of.cache_clear()


def test_a_missing_list_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "xx.yaml").write_text(yaml.safe_dump({key: [] for key in KEYS[:-2]}))
    monkeypatch.setattr(languages_module, "FOLDER", tmp_path)

    with pytest.raises(LanguageFileError, match=f"xx.yaml: add {KEYS[-2]}, {KEYS[-1]}, as in fr"):
        words_of("xx")


def test_a_language_without_a_file_has_no_words() -> None:
    assert tokens("il mio PC", "xx") == ["il", "mio", "pc"]
    assert words_of("../xx") == words_of("xx") == Words(*[()] * len(KEYS))


@pytest.mark.slow
def test_the_files_are_read_when_the_first_mail_is() -> None:
    """Not when the command starts, nor when Dagster reads the definitions."""
    program = (
        "import ticket_assets.cli, ticket_assets.text.cleaning, ticket_assets.mail.importing\n"
        "from ticket_assets.text.languages import words_of\n"
        "print(words_of.cache_info().currsize)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == "0"
