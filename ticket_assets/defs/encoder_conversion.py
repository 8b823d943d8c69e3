"""Says in the event log, which `tickets run` shows, that an encoder is being converted."""

import dagster as dg


def report_conversion(context: dg.AssetExecutionContext, encoder: str) -> None:
    """Report that the encoder of this name is converted before its first use here."""
    context.instance.report_engine_event(
        f"Converts {encoder} for OpenVINO and compares its vectors on this kind of CPU: once, for a"
        " minute or two",
        context.run,
    )
