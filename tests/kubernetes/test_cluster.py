"""The small Kubernetes does what the real one does, as far as runs in pods see it."""

import time

import pytest
from kubernetes import client, config

from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import name_of
from tests.kubernetes.runtimes import LocalProcesses
from tests.kubernetes.server import RequestFault

NAMESPACE = "desk"
RULES = [
    {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create", "list", "delete"]},
    {"apiGroups": ["batch"], "resources": ["jobs/status"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "delete"]},
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]},
]


@pytest.fixture
def cluster(tmp_path):
    runtime = LocalProcesses(tmp_path / "pods", {"PATH": "/usr/bin:/bin"})
    cluster = Cluster(tmp_path, runtime)
    cluster.apply(
        NAMESPACE,
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "daemon"}},
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "Role",
                "metadata": {"name": "daemon"},
                "rules": RULES,
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "daemon"},
                "subjects": [{"kind": "ServiceAccount", "name": "daemon"}],
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "Role",
                    "name": "daemon",
                },
            },
        ],
    )
    yield cluster
    cluster.close()


@pytest.fixture
def connection(cluster):
    path = cluster.kubeconfig(NAMESPACE, "daemon")
    with config.new_client_from_config(config_file=str(path)) as connection:
        yield connection


@pytest.fixture
def jobs(connection):
    return client.BatchV1Api(connection)


@pytest.fixture
def pods(connection):
    return client.CoreV1Api(connection)


def job(command, **pod_spec):
    container = {"name": "dagster", "image": "tickets:1", "args": ["sh", "-c", command]}
    container |= pod_spec.pop("container", {})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "run", "labels": {"dagster/run-id": "r1"}},
        "spec": {
            "backoffLimit": 0,
            **pod_spec.pop("job", {}),
            "template": {
                "spec": {"restartPolicy": "Never", "containers": [container], **pod_spec},
            },
        },
    }


def eventually(found):
    """What `found` returns as soon as it is true."""
    until = time.monotonic() + 20
    while not (value := found()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return value


def ended(jobs):
    def end():
        status = jobs.read_namespaced_job_status("run", NAMESPACE).status
        return status if status.conditions else None

    return eventually(end)


def only_pod(pods):
    (pod,) = eventually(
        lambda: pods.list_namespaced_pod(NAMESPACE, label_selector="job-name=run").items
    )
    return pod


def only_pod_in_phase(pods, phase):
    def found():
        pod = only_pod(pods)
        return pod if pod.status.phase == phase else None

    return eventually(found)


def log(pods):
    name = only_pod(pods).metadata.name
    # Otherwise the client gives Python's notation of the bytes.
    answer = pods.read_namespaced_pod_log(name, NAMESPACE, _preload_content=False)
    return answer.data.decode()


def terminated(pod):
    return pod.status.container_statuses[0].state.terminated


def test_a_job_runs_its_pod_to_the_end(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("echo done"))

    assert ended(jobs).succeeded == 1
    pod = only_pod(pods)
    assert pod.status.phase == "Succeeded"
    assert log(pods) == "done\n"


def test_a_pod_that_fails_is_not_repeated_beyond_the_limit(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("exit 3"))

    assert ended(jobs).failed == 1
    assert terminated(only_pod(pods)).exit_code == 3


def test_a_pod_that_fails_is_repeated_up_to_the_limit(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("exit 3", job={"backoffLimit": 2}))

    assert ended(jobs).failed == 3


def test_variables_and_files_come_from_config_maps_and_secrets(cluster, jobs, pods):
    cluster.apply(
        NAMESPACE,
        [
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "settings"},
                "data": {"COLOUR": "blue"},
            },
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "secret"},
                "stringData": {"word": "sésame"},
            },
        ],
    )

    jobs.create_namespaced_job(
        NAMESPACE,
        job(
            "echo $COLOUR; cat $WORD_FILE",
            container={
                "envFrom": [{"configMapRef": {"name": "settings"}}],
                "env": [{"name": "WORD_FILE", "value": "/run/secrets/desk/word"}],
                "volumeMounts": [{"name": "secrets", "mountPath": "/run/secrets/desk"}],
            },
            volumes=[{"name": "secrets", "secret": {"secretName": "secret"}}],
        ),
    )

    ended(jobs)
    assert log(pods) == "blue\nsésame"


@pytest.mark.slow
def test_a_pod_waits_for_its_secret(cluster, jobs, pods):
    reference = {"secretKeyRef": {"name": "secret", "key": "word"}}
    waiting = job("test $WORD = x", container={"env": [{"name": "WORD", "valueFrom": reference}]})

    jobs.create_namespaced_job(NAMESPACE, waiting)

    eventually(lambda: (status := only_pod(pods).status) and status.container_statuses)
    state = only_pod(pods).status.container_statuses[0].state.waiting
    assert state.reason == "CreateContainerConfigError"
    assert 'secrets "secret" not found' in state.message
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}}
    cluster.apply(NAMESPACE, [secret | {"stringData": {"word": "x"}}])
    assert ended(jobs).succeeded == 1


def test_a_deleted_job_leaves_its_pod_unless_told_otherwise(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("sleep 60"))
    only_pod_in_phase(pods, "Running")

    jobs.delete_namespaced_job("run", NAMESPACE)

    assert only_pod(pods).status.phase == "Running"
    assert only_pod(pods).metadata.owner_references in (None, [])


