"""The chart's manifests: valid for Kubernetes, and of one piece where schemas do not look."""

import functools
import json
import re

import helm_python as helm
import jsonschema
import kubernetes_validate
import pytest
import yaml
from kubernetes.utils import parse_quantity

from tests.helm.custom_resources import SCHEMAS
from tests.helm.pods import pods, run_jobs
from tests.helm.rendering import CHART, FULLNAME, MINIMAL, NAMESPACE, ROOT, merged, one, rendered
from tests.helm.variants import EVERYTHING, NOT_OURS, VARIANTS
from tests.slow_cases import slow
from ticket_assets.routing import load_routing
from ticket_assets.settings import Settings

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")


@pytest.fixture(params=VARIANTS, scope="module")
def manifests(request):
    """The manifests of each of the values, at an upgrade: with the migration."""
    return rendered(VARIANTS[request.param], upgrade=True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_lint_finds_nothing(variant):
    report = helm.lint(
        CHART, VARIANTS[variant], strict=True, namespace=NAMESPACE, kube_version="v1.33.0"
    )

    assert report["errors"] == []
    # 1 is information: a chart without an icon.
    assert [message["error"] for message in report["messages"] if message["severity"] > 1] == []


@functools.cache
def _valid(text, version):
    """A manifest is the same in many variants."""
    kubernetes_validate.validate(json.loads(text), version, strict=True)


@pytest.mark.parametrize("version", [VERSIONS[0], *slow(*VERSIONS[1:])])
def test_kubernetes_takes_every_manifest(manifests, version):
    for manifest in [*manifests, *run_jobs(manifests).values()]:
        if manifest["kind"] in SCHEMAS:
            jsonschema.validate(manifest, SCHEMAS[manifest["kind"]])
        else:
            _valid(json.dumps(manifest, sort_keys=True), version)


def test_a_manifest_with_an_unknown_field_is_not_taken():
    daemon = one(rendered(MINIMAL), "Deployment", "daemon")
    daemon["spec"]["replica"] = 1

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(daemon, VERSIONS[0], strict=True)


def test_names_are_unique_and_in_the_namespace(manifests):
    keys = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]

    assert len(keys) == len(set(keys))
    for manifest in manifests:
        expected = None if manifest["kind"] == "PriorityClass" else NAMESPACE
        assert manifest["metadata"].get("namespace") == expected, manifest


def test_a_long_name_of_a_release_leaves_valid_names():
    values = merged(VARIANTS["nightly"], {"fullnameOverride": "a" * 80})

    names = [(item["kind"], item["metadata"]["name"]) for item in rendered(values, upgrade=True)]

    assert max(len(name) for kind, name in names if kind != "PriorityClass") <= 63
    assert max(len(name) for kind, name in names if kind == "CronJob") <= 52


def _selects(selector, labels):
    return selector.items() <= labels.items()


def test_what_selects_pods_selects_those_it_means(manifests):
    """A Service, a budget, a policy: pods of one workload, and never those of runs beside them."""
    release = list(pods(manifests))
    for manifest in manifests:
        spec, kind = manifest.get("spec", {}), manifest["kind"]
        name = manifest["metadata"]["name"]
        if kind in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
            selector = spec["selector"]["matchLabels"]
        elif kind == "Service":
            selector = spec["selector"]
        elif kind == "NetworkPolicy" and not name.endswith("-default"):
            selector = spec["podSelector"]["matchLabels"]
        else:
            continue
        selected = {pod.name.split("/")[0] for pod in release if _selects(selector, pod.labels)}
        owners = {pod.name for pod in release if _selects(selector, pod.labels)}
        assert selected == {"run"} or len(owners) == 1, (kind, name, owners)


def test_every_pod_is_of_the_release(manifests):
    """Else the policy that shuts all of them would leave one open."""
    for pod in pods(manifests):
        assert pod.labels["app.kubernetes.io/name"] == "ticket-assets", pod.name
        assert pod.labels["app.kubernetes.io/instance"] == "desk", pod.name


