"""The base class of every error whose message is written for users."""


class TicketAssetsError(Exception):
    """Its message is one line: what went wrong, where, and what to do about it.

    Each concern raises its own subclass; the command line prints the message without a traceback.
    """
