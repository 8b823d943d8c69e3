"""The error of everything that turns texts into vectors."""

from ticket_assets.errors import TicketAssetsError


class EncoderError(TicketAssetsError):
    """An encoder cannot be found, read or used."""
