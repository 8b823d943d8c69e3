"""Cases of a table that `make check` leaves out: what the first of them show is enough there."""

from typing import Any

import pytest


def slow(*cases: Any) -> list[Any]:
    """The cases, each a value or a tuple of values, marked."""
    return [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]
