"""How urgent a ticket is: who is hit and how long they can wait, never what it is about."""

from __future__ import annotations

from random import Random

from ticket_assets.sample.material import draw, shares

_IN_ONE_PHRASE = 0.55
"""Tickets that tell impact and urgency in one breath."""
_HEDGED = 0.1
"""Tickets that leave it to the desk or just want an answer soon."""
_JUDGED_OTHERWISE = 0.03
"""Tickets whose label is one step off."""


def priority_and_phrases(rng: Random) -> tuple[str, list[str]]:
    """A ticket's true priority and the kinds of phrase that let it be known.

    Silence means the usual case: one person who would like it done in the next days.
    """
    impact = draw(shares().impacts, rng)
    urgency = draw(shares().urgencies[impact], rng)
    priority = shares().priorities[impact][urgency]
    kinds = [priority]
    if rng.random() >= _IN_ONE_PHRASE:
        mentioned = {impact: 0.55 if impact == "person" else 0.97}
        mentioned[urgency] = 0.75 if urgency == "week" else 0.97
        kinds = [kind for kind, share in mentioned.items() if rng.random() < share]
    if rng.random() < _HEDGED:
        kinds.append("hedge")
    rng.shuffle(kinds)
    return priority, kinds


def as_judged(priority: str, rng: Random) -> str:
    """The priority that a person gives: now and then one step off."""
    if rng.random() >= _JUDGED_OTHERWISE:
        return priority
    order = ("low", "normal", "high", "urgent")
    step = order.index(priority) + rng.choice((-1, 1))
    return order[min(max(step, 0), len(order) - 1)]