def test_ports_exist_where_they_are_named(manifests):
    by_labels = [(pod, _ports(pod)) for pod in pods(manifests)]
    for pod, ports in by_labels:
        for container in pod.containers:
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                check = container.get(probe, {})
                for kind in ("httpGet", "tcpSocket", "grpc"):
                    if kind in check:
                        assert check[kind]["port"] in ports, (pod.name, probe)
    services = {item["metadata"]["name"]: item for item in manifests if item["kind"] == "Service"}
    for name, service in services.items():
        (ports,) = (
            ports for pod, ports in by_labels if _selects(service["spec"]["selector"], pod.labels)
        )
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name
    for ingress in (item for item in manifests if item["kind"] == "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                offered = {port["name"] for port in services[backend["name"]]["spec"]["ports"]}
                assert backend["port"]["name"] in offered
    for monitor in (item for item in manifests if item["kind"] == "ServiceMonitor"):
        (service,) = (
            service
            for service in services.values()
            if _selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        )
        offered = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= offered


def _ports(pod):
    ports = [port for container in pod.containers for port in container.get("ports", [])]
    return {port["name"] for port in ports} | {port["containerPort"] for port in ports}


def test_what_is_referred_to_exists(manifests):
    objects = {(item["kind"], item["metadata"]["name"]): item for item in manifests}
    for pod in pods(manifests):
        for kind, name, keys in _references(pod.spec, pod.containers):
            if (kind, name) in NOT_OURS:
                continue
            assert (kind, name) in objects, (pod.name, kind, name)
            held = objects[kind, name]
            present = {**held.get("data", {}), **held.get("stringData", {})}
            assert keys <= present.keys(), (pod.name, name)
        volumes = {volume["name"] for volume in pod.spec.get("volumes", [])}
        claims = {
            claim["metadata"]["name"]
            for item in manifests
            if item["kind"] == "StatefulSet" and pod.name.endswith(item["metadata"]["name"])
            for claim in item["spec"]["volumeClaimTemplates"]
        }
        mounted = set()
        for container in pod.containers:
            mounts = container.get("volumeMounts", [])
            mounted |= {mount["name"] for mount in mounts}
            paths = [mount["mountPath"] for mount in mounts]
            assert len(paths) == len(set(paths)), pod.name
        assert mounted == volumes | claims, pod.name
    for manifest in manifests:
        if manifest["kind"] == "StatefulSet":
            assert ("Service", manifest["spec"]["serviceName"]) in objects
        if manifest["kind"] == "RoleBinding":
            assert ("Role", manifest["roleRef"]["name"]) in objects
            for subject in manifest["subjects"]:
                assert (subject["kind"], subject["name"]) in objects
        if manifest["kind"] == "Ingress":
            for tls in manifest["spec"].get("tls", []):
                assert ("Secret", tls["secretName"]) in NOT_OURS


def _references(spec, containers):
    """Kind, name and keys of the objects that a pod needs to start."""
    yield "ServiceAccount", spec["serviceAccountName"], set()
    if "priorityClassName" in spec:
        yield "PriorityClass", spec["priorityClassName"], set()
    for secret in spec.get("imagePullSecrets", []):
        yield "Secret", secret["name"], set()
    for volume in spec.get("volumes", []):
        if "configMap" in volume:
            source = volume["configMap"]
            keys = {item["key"] for item in source.get("items", [])}
            yield "ConfigMap", source["name"], keys
        elif "secret" in volume:
            source = volume["secret"]
            yield "Secret", source["secretName"], {item["key"] for item in source["items"]}
        elif "persistentVolumeClaim" in volume:
            yield "PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"], set()
        else:
            assert "emptyDir" in volume, volume
    for container in containers:
        for source in container.get("envFrom", []):
            yield "ConfigMap", source["configMapRef"]["name"], set()
        for variable in container.get("env", []):
            if "valueFrom" in variable:
                key = variable["valueFrom"]["secretKeyRef"]
                yield "Secret", key["name"], {key["key"]}


