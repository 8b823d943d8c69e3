"""Dates as mail clients and people write them; strftime's names would follow the machine."""

from __future__ import annotations

from datetime import datetime

_WEEKDAYS = {
    "fr": ["lundi", "mardi", "mercredi", "jeudi", "vendredi", "samedi", "dimanche"],
    "en": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
}
_MONTHS = {
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "en": "January February March April May June July August September October November December",
}
_SHORT_MONTHS = {
    "fr": [
        "janv.",
        "févr.",
        "mars",
        "avr.",
        "mai",
        "juin",
        "juil.",
        "août",
        "sept.",
        "oct.",
        "nov.",
        "déc.",
    ],
    "en": [month[:3] for month in _MONTHS["en"].split()],
}


def numeric(moment: datetime, language: str) -> str:
    """ "03/11/2025" in French, "3 November 2025" in English."""
    if language == "fr":
        return f"{moment:%d/%m/%Y}"
    return f"{moment.day} {_month(moment, language)} {moment.year}"


def abbreviated(moment: datetime, language: str) -> str:
    """ "lun. 3 nov. 2025 à 09:12" or "Mon, 3 Nov 2025 at 09:12", as above a quote."""
    weekday = _WEEKDAYS[language][moment.weekday()][:3]
    day = f"{moment.day} {_SHORT_MONTHS[language][moment.month - 1]} {moment.year}"
    if language == "fr":
        return f"{weekday}. {day} à {moment:%H:%M}"
    return f"{weekday}, {day} at {moment:%H:%M}"


def full(moment: datetime, language: str) -> str:
    """ "lundi 3 novembre 2025 09:12" or "03 November 2025 09:12", as in Outlook's header block."""
    day = f"{moment.day} {_month(moment, language)} {moment.year} {moment:%H:%M}"
    return f"{_WEEKDAYS[language][moment.weekday()]} {day}" if language == "fr" else day


def _month(moment: datetime, language: str) -> str:
    return _MONTHS[language].split()[moment.month - 1]
