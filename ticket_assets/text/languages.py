"""The words of human languages by which mail is read, from one file of `languages/` each."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, fields
from itertools import chain
from pathlib import Path

from ticket_assets.errors import TicketAssetsError

FOLDER = Path(__file__).with_name("languages")
_OTHERS = "others"
"""Holds single words of languages without a file of their own, so it may leave out lists."""
_STEPS = {"priorities": 4, "months": 12}

Entries = tuple[str, ...]


class LanguageFileError(TicketAssetsError):
    """A file of `languages/` does not hold what it must."""


@dataclass(frozen=True)
class Words:
    """The words of one language or of all; `languages/fr.yaml` says what each list is for."""

    stopwords: Entries
    elisions: Entries
    contractions: Entries
    inverted_pronouns: Entries
    number_namers: Entries
    request_words: Entries
    turning_words: Entries
    reminders: Entries
    reply_prefixes: Entries
    forward_prefixes: Entries
    external_words: Entries
    automatic_reply_subjects: Entries
    delivery_report_subjects: Entries
    ticket_number_words: Entries
    html_notices: Entries
    introduction_starts: Entries
    introduction_verbs: Entries
    original_marks: Entries
    forward_marks: Entries
    header_sender: Entries
    header_sent: Entries
    header_date: Entries
    header_subject: Entries
    header_other: Entries
    notes_below: Entries
    greetings: Entries
    answer_above: Entries
    answer_below: Entries
    desk_line_words: Entries
    closings: Entries
    thanks: Entries
    conjunctions: Entries
    mobile_footers: Entries
    mail_programs: Entries
    brevity_excuses: Entries
    environment_footers: Entries
    footer_words: Entries
    message_references: Entries
    legal_words: Entries
    confidential_words: Entries
    addressee_words: Entries
    misdelivery_words: Entries
    first_person: Entries
    banner_tags: Entries
    banners: Entries
    banner_advice: Entries
    phone_labels: Entries
    company_words: Entries
    person_titles: Entries
    name_particles: Entries
    small_words: Entries
    pronouns: Entries
    announcing_words: Entries
    announcing_ends: Entries
    trouble_words: Entries
    other_person_words: Entries
    afterwords: Entries
    error_words: Entries
    proxy_marks: Entries
    password_words: Entries
    secret_names: Entries
    code_words: Entries
    code_things: Entries
    code_links: Entries
    phrase_names: Entries
    copulas: Entries
    secret_roles: Entries
    setting_verbs: Entries
    login_names: Entries
    login_hints: Entries
    secret_hints: Entries
    no_secrets: Entries
    secret_suspicions: Entries
    secret_suspicion_hints: Entries
    secret_mentions: Entries
    secret_mention_hints: Entries
    long_secret_words: Entries
    secret_topics: Entries
    one_time_words: Entries
    open_code_words: Entries
    product_names: Entries
    machine_words: Entries
    version_words: Entries
    address_words: Entries
    direction_words: Entries
    units: Entries
    at_words: Entries
    dot_words: Entries
    mark_words: Entries
    digit_words: Entries
    tax_id_names: Entries
    person_id_names: Entries
    phone_announcements: Entries
    phone_links: Entries
    reference_words: Entries
    customer_words: Entries
    number_words: Entries
    priorities: Entries
    months: Entries
    weekdays: Entries
    date_words: Entries
    hour_words: Entries
    time_zones: Entries
    date_orders: Entries
    subject_columns: Entries
    body_columns: Entries
    sender_columns: Entries
    sender_name_columns: Entries
    recipients_columns: Entries
    received_at_columns: Entries
    message_id_columns: Entries
    in_reply_to_columns: Entries
    category_columns: Entries
    priority_columns: Entries
    ticket_id_columns: Entries
    labelled_at_columns: Entries
    labelled_by_columns: Entries


@functools.cache
def words_of(language: str) -> Words:
    """The words of one language (ISO 639-1); none for a language that has no file.

    Raises:
        LanguageFileError: the file has an unknown key, lacks one, or holds what is no text.
    """
    path = FOLDER / f"{language}.yaml"
    if not re.fullmatch("[a-z]{2}|others", language) or not path.is_file():
        return Words(*((),) * len(fields(Words)))
    return _words(path)


@functools.cache
def languages() -> tuple[Words, ...]:
    """The words of each language that has a file, and of the others together."""
    return tuple(words_of(path.stem) for path in sorted(FOLDER.glob("*.yaml")))


@functools.cache
def all_words() -> Words:
    """The words of all languages together, each once."""
    lists = (
        chain.from_iterable(getattr(words, field.name) for words in languages())
        for field in fields(Words)
    )
    return Words(*(tuple(dict.fromkeys(entries)) for entries in lists))


def one_of(entries: Entries) -> str:
    """A pattern that matches any of the entries, and nothing when there are none."""
    return f"(?:{'|'.join(entries) or '(?!)'})"


def phrases(entries: Entries, before: str = "", after: str = "") -> re.Pattern[str]:
    """What matches any of the entries between two other patterns, whatever the case."""
    return re.compile(f"{before}{one_of(entries)}{after}", re.IGNORECASE)


def small_phrases(entries: Entries, before: str = "", after: str = "") -> re.Pattern[str]:
    """What `phrases` matches, in a text in small letters: where case counts a search takes half."""
    return re.compile(f"{before}{one_of(entries)}{after}")


def small_letters(text: str) -> str:
    """`text` in small letters, each in its place: of "İ" Python makes two."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(sign.lower()[0] for sign in text)


def _words(path: Path) -> Words:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where it is built
    try:
        lists = yaml.load(path.read_text("utf-8"), Loader=loader)  # noqa: S506  a safe one
    except yaml.YAMLError as error:
        raise LanguageFileError(
            f"{path} is not valid YAML: {' '.join(str(error).split())}."
        ) from None
    names = [field.name for field in fields(Words)]
    if not isinstance(lists, dict):
        raise LanguageFileError(f"{path}: expected the keys that fr.yaml explains.")
    if unknown := sorted(map(str, lists.keys() - set(names))):
        raise LanguageFileError(f"{path}: there is no key {', '.join(unknown)}; see fr.yaml.")
    missing = [name for name in names if name not in lists]
    if missing and path.stem != _OTHERS:
        raise LanguageFileError(
            f"{path}: add {', '.join(missing)}, as in fr.yaml; `[]` where there are none."
        )
    return Words(*(_entries(path, name, lists.get(name, [])) for name in names))


def _entries(path: Path, name: str, value: object) -> Entries:
    entries = value.split() if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise LanguageFileError(
            f"{path}: {name} is not a list of texts; quote yes, no, on, off and what holds `: `."
        )
    if entries and len(entries) != _STEPS.get(name, len(entries)):
        raise LanguageFileError(f"{path}: {name} needs {_STEPS[name]} entries, or none.")
    return tuple(entries)
