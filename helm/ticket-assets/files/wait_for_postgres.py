"""Waits until Dagster's database answers, five minutes at most."""

import os
import sys
import time
from pathlib import Path

import psycopg2

PATIENCE_SECONDS = 300
password = Path(os.environ["TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE"]).read_text(encoding="utf-8")
deadline = time.monotonic() + PATIENCE_SECONDS
while True:
    try:
        psycopg2.connect(
            os.environ["TICKETS_DAGSTER_POSTGRES"],
            password=password.strip("\r\n"),
            connect_timeout=10,
        ).close()
        break
    except psycopg2.OperationalError as error:
        if time.monotonic() > deadline:
            sys.exit(f"Dagster's database has not answered for {PATIENCE_SECONDS} seconds: {error}")
        time.sleep(2)
