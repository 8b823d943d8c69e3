"""Runs the `tickets` command again and again, without the second that loading it takes.

This process loads what every command loads, and pandas, which most do, and forks for each call: a
line of JSON. What a command needs beyond that it loads itself, and it ends as any process of Python
does. The answer to a call is its exit code.

With all libraries loaded here, runs died at their end: some keep threads, which a fork does not
take along.
"""

import json
import os
import resource
import sys

import pandas  # noqa: F401

from ticket_assets.cli import main


def next_call():
    """A call of the caller, in a process of its own; None in this one when no more will come."""
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            return json.loads(line)
        _, status = os.waitpid(process, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return None


def become(call):
    for descriptor, (path, flags) in enumerate(
        [("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)]
    ):
        os.dup2(os.open(f"{call['streams']}/{path}", flags | os.O_CREAT | os.O_APPEND), descriptor)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
    os.chdir(call["folder"])
    os.environ.clear()
    os.environ.update(call["environment"])
    sys.argv[1:] = call["arguments"]
    if call["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (call["largest_file"],) * 2)


if __name__ == "__main__" and (call := next_call()) is not None:
    become(call)
    main()
