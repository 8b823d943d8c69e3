"""Turns IT-support mail into tickets with a category, a priority and a queue to trust."""

import os
import sys

# Nothing leaves the machine unless the user allows it. Set before any library is imported: each
# reads its switch at import.
for _switch, _value in {
    "ANONYMIZED_TELEMETRY": "False",  # Chroma
    "DO_NOT_TRACK": "1",  # Evidently
    "ITERATIVE_DO_NOT_TRACK": "1",  # Evidently's carrier
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
}.items():
    os.environ.setdefault(_switch, _value)

# Also read when the libraries load. Compute threads that wait for one another then sleep instead of
# spinning, which on cores shared with other work halves the encoder's speed.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# OpenVINO's converter and NNCF report what they do through this package, and have no switch.
# Without it they report nothing.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
