"""Whether the parts of an installed release answer each other: what `helm test` runs.

Each is asked again until it answers, five minutes in all.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request

PATIENCE_SECONDS = 300
QUERY = """
{
  workspaceOrError {
    ... on Workspace {
      locationEntries {
        name
        loadStatus
        locationOrLoadError { __typename ... on PythonError { message } }
      }
    }
  }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } }
}
"""


class NotYetError(Exception):
    """A part does not answer as it should."""


def get(url, host=None):
    request = urllib.request.Request(url, headers={"host": host} if host else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        return answer.read()


def state():
    """What Dagster says of its code locations and daemons."""
    request = urllib.request.Request(  # noqa: S310
        f"{os.environ['WEBSERVER_URL']}/graphql",
        json.dumps({"query": QUERY}).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        return json.load(answer)["data"]


def webserver():
    info = json.loads(get(f"{os.environ['WEBSERVER_URL']}/server_info"))
    return f"Dagster {info['dagster_version']}"


def code_location():
    (entry,) = state()["workspaceOrError"]["locationEntries"]
    loaded = entry["locationOrLoadError"] or {}
    if loaded.get("__typename") != "RepositoryLocation":
        raise NotYetError(f"{entry['loadStatus']} {loaded.get('message', '')}".strip())
    return f"{entry['name']} is loaded"


def daemon():
    statuses = state()["instance"]["daemonHealth"]["allDaemonStatuses"]
    required = [status for status in statuses if status["required"]]
    if silent := [status["daemonType"] for status in required if not status["healthy"]]:
        raise NotYetError(f"no sign of life of {', '.join(sorted(silent))}")
    return f"{len(required)} give signs of life"


def chroma():
    get(f"{os.environ['CHROMA_URL']}/api/v2/heartbeat")
    return "beats"


def exporter():
    return get(f"{os.environ['EXPORTER_URL']}/healthz").decode().strip()


def evidently():
    get(os.environ["EVIDENTLY_URL"], host="localhost")
    return "answers"


PARTS = {
    "WEBSERVER_URL": (webserver, code_location),
    "DAEMON": (daemon,),
    "CHROMA_URL": (chroma,),
    "EXPORTER_URL": (exporter,),
    "EVIDENTLY_URL": (evidently,),
}
deadline = time.monotonic() + PATIENCE_SECONDS
for variable, parts in PARTS.items():
    for part in parts if variable in os.environ else ():
        while True:
            try:
                print(f"{part.__name__}: {part()}", flush=True)
                break
            except (NotYetError, OSError, ValueError, KeyError, TypeError) as error:
                if time.monotonic() > deadline:
                    sys.exit(f"{part.__name__}: {error}")
                time.sleep(3)
