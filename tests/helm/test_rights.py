"""What the release's processes may do at the Kubernetes API: the calls that they make, no more."""

from tests.helm.rendering import FULLNAME, MINIMAL, rendered


def rights(manifests):
    """(resource, verb) by service account."""
    roles = {item["metadata"]["name"]: item for item in manifests if item["kind"] == "Role"}
    found = {}
    for binding in (item for item in manifests if item["kind"] == "RoleBinding"):
        (subject,) = binding["subjects"]
        found[subject["name"].removeprefix(f"{FULLNAME}-")] = {
            ("/".join(filter(None, [group, resource])), verb)
            for rule in roles[binding["roleRef"]["name"]]["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }
    return found


def test_each_process_has_the_rights_it_needs_and_no_other():
    assert rights(rendered(MINIMAL)) == {
        "daemon": {
            ("batch/jobs", "create"),  # a run is launched
            ("batch/jobs/status", "get"),  # run monitoring
            ("batch/jobs", "delete"),  # a run is ended
            ("pods", "list"),
            ("pods", "delete"),
            ("batch/jobs", "list"),  # what is told of a run whose pod is gone
            ("pods/log", "get"),
            ("events", "list"),
        },
        "webserver": {  # a person ends a run
            ("batch/jobs", "delete"),
            ("pods", "list"),
            ("pods", "delete"),
        },
        "code-location": {  # the sensor reap_jobs
            ("batch/jobs", "list"),
            ("batch/jobs", "delete"),
        },
    }


def test_nothing_belongs_to_the_cluster_but_priority_classes():
    kinds = {item["kind"] for item in rendered(MINIMAL) if "namespace" not in item["metadata"]}

    assert kinds == {"PriorityClass"}
