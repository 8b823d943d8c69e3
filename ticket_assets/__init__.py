"""Turns IT-support mail into tickets with a category, a priority and a queue one can trust."""

import os

# Set before any library is imported, since each reads its switch at import: nothing leaves the
# machine unless the user says so.
for _switch, _value in {
    "ANONYMIZED_TELEMETRY": "False",  # Chroma
    "DO_NOT_TRACK": "1",  # Evidently
    "ITERATIVE_DO_NOT_TRACK": "1",  # Evidently's carrier
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "true",
}.items():
    os.environ.setdefault(_switch, _value)

# Also read when the libraries load: compute threads that wait for one another sleep instead of
# spinning. On cores shared with other work, spinning halves the encoder's speed.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# oneDNN keeps the code it makes for each shape of a matrix, and texts without padding come in ever
# new shapes: at its own limit of 1,024, a thousand texts took 66 MB more each time, no faster.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
