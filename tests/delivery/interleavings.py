"""People and this desk at the same ticket of another system."""

from ticket_assets.delivery.receivers import ReceiverError


def interleave(draw, system, ticket, *, tell, change, people, paths):
    """One ticket's story: people change it before, between and after our looks and writes, and
    answers are lost on the way, so that it is told again. Returns whether it was told in the end.

    Args:
        tell: hands the decision of the ticket over.
        change: draws the fields that somebody sets.
        people: two, who change them.
        paths: parts of the paths of requests that go wrong.
    """
    first, second = people
    is_told = False
    if draw.random() < 0.3:
        system.set_fields(ticket=ticket, user=first, **change(draw))
    for _ in range(draw.choice([0, 1, 1, 2, 3])):
        system.meanwhile(
            method="set_fields", ticket=ticket, user=draw.choice(people), **change(draw)
        )
    for attempt in range(8):
        if attempt < 3 and draw.random() < 0.4:
            kind = draw.choice(["late", "drop", "none"])
            system.fail(kind=kind, part=draw.choice(paths))
        try:
            tell()
        except ReceiverError:
            if draw.random() < 0.3:
                system.set_fields(ticket=ticket, user=second, **change(draw))
            continue
        is_told = True
        break
    if draw.random() < 0.3:
        system.set_fields(ticket=ticket, user=first, **change(draw))
        tell()
    return is_told
