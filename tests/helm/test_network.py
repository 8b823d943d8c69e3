"""Who may speak to whom, as the NetworkPolicies of the release say it: exactly what is needed."""

from tests.helm.pods import pods
from tests.helm.rendering import FULLNAME, MINIMAL, rendered
from tests.helm.variants import VARIANTS

ANYWHERE = "anywhere"


def connections(manifests):
    """(from, to, port), by component, of all that the policies of both sides let through.

    As Kubernetes judges it: what a policy selects is shut but for what any policy allows, and a
    connection has to be let out as well as in.
    """
    policies = [item["spec"] for item in manifests if item["kind"] == "NetworkPolicy"]
    release = {pod.labels["app.kubernetes.io/component"]: pod.labels for pod in pods(manifests)}
    out = {name: _allowed(policies, labels, "egress", "to") for name, labels in release.items()}
    into = {name: _allowed(policies, labels, "ingress", "from") for name, labels in release.items()}
    found = set()
    for source, labels in release.items():
        for peers, port in out[source]:
            if peers is None or not _is_of_release(peers):
                found.add((source, _place(peers), port))
            for target, others in release.items():
                reaches = peers is None or _selects(peers, others)
                lets_in = any(
                    port == its_port and (its_peers is None or _selects(its_peers, labels))
                    for its_peers, its_port in into[target]
                )
                if reaches and lets_in:
                    found.add((source, target, port))
    for target in release:
        for peers, port in into[target]:
            if peers is None or not _is_of_release(peers):
                found.add((_place(peers), target, port))
    return found


def _allowed(policies, labels, direction, side):
    """The peers (None: any) and ports of all rules for a pod with these labels."""
    mine = [
        policy
        for policy in policies
        if policy["podSelector"]["matchLabels"].items() <= labels.items()
    ]
    assert any(direction.capitalize() in policy["policyTypes"] for policy in mine), labels
    rules = [rule for policy in mine for rule in policy.get(direction, [])]
    return [(rule.get(side), port["port"]) for rule in rules for port in rule["ports"]]


def _selects(peers, labels):
    return any(
        "namespaceSelector" not in peer
        and "podSelector" in peer
        and peer["podSelector"]["matchLabels"].items() <= labels.items()
        for peer in peers
    )


def _is_of_release(peers):
    return all("podSelector" in peer and "namespaceSelector" not in peer for peer in peers)


def _place(peers):
    """The namespace or address that the rule names."""
    if peers is None:
        return ANYWHERE
    (peer,) = peers
    if "ipBlock" in peer:
        return peer["ipBlock"]["cidr"]
    return peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]


def _names(component):
    return {(component, ANYWHERE, 53)}


def _all(sources, target, port):
    return {(source, target, port) for source in sources}


EVERYBODY = {
    *("webserver", "daemon", "code-location", "run_worker", "migrate", "exporter", "evidently"),
    *("test", "chroma", "postgresql"),
}
READERS = {"code-location", "run_worker", "migrate", "exporter", "evidently"}
API = {"webserver", "daemon", "code-location"}


def test_the_bundled_stores_are_open_to_those_who_use_them_alone():
    found = connections(rendered(MINIMAL, upgrade=True))

    assert found == (
        _all(EVERYBODY, ANYWHERE, 53)
        | _all({*READERS, "webserver", "daemon"}, "postgresql", 5432)
        | _all({"code-location", "run_worker", "test"}, "chroma", 8000)
        | _all({"webserver", "daemon"}, "code-location", 3030)
        | _all({"exporter", "test", ANYWHERE}, "webserver", 3000)
        | _all({"test", ANYWHERE}, "exporter", 9479)
        | _all({"test", ANYWHERE}, "evidently", 3002)
        # The port of TICKETS_S3_ENDPOINT, and Kubernetes' own.
        | _all(READERS, ANYWHERE, 7070)
        | _all(API, ANYWHERE, 443)
        | _all(API, ANYWHERE, 6443)
    )


def test_in_production_the_ui_is_reached_by_the_login_alone():
    found = connections(rendered(VARIANTS["production"], upgrade=True))

    everybody = EVERYBODY - {"postgresql"} | {"oauth2-proxy"}
    assert found == (
        _all(everybody, ANYWHERE, 53)
        | _all({*READERS, "webserver", "daemon"}, ANYWHERE, 5432)
        | _all({"code-location", "run_worker", "test"}, "chroma", 8000)
        | _all({"webserver", "daemon"}, "code-location", 3030)
        | _all({"exporter", "test", "oauth2-proxy"}, "webserver", 3000)
        | {("ingress-nginx", "oauth2-proxy", 4180), ("oauth2-proxy", ANYWHERE, 443)}
        | {("test", "exporter", 9479), ("monitoring", "exporter", 9479)}
        | {("test", "evidently", 3002), ("ingress-nginx", "evidently", 3002)}
        | _all(READERS | API, ANYWHERE, 443)
        | _all(API, ANYWHERE, 6443)
        # IMAP with TLS; the alerts' webhook is at 443.
        | {("code-location", ANYWHERE, 993)}
    )


def test_mail_and_alerts_leave_from_the_code_location():
    found = connections(rendered(VARIANTS["everything"]))

    mail = {entry for entry in found if entry[2] in {993, 587}}
    assert mail == {("code-location", ANYWHERE, 993), ("code-location", ANYWHERE, 587)}
    # What the values add is for those that work with the desk's data.
    extra = {source for source, _, port in found if port == 8443}
    assert extra == {"code-location", "run_worker"}
    assert {entry[:2] for entry in found if entry[2] == 6443} == _api("10.0.0.1/32")


def _api(place):
    return {(caller, place) for caller in API}


def test_the_bundled_object_store_is_open_to_those_who_use_it_alone():
    found = connections(rendered(VARIANTS["minikube"], upgrade=True))

    assert {entry for entry in found if entry[2] == 7070} == _all(READERS, "object-store", 7070)


def test_a_nightly_run_fetches_mail_and_reaches_the_stores():
    found = connections(rendered(VARIANTS["nightly"]))

    assert {entry[1:] for entry in found if entry[0] == "nightly"} == {
        (ANYWHERE, 53),
        ("postgresql", 5432),
        ("chroma", 8000),
        (ANYWHERE, 7070),
        (ANYWHERE, 993),
    }


def test_servers_of_ones_own_are_reached_at_their_ports():
    values = {
        "chroma": {"enabled": False},
        "settings": {
            "TICKETS_CHROMA_URL": "https://chroma.example.org:8443",
            "TICKETS_S3_ENDPOINT": "",
        },
        "postgresql": {
            "enabled": False,
            "postgresqlHost": "db.example.org",
            "service": {"port": 6432},
        },
    }

    found = connections(rendered(MINIMAL, values))

    ports = {port for source, place, port in found if source == "run_worker" and place == ANYWHERE}
    assert ports == {53, 6432, 8443, 443}


def test_a_policy_shuts_every_pod_first():
    (default,) = (
        item["spec"]
        for item in rendered(MINIMAL)
        if item["kind"] == "NetworkPolicy" and item["metadata"]["name"] == f"{FULLNAME}-default"
    )

    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    for pod in pods(rendered(MINIMAL, upgrade=True)):
        assert default["podSelector"]["matchLabels"].items() <= pod.labels.items()
