"""The one base class of every error whose message is written for the person who meets it."""


class TicketAssetsError(Exception):
    """What went wrong, where, and what to do about it, in one line.

    Each concern raises its own subclass where the fact is known; the command line prints the
    message without a traceback.
    """