def test_a_deleted_job_ends_its_pod_when_told_so(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("trap 'echo told; exit' TERM; sleep 60 & wait"))
    only_pod_in_phase(pods, "Running")

    jobs.delete_namespaced_job("run", NAMESPACE, propagation_policy="Background")

    eventually(lambda: not pods.list_namespaced_pod(NAMESPACE).items)


@pytest.mark.slow
def test_a_pod_that_does_not_end_is_killed_after_its_grace(jobs, pods):
    stubborn = job("trap '' TERM; while :; do sleep 1; done", terminationGracePeriodSeconds=1)
    jobs.create_namespaced_job(NAMESPACE, stubborn)
    pod = only_pod_in_phase(pods, "Running")

    pods.delete_namespaced_pod(pod.metadata.name, NAMESPACE)

    assert ended(jobs).failed == 1


@pytest.mark.slow
def test_a_pod_has_its_deadline_from_when_it_has_a_node(cluster, jobs, pods):
    cluster.node.is_full = True
    jobs.create_namespaced_job(NAMESPACE, job("sleep 60", activeDeadlineSeconds=1))
    time.sleep(1.5)
    assert only_pod(pods).status.phase == "Pending"

    cluster.node.is_full = False

    assert ended(jobs).failed == 1
    assert only_pod(pods).status.reason == "DeadlineExceeded"


def test_an_image_that_no_registry_has(cluster, jobs, pods):
    cluster.node.lost_images.add("tickets:1")

    jobs.create_namespaced_job(NAMESPACE, job("true"))

    eventually(lambda: pods.list_namespaced_event(NAMESPACE).items)
    assert only_pod(pods).status.container_statuses[0].state.waiting.reason == "ErrImagePull"
    assert jobs.read_namespaced_job_status("run", NAMESPACE).status.active == 1


@pytest.mark.parametrize(
    ("fail", "reasons"),
    [(Cluster.kill, (None, "OOMKilled")), (Cluster.evict, ("Evicted", "Error"))],
)
def test_what_the_node_does_to_pods(cluster, jobs, pods, fail, reasons):
    jobs.create_namespaced_job(NAMESPACE, job("exec sleep 60"))
    pod = only_pod_in_phase(pods, "Running")

    fail(cluster, cluster.store.get("pods", NAMESPACE, pod.metadata.name))

    assert ended(jobs).failed == 1
    assert (only_pod(pods).status.reason, terminated(only_pod(pods)).reason) == reasons


@pytest.mark.slow
def test_a_node_that_is_gone_says_nothing_until_its_pods_are_given_up(cluster, jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("exec sleep 60"))
    pod = only_pod_in_phase(pods, "Running")

    cluster.lose_node(cluster.store.get("pods", NAMESPACE, pod.metadata.name), seconds=1)

    time.sleep(0.5)
    assert only_pod(pods).status.phase == "Running"
    assert ended(jobs).failed == 1


@pytest.mark.slow
def test_finished_jobs_are_removed_after_their_time(jobs, pods):
    jobs.create_namespaced_job(NAMESPACE, job("true", job={"ttlSecondsAfterFinished": 1}))
    ended(jobs)

    eventually(lambda: not pods.list_namespaced_pod(NAMESPACE).items)
    assert jobs.list_namespaced_job(NAMESPACE).items == []


def test_a_verb_that_no_role_gives_is_refused(pods):
    with pytest.raises(client.ApiException) as refused:
        pods.read_namespaced_pod("run", NAMESPACE)

    assert refused.value.status == 403
    assert (
        'pods \\"run\\" is forbidden: User \\"system:serviceaccount:desk:daemon\\" cannot get'
        ' resource \\"pods\\" in API group \\"\\" in the namespace \\"desk\\"'
    ) in refused.value.body


def test_another_namespace_is_refused(pods):
    with pytest.raises(client.ApiException) as refused:
        pods.list_namespaced_pod("kube-system")

    assert refused.value.status == 403


def test_an_object_against_its_schema_is_refused(jobs):
    wrong = job("true", tolerations="all")

    with pytest.raises(client.ApiException) as refused:
        jobs.create_namespaced_job(NAMESPACE, wrong)

    assert refused.value.status == 422


def test_two_jobs_of_one_name_are_refused(jobs):
    jobs.create_namespaced_job(NAMESPACE, job("true"))

    with pytest.raises(client.ApiException) as refused:
        jobs.create_namespaced_job(NAMESPACE, job("true"))

    assert refused.value.status == 409


def test_an_answer_that_is_lost(cluster, jobs):
    cluster.api.fail(RequestFault("create", "jobs", code=500, is_done=True))

    with pytest.raises(client.ApiException):
        jobs.create_namespaced_job(NAMESPACE, job("true"))

    assert [name_of(made) for made in cluster.store.list("jobs")] == ["run"]


@pytest.mark.slow
def test_a_deployment_has_one_pod_and_a_new_one_after_a_restart(cluster, pods):
    labels = {"app": "daemon"}
    container = {"name": "dagster", "image": "tickets:1", "args": ["sleep", "60"]}
    cluster.apply(
        NAMESPACE,
        [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "daemon"},
                "spec": {
                    "selector": {"matchLabels": labels},
                    "template": {
                        "metadata": {"labels": labels},
                        "spec": {"containers": [container]},
                    },
                },
            }
        ],
    )

    def running():
        found = pods.list_namespaced_pod(NAMESPACE, label_selector="app=daemon").items
        return [pod.metadata.name for pod in found if pod.status.phase == "Running"]

    def renewed():
        return [pod for pod in running() if pod != former]

    (former,) = eventually(running)
    cluster.restart(NAMESPACE, "daemon")
    assert eventually(renewed) == running()