def test_pods_are_restricted(manifests):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a root
    file system that is read-only."""
    for pod in pods(manifests):
        assert not pod.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"}, pod.name
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] is True, pod.name
        assert security["runAsUser"] > 0, pod.name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        allowed = {"name", "emptyDir", "configMap", "secret", "persistentVolumeClaim"}
        for volume in pod.spec.get("volumes", []):
            assert volume.keys() <= allowed, pod.name
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            }, (pod.name, container["name"])
            for port in container.get("ports", []):
                assert "hostPort" not in port
            assert "hostProcess" not in json.dumps(container)


def test_only_who_speaks_to_the_api_has_a_token(manifests):
    with_token = {pod.name for pod in pods(manifests) if pod.spec["automountServiceAccountToken"]}

    callers = {"daemon", "webserver", "code-location"}
    assert with_token <= {f"Deployment/{FULLNAME}-{name}" for name in callers}
    assert f"Deployment/{FULLNAME}-webserver" in with_token


def test_resources_are_quantities_and_fit_in_their_limits(manifests):
    for pod in pods(manifests):
        for container in pod.containers:
            resources = container["resources"]
            requests, limits = resources["requests"], resources["limits"]
            assert {"cpu", "memory"} <= requests.keys(), (pod.name, container["name"])
            assert "memory" in limits, (pod.name, container["name"])
            for name, amount in requests.items():
                assert parse_quantity(amount) > 0, (pod.name, name)
                if name in limits:
                    assert parse_quantity(amount) <= parse_quantity(limits[name]), pod.name
    for manifest in manifests:
        for claim in manifest.get("spec", {}).get("volumeClaimTemplates", []):
            assert parse_quantity(claim["spec"]["resources"]["requests"]["storage"]) > 0


def test_images_are_pinned(manifests):
    pinned = re.compile(r".+(:v?\d+(\.\d+)+(-\w+)?|@sha256:[0-9a-f]{64})")
    for pod in pods(manifests):
        for container in pod.containers:
            assert pinned.fullmatch(container["image"]), (pod.name, container["image"])


def test_what_serves_is_watched(manifests):
    for pod in pods(manifests):
        if not pod.name.startswith(("Deployment/", "StatefulSet/")):
            continue
        for container in pod.spec["containers"]:
            assert {"livenessProbe"} < container.keys(), pod.name
            if container.get("ports"):
                assert "readinessProbe" in container, pod.name


@pytest.mark.parametrize(
    "manifests", [name for name in VARIANTS if name != "nothing more"], indirect=True
)
def test_runs_give_way_to_the_daemon(manifests):
    classes = {
        item["metadata"]["name"]: item for item in manifests if item["kind"] == "PriorityClass"
    }
    for pod in pods(manifests):
        chosen = classes[pod.spec["priorityClassName"]]
        is_run = pod.name.startswith(("run/", "CronJob/"))
        assert chosen["value"] == (0 if is_run else 1000), pod.name
        assert chosen["preemptionPolicy"] == ("Never" if is_run else "PreemptLowerPriority")


@pytest.mark.parametrize("manifests", ["nothing more"], indirect=True)
def test_no_pod_names_a_priority_class_that_is_left_out(manifests):
    assert {pod.spec.get("priorityClassName") for pod in pods(manifests)} == {None}


def test_there_is_one_daemon_even_while_it_is_replaced():
    for name in ("daemon", "exporter"):
        spec = one(rendered(MINIMAL), "Deployment", name)["spec"]

        assert spec["replicas"] == 1
        assert spec["strategy"] == {"type": "Recreate"}


@pytest.mark.slow
def test_pods_start_anew_when_what_they_read_at_their_start_changes():
    def checksums(**values):
        return {
            item["metadata"]["name"]: item["spec"]["template"]["metadata"].get("annotations")
            for item in rendered(MINIMAL, values)
            if item["kind"] == "Deployment"
        }

    before = checksums()
    changed = {
        "settings": checksums(settings={"TICKETS_SEED": 8}),
        "routing": checksums(routing={"priorities": ["low"]}),
        "daemon": checksums(dagsterDaemon={"runRetries": {"maxRetries": 5}}),
        "secrets": checksums(secrets={"s3Secret": "another"}),
    }

    new = {
        cause: {name.removeprefix(f"{FULLNAME}-") for name in after if after[name] != before[name]}
        for cause, after in changed.items()
    }
    dagster = {"webserver", "daemon", "code-location", "exporter"}
    assert new == {
        "settings": dagster | {"evidently"},
        # The path of the file is a setting.
        "routing": dagster | {"evidently"},
        "daemon": dagster,
        "secrets": dagster | {"evidently"},
    }


def test_the_settings_of_the_schema_are_those_of_the_product():
    schema = json.loads((CHART / "values.schema.json").read_text())

    known = {f"TICKETS_{name.upper()}" for name in Settings.model_fields}
    assert set(schema["properties"]["settings"]["properties"]) == known


def test_settings_reach_the_pods_as_the_product_reads_them(monkeypatch, tmp_path):
    manifests = rendered(VARIANTS["everything"])
    for name, value in one(manifests, "ConfigMap", "settings")["data"].items():
        monkeypatch.setenv(name, value)

    settings = Settings(_env_file=None)

    assert settings.max_training_tickets == 1_000_000
    assert settings.raw_mail_days == 400
    assert settings.target_precision == 0.97
    assert settings.mask_ip_addresses is False
    assert settings.files == "s3://bucket/desk"
    assert settings.ui_url == "https://tickets.example.org/dagster"
    assert settings.evidently_url == "http://drift.example.org"
    assert settings.chroma_url == f"http://{FULLNAME}-chroma:8000"
    file = tmp_path / "routing.yaml"
    file.write_text(one(manifests, "ConfigMap", "desk")["data"]["routing.yaml"])
    assert load_routing(file).priorities == ("low", "high")


def test_no_secret_is_in_a_config_map_or_an_argument():
    values = merged(MINIMAL, EVERYTHING)
    secrets = [
        *values["secrets"].values(),
        values["postgresql"]["postgresqlPassword"],
    ]

    others = [item for item in rendered(values, upgrade=True) if item["kind"] != "Secret"]

    text = json.dumps([others, list(run_jobs(rendered(values)).values())])
    assert [secret for secret in secrets if len(secret) > 1 and secret in text] == []


def test_a_first_start_needs_no_migration_and_an_upgrade_begins_with_it():
    job = one(rendered(MINIMAL, upgrade=True), "Job", "migrate")

    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-upgrade"
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["tickets", "dagster", "migrate"]
    # Before an upgrade only the former release's ConfigMaps are there: it has all settings itself.
    assert "envFrom" not in container
    settings = one(rendered(MINIMAL), "ConfigMap", "settings")["data"]
    assert {item["name"]: item["value"] for item in container["env"]} == {
        **settings,
        "DAGSTER_HOME": "/etc/ticket-assets",
    }


def test_rules_and_dashboards_are_those_of_the_monitoring_folder():
    manifests = rendered(VARIANTS["everything"])
    (rule,) = (item for item in manifests if item["kind"] == "PrometheusRule")
    written = [
        {**group, "rules": [rule for rule in group["rules"] if rule.get("alert") not in EXCLUDED]}
        for name in ("thresholds", "rules", "alerts")
        for group in yaml.safe_load((ROOT / "monitoring" / f"{name}.yml").read_text())["groups"]
    ]

    assert rule["spec"]["groups"] == [group for group in written if group["rules"]]
    dashboards = one(manifests, "ConfigMap", "dashboards")["data"]
    assert dashboards == {
        path.name: path.read_text() for path in (ROOT / "monitoring/dashboards").glob("*.json")
    }


EXCLUDED = yaml.safe_load((CHART / "values.yaml").read_text())["monitoring"]["prometheusRule"][
    "excludedAlerts"
]


def test_only_alerts_that_exist_are_left_out():
    text = (ROOT / "monitoring/alerts.yml").read_text()

    assert [name for name in EXCLUDED if f"alert: {name}\n" not in text] == []


def test_a_package_renders_as_the_folder_does(tmp_path):
    """Its links to monitoring/ become files."""
    archive = helm.package(CHART, destination=tmp_path)
    values = VARIANTS["everything"]
    with helm.Chart.load(archive) as packaged, helm.Chart.load(CHART) as folder:
        assert packaged.render(values, name="desk") == folder.render(values, name="desk")


def test_the_version_is_the_product_s():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    text = (ROOT / "pyproject.toml").read_text()
    assert f'version = "{chart["version"]}"' in text
    assert chart["appVersion"] == chart["version"]
