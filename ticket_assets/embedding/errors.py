"""The error of everything that turns texts into vectors."""

from ticket_assets.errors import TicketAssetsError


class EncoderError(TicketAssetsError):
    """An encoder cannot be found, read or used."""


class NotFusableError(Exception):
    """The encoder is not one whose forward pass is known here; the message is the reason."""
