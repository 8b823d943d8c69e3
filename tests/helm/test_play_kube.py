"""What helm/play_kube.py makes of a release for podman."""

import base64
import subprocess
import sys

import pytest
import yaml

from tests.helm.rendering import FULLNAME, MINIMAL, ROOT, rendered

SAME_PORT = {"dagsterWebserver": {"service": {"port": 3000}}}


def played(manifests, *options, check=True):
    return subprocess.run(
        [sys.executable, ROOT / "helm/play_kube.py", *options],
        input=yaml.safe_dump_all(manifests),
        capture_output=True,
        check=check,
        text=True,
    )


@pytest.fixture(scope="module")
def objects():
    text = played(rendered(MINIMAL, SAME_PORT, upgrade=True)).stdout
    return {
        (item["kind"], item["metadata"]["name"].removeprefix(f"{FULLNAME}-")): item
        for item in yaml.safe_load_all(text)
    }


@pytest.mark.slow
def test_the_pods_have_the_names_of_their_services_and_stores_begin(objects):
    names = [name for kind, name in objects if kind == "Pod"]

    assert names == [
        *("chroma", "postgresql"),
        *("code-location", "daemon", "evidently", "exporter", "webserver"),
    ]


def test_a_pod_shares_no_volume_with_another(objects):
    """Podman knows volumes by name alone."""
    pods = [item["spec"] for (kind, _), item in objects.items() if kind == "Pod"]

    volumes = [volume["name"] for pod in pods for volume in pod["volumes"]]
    assert len(volumes) == len(set(volumes))
    for pod in pods:
        mounts = {
            mount["name"]
            for container in [*pod["initContainers"], *pod["containers"]]
            for mount in container["volumeMounts"]
        }
        assert mounts == {volume["name"] for volume in pod["volumes"]}


def test_a_secret_is_there_as_it_was_given(objects):
    secret = objects["Secret", "secrets-of-postgresql"]["data"]["dagster-password"]

    assert base64.b64decode(secret).decode() == MINIMAL["postgresql"]["postgresqlPassword"]


def test_no_port_is_published_and_no_pod_launched(objects):
    text = yaml.safe_dump_all(objects.values())

    assert "containerPort" not in text
    assert "run_launcher" not in text


@pytest.mark.slow
def test_a_job_is_played_alone_with_what_it_reads():
    text = played(rendered(MINIMAL, SAME_PORT, upgrade=True), "--job", "migrate").stdout
    kinds = [item["kind"] for item in yaml.safe_load_all(text)]

    assert sorted(kinds) == ["ConfigMap", "Pod", "Secret"]


@pytest.mark.slow
def test_a_service_with_a_port_of_its_own_is_refused_with_a_sentence():
    done = played(rendered(MINIMAL), check=False)

    assert done.returncode == 1
    assert done.stderr.strip() == (
        f"The Service {FULLNAME}-webserver has the port 80, and its pods 3000: podman has no"
        " Services, so set both alike."
    )
