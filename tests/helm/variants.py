"""Values that the chart is rendered with: those it comes with, and those that switch the rest."""

from __future__ import annotations

from typing import Any

import yaml

from tests.helm.rendering import CHART, MINIMAL, NAMESPACE, merged


def values_file(name: str) -> dict[str, Any]:
    """The values of a file that comes with the chart."""
    values: dict[str, Any] = yaml.safe_load((CHART / name).read_text())
    return values


PASSWORDS: dict[str, Any] = {
    "postgresql": {"postgresqlPassword": "a database's password"},
    "secrets": {"s3Secret": "an object store's secret"},
}
PLACED: dict[str, Any] = {
    "nodeSelector": {"disk": "fast"},
    "affinity": {"podAntiAffinity": {}},
    "tolerations": [{"key": "desk", "operator": "Exists"}],
}
DECORATED = {**PLACED, "annotations": {"team": "support"}, "labels": {"team": "support"}}
ENV = [{"name": "HTTPS_PROXY", "value": "http://proxy.example.org:3128"}]
DROP = {
    "extraVolumes": [{"name": "drop", "persistentVolumeClaim": {"claimName": "drop"}}],
    "extraVolumeMounts": [{"name": "drop", "mountPath": "/srv/drop"}],
}
MAIL = {
    "TICKETS_IMAP_HOST": "imap.example.org",
    "TICKETS_IMAP_USER": "desk",
    "TICKETS_SMTP_HOST": "smtp.example.org",
    "TICKETS_SMTP_USER": "desk",
    "TICKETS_SMTP_SECURITY": "starttls",
    "TICKETS_ALERT_MAIL_TO": "desk@example.org",
}
EVERYTHING: dict[str, Any] = {
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "registry-login"}],
    "settings": {
        **MAIL,
        "TICKETS_DELIVERY_WEBHOOK": "https://desk.example.org/decisions",
        "TICKETS_DROP_FOLDER": "/srv/drop",
        "TICKETS_RAW_MAIL_DAYS": 400,
        "TICKETS_MAX_TRAINING_TICKETS": 1_000_000,
        "TICKETS_TARGET_PRECISION": 0.97,
        "TICKETS_MASK_IP_ADDRESSES": False,
    },
    "routing": {
        "categories": {"network": {"queue": "net"}, "hardware": {"queue": "desk"}},
        "priorities": ["low", "high"],
        "review_queue": "people",
    },
    "secrets": {
        "imapPassword": "i",
        "chromaToken": "c",
        "smtpPassword": "m",
        "deliverySecret": "d",
        "zammadToken": "z",
        "glpiUserToken": "g",
        "glpiAppToken": "h",
        "alertWebhook": "https://hooks.example.org/services/x",
    },
    "serviceAccount": {"annotations": {"example.org/role": "desk"}},
    "dagsterWebserver": {
        **DECORATED,
        "replicaCount": 2,
        "pathPrefix": "/dagster",
        "extraEnv": ENV,
        "service": {"type": "NodePort", "annotations": {"team": "support"}},
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
            }
        ],
    },
    "dagsterDaemon": {
        **DECORATED,
        "extraEnv": ENV,
        "runCoordinator": {
            "config": {
                "queuedRunCoordinator": {
                    "tagConcurrencyLimits": [{"key": "team", "value": "support", "limit": 2}]
                }
            }
        },
    },
    "codeLocation": {**DECORATED, **DROP, "extraEnv": ENV},
    "runLauncher": {
        "config": {
            "k8sRunLauncher": {
                **DECORATED,
                "sizes": {
                    "gpu": {
                        "resources": {"limits": {"nvidia.com/gpu": 1}},
                        "nodeSelector": {"accelerator": "yes"},
                        "runtimeClassName": "nvidia",
                    }
                },
                "runK8sConfig": {
                    "containerConfig": {"env": ENV},
                    "podSpecConfig": {"dnsPolicy": "ClusterFirst"},
                    "podTemplateSpecMetadata": {"annotations": {"safe-to-evict": "false"}},
                    "jobMetadata": {"annotations": {"team": "support"}},
                    "jobSpecConfig": {"ttlSecondsAfterFinished": 60},
                },
            }
        }
    },
    "exporter": {**DECORATED, "extraEnv": ENV, "podDisruptionBudget": {"enabled": True}},
    "evidently": {**DECORATED, "extraEnv": ENV, "podDisruptionBudget": {"enabled": True}},
    "chroma": {**DECORATED, "persistence": {"storageClass": "fast"}},
    "postgresql": {**DECORATED, "persistence": {"storageClass": "fast"}},
    "ingress": {
        "enabled": True,
        "ingressClassName": "nginx",
        "labels": {"team": "support"},
        "annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "8m"},
        "dagsterWebserver": {
            "host": "tickets.example.org",
            "tls": {"enabled": True, "secretName": "tickets-tls"},
        },
        "evidently": {"host": "drift.example.org"},
    },
    "networkPolicy": {
        "extraEgress": [{"ports": [{"port": 8443, "protocol": "TCP"}]}],
        "to": {"kubernetesApi": [{"ipBlock": {"cidr": "10.0.0.1/32"}}]},
    },
    "monitoring": {
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True, "annotations": {"folder": "Tickets"}},
    },
    "extraManifests": [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "drop", "namespace": NAMESPACE},
            "spec": {
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
    ],
}
NOTHING: dict[str, Any] = {
    "exporter": {"enabled": False},
    "evidently": {"enabled": False},
    "migrate": {"enabled": False},
    "networkPolicy": {"enabled": False},
    "priorityClasses": {"create": False},
    "rbacEnabled": False,
    "serviceAccount": {"create": False},
    "chroma": {"enabled": False},
    "settings": {"TICKETS_CHROMA_URL": "https://chroma.example.org:8443"},
    "postgresql": {
        "enabled": False,
        "postgresqlHost": "postgres.example.org",
        "service": {"port": 6432},
    },
}
NIGHTLY: dict[str, Any] = {
    "dagsterDaemon": {"enabled": False},
    "nightlyRun": {"enabled": True, **PLACED, "extraEnv": ENV},
    "settings": MAIL,
    "secrets": {"imapToken": "t", "smtpPassword": "m"},
}
VARIANTS: dict[str, dict[str, Any]] = {
    "default": MINIMAL,
    "minikube": merged(values_file("values-minikube.yaml"), PASSWORDS),
    "production": values_file("values-production.yaml"),
    "everything": merged(MINIMAL, EVERYTHING),
    "nothing more": merged(MINIMAL, NOTHING),
    "nightly": merged(MINIMAL, NIGHTLY),
    "nightly, from nowhere": merged(
        MINIMAL, {"dagsterDaemon": {"enabled": False}, "nightlyRun": {"enabled": True}}
    ),
    "existing secret": {
        "settings": MINIMAL["settings"],
        "secrets": {"existingSecret": "mine", "existingKeys": ["alert-webhook"]},
    },
}
NOT_OURS = {
    ("Secret", "desk-secrets"),
    ("Secret", "desk-login"),
    ("Secret", "mine"),
    ("Secret", "registry-login"),
    ("Secret", "tickets-tls"),
    ("ServiceAccount", "default"),
}
"""Objects that these values say somebody else has made."""
