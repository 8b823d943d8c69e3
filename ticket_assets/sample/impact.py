"""How urgent a ticket is: who is hit and how long they can wait, never what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

IMPACTS = {"person": 0.64, "team": 0.22, "site": 0.14}
"""Share of tickets by who is hit: one person, a team, a whole site or its customers."""
URGENCIES = {
    "person": {"later": 0.42, "week": 0.28, "today": 0.13, "now": 0.17},
    "team": {"later": 0.15, "week": 0.35, "today": 0.30, "now": 0.20},
    "site": {"later": 0.05, "week": 0.25, "today": 0.30, "now": 0.40},
}
"""For each impact, the share of tickets by when it has to work again."""

# The impact x urgency matrix of ITIL service operation, with four priorities.
PRIORITIES = {
    "person": {"later": "low", "week": "normal", "today": "normal", "now": "high"},
    "team": {"later": "normal", "week": "normal", "today": "high", "now": "urgent"},
    "site": {"later": "normal", "week": "high", "today": "urgent", "now": "urgent"},
}
_ORDER = ("low", "normal", "high", "urgent")
_IN_ONE_PHRASE = 0.55
"""Tickets that tell impact and urgency in one breath."""
_HEDGED = 0.1
"""Tickets that leave it to the desk or just want an answer soon."""
_JUDGED_OTHERWISE = 0.03
"""Tickets whose label is one step off."""


def draw(shares: Mapping[str, float], rng: Random) -> str:
    """One of the keys, each with the chance its share gives it."""
    return rng.choices(list(shares), list(shares.values()))[0]


def urgency_told(rng: Random) -> tuple[str, list[str]]:
    """A ticket's true priority and the kinds of phrase that let it be known.

    Silence means the usual case: one person who would like it done in the next days.
    """
    impact = draw(IMPACTS, rng)
    urgency = draw(URGENCIES[impact], rng)
    priority = PRIORITIES[impact][urgency]
    if rng.random() < _IN_ONE_PHRASE:
        kinds = [priority]
    else:
        kinds = []
        if rng.random() < (0.55 if impact == "person" else 0.97):
            kinds.append(impact)
        if rng.random() < (0.75 if urgency == "week" else 0.97):
            kinds.append(urgency)
    if rng.random() < _HEDGED:
        kinds.append("hedge")
    rng.shuffle(kinds)
    return priority, kinds


def as_judged(priority: str, rng: Random) -> str:
    """The priority that a person gives: now and then one step off."""
    if rng.random() >= _JUDGED_OTHERWISE:
        return priority
    step = rng.choice((-1, 1))
    return _ORDER[min(max(_ORDER.index(priority) + step, 0), len(_ORDER) - 1)]
