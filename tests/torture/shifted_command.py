"""Runs the `tickets` command with a clock that is wrong: by SECONDS, then its arguments."""

import sys
import time

import time_machine

from ticket_assets.cli import main

if __name__ == "__main__":
    time_machine.travel(time.time() + float(sys.argv.pop(1)), tick=True).start()
    main()
