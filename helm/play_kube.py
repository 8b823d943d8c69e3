"""Turns what Helm renders into what `podman play kube` plays: a release on one machine.

    helm template desk helm/ticket-assets -f my-values.yaml | python helm/play_kube.py \\
        | podman play kube --network desk -

Podman knows Pods, ConfigMaps, Secrets and claims. Deployments and StatefulSets become pods with the
name of their Service, by which the others find them. There is no Kubernetes to launch pods at: runs
are processes beside the code location.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Manifest = dict[str, Any]

SERVES = ("StatefulSet", "Deployment")
"""In the order in which they are played: podman starts one pod after the other."""
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
"""Podman would have systemd try them."""
OF_THE_CLUSTER = (
    *("affinity", "nodeSelector", "tolerations", "topologySpreadConstraints"),
    *("priorityClassName", "serviceAccountName", "automountServiceAccountToken"),
    *("enableServiceLinks", "imagePullSecrets"),
)
COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Pod:
    name: str
    labels: dict[str, str]
    spec: Manifest
    restart_policy: str


def played(manifests: list[Manifest], job: str | None = None) -> Iterator[Manifest]:
    """What podman plays of the manifests of a release.

    Args:
        manifests: as Helm renders them.
        job: the end of the name of a Job or a bare Pod, which alone is played; by default, all that
            serves is.

    Raises:
        ValueError: a Service has another port than its pods, or there is no such Job.
    """
    pods = [_pod_of_job(manifests, job)] if job else list(_pods_that_serve(manifests))
    sources = {
        (item["kind"], item["metadata"]["name"]): item
        for item in manifests
        if item["kind"] in {"ConfigMap", "Secret"}
    }
    for key in sorted({key for pod in pods for key in _environment_sources(pod.spec)}):
        if key in sources:
            yield _source(sources[key], key[1])
    for item in manifests:
        if item["kind"] == "StatefulSet" and not job:
            yield from _claims(item)
    for pod in pods:
        yield from _with_sources(pod, sources)


def _pods_that_serve(manifests: list[Manifest]) -> Iterator[Pod]:
    services = [item for item in manifests if item["kind"] == "Service"]
    for kind in SERVES:
        for item in manifests:
            if item["kind"] != kind:
                continue
            template = item["spec"]["template"]
            name, labels, spec = (
                item["metadata"]["name"],
                template["metadata"]["labels"],
                template["spec"],
            )
            for service in services:
                if service["spec"]["selector"].items() <= labels.items():
                    _require_same_ports(service, spec)
                    name = service["metadata"]["name"]
            claims = [
                {
                    "name": _volume(claim),
                    "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]},
                }
                for claim in _claims(item)
            ]
            spec = {**spec, "volumes": [*spec.get("volumes", []), *claims]}
            # With `Always`, podman 4 would start init containers over and over.
            yield Pod(name, labels, spec, "OnFailure")


def _pod_of_job(manifests: list[Manifest], name: str) -> Pod:
    for item in manifests:
        if item["kind"] in {"Job", "Pod"} and item["metadata"]["name"].endswith(f"-{name}"):
            template = item if item["kind"] == "Pod" else item["spec"]["template"]
            labels = template["metadata"]["labels"]
            return Pod(item["metadata"]["name"], labels, template["spec"], "Never")
    raise ValueError(f"There is no Job or Pod whose name ends with -{name}.")


def _require_same_ports(service: Manifest, spec: Manifest) -> None:
    ports = {
        port["name"]: port["containerPort"]
        for container in spec["containers"]
        for port in container.get("ports", [])
    }
    for port in service["spec"]["ports"]:
        if port["port"] != ports[port["targetPort"]]:
            raise ValueError(
                f"The Service {service['metadata']['name']} has the port {port['port']}, and its"
                f" pods {ports[port['targetPort']]}: podman has no Services, so set both alike."
            )


def _claims(item: Manifest) -> Iterator[Manifest]:
    """The claims that a StatefulSet makes for its first pod."""
    for claim in item["spec"].get("volumeClaimTemplates", []):
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"{claim['metadata']['name']}-{item['metadata']['name']}-0"},
            "spec": claim["spec"],
        }


def _volume(claim: Manifest) -> str:
    """The name that its mounts know the claim by."""
    return str(claim["metadata"]["name"]).partition("-")[0]


def _environment_sources(spec: Manifest) -> Iterator[tuple[str, str]]:
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"]
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                yield "Secret", variable["valueFrom"]["secretKeyRef"]["name"]


def _with_sources(pod: Pod, sources: dict[tuple[str, str], Manifest]) -> Iterator[Manifest]:
    """The pod, after copies of what it mounts.

    Podman makes a volume of the name of each, which pods with a name in common would share: their
    temporary files, and keys of a Secret that are not meant for all.
    """
    component = pod.labels[COMPONENT]
    volumes = []
    names = {}
    for volume in pod.spec.get("volumes", []):
        name = names[volume["name"]] = f"{pod.name}-{volume['name']}"
        adapted = {**volume, "name": name}
        for kind, field, key in (
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        ):
            if field not in volume:
                continue
            copy = f"{volume[field][key]}-of-{component}"
            adapted[field] = dict(volume[field])
            if source := sources.get((kind, volume[field][key])):
                yield _source(source, copy)
                adapted[field][key] = copy
            # Podman 4.3 needs it said.
            adapted[field]["optional"] = False
        volumes.append(adapted)
    spec = {key: value for key, value in pod.spec.items() if key not in OF_THE_CLUSTER}
    for kind in ("initContainers", "containers"):
        spec[kind] = [_container(container, names) for container in pod.spec.get(kind, [])]
    yield {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": pod.name, "labels": pod.labels},
        "spec": {**spec, "volumes": volumes, "restartPolicy": pod.restart_policy},
    }


def _container(container: Manifest, volumes: dict[str, str]) -> Manifest:
    # Podman would publish the ports on all addresses of this machine.
    kept = {key: value for key, value in container.items() if key not in (*PROBES, "ports")}
    mounts = container.get("volumeMounts", [])
    return {**kept, "volumeMounts": [{**mount, "name": volumes[mount["name"]]} for mount in mounts]}


def _source(manifest: Manifest, name: str) -> Manifest:
    """A ConfigMap without the launcher of pods, or a Secret as podman 4 reads it."""
    data = dict(manifest.get("data", {}))
    for key, text in manifest.get("stringData", {}).items():
        data[key] = base64.b64encode(text.encode()).decode()
    if "dagster.yaml" in data:
        instance = yaml.safe_load(data["dagster.yaml"])
        instance.pop("run_launcher")
        data["dagster.yaml"] = yaml.safe_dump(instance)
    return {
        "apiVersion": "v1",
        "kind": manifest["kind"],
        "metadata": {"name": name},
        "data": data,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--job", help="play this one alone: migrate, or test")
    job = parser.parse_args().job
    manifests = [manifest for manifest in yaml.safe_load_all(sys.stdin) if manifest]
    try:
        print(yaml.safe_dump_all(played(manifests, job), sort_keys=False), end="")
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
