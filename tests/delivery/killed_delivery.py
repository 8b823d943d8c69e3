"""A process that hands over decisions and kills itself at one of the calls that change something.

Prints the number of such calls if it lives.
"""

import itertools
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tests.services.webhook import SECRET
from ticket_assets.delivery.folder_receiver import Folder
from ticket_assets.delivery.handover import hand_over
from ticket_assets.delivery.receivers import Receiver
from ticket_assets.delivery.webhook_receiver import Webhook
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings

CHANGES = {"begin", "execute", "commit", "sendall", "send", "recv_into", "replace", "rename"} | {
    *("fsync", "unlink", "touch", "open", "mkdir", "link", "close")
}


def main(data: str, receiver: str, target: str, kill_at: int) -> None:
    desk = Desk(Settings(_env_file=None, data_dir=Path(data)))
    made: Receiver = (
        Webhook(target, SECRET, timeout=1.0)
        if receiver == "webhook"
        else Folder(Path(target), "jsonl")
    )
    made.batch_size = min(made.batch_size, 50)
    calls = itertools.count(1)

    def count(_: Any, event: str, function: Any) -> None:
        # Before it and after it: a process may die in between.
        if (
            event in {"c_call", "c_return"}
            and function.__name__ in CHANGES
            and next(calls) == kill_at
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(count)
    sys.setprofile(count)
    told = hand_over(desk, [made])
    sys.setprofile(None)
    print(json.dumps({"calls": next(calls), "problem": told[receiver].problem}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
