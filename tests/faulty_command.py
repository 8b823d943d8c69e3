"""Runs the `tickets` command with a part of the product damaged: FAULT, then its arguments."""

import sys
from dataclasses import replace

import pandas as pd

from ticket_assets.cli import main


def repeated_ticket():
    """The first message of a run is parsed twice."""
    from ticket_assets.mail import raw_tickets as module

    parse = module.raw_tickets

    def parse_twice(*arguments, **options):
        parsed = parse(*arguments, **options)
        return replace(parsed, tickets=pd.concat([parsed.tickets, parsed.tickets[:1]]))

    module.raw_tickets = parse_twice


def unmasked_telephones():
    """Telephone numbers stay in the texts."""
    from ticket_assets.text import privacy

    privacy.phone_finders = lambda _: ()


def long_vectors():
    """Vectors have another length than 1."""
    from ticket_assets.embedding.encoder import Encoder

    encode = Encoder.encode
    Encoder.encode = lambda *arguments: 2 * encode(*arguments)


if __name__ == "__main__":
    if fault := sys.argv.pop(1):
        globals()[fault]()
    main()
