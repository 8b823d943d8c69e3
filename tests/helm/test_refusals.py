"""Values that cannot work are refused before anything is installed, each with a sentence."""

import helm_python as helm
import pytest

from tests.helm.rendering import MINIMAL, merged, rendered
from tests.helm.variants import VARIANTS

INGRESS = {"enabled": True, "dagsterWebserver": {"host": "tickets.example.org"}}
LOGIN = {
    "enabled": True,
    "existingSecret": "login",
    "emailDomains": ["example.org"],
    "oidcIssuerUrl": "https://login.example.org",
}


def launcher(**values):
    return {"runLauncher": {"config": {"k8sRunLauncher": values}}}


REFUSALS = {
    "no password": (
        {"postgresql": {"postgresqlPassword": ""}},
        "There is no password for Postgres: set postgresql.postgresqlPassword, or"
        " secrets.existingSecret to a Secret with the key dagster-password.",
    ),
    "no secret of the object store": (
        {"secrets": {"s3Secret": ""}},
        "The key of the object store has no secret: set secrets.s3Secret, or"
        " secrets.existingSecret to a Secret with the key s3-secret.",
    ),
    "no password of the mail account": (
        {"settings": {"TICKETS_IMAP_USER": "desk"}},
        "settings.TICKETS_IMAP_USER is set without a password: set secrets.imapPassword or"
        " secrets.imapToken, or secrets.existingSecret to a Secret with the key imap-password.",
    ),
    "no password of the mail server": (
        {"settings": {"TICKETS_SMTP_USER": "desk"}},
        "settings.TICKETS_SMTP_USER is set without a password: set secrets.smtpPassword, or"
        " secrets.existingSecret to a Secret with the key smtp-password.",
    ),
    "no secret of the signatures of decisions": (
        {"settings": {"TICKETS_DELIVERY_WEBHOOK": "https://desk.example.org/decisions"}},
        "settings.TICKETS_DELIVERY_WEBHOOK is set without the secret of its signatures: set"
        " secrets.deliverySecret, or secrets.existingSecret to a Secret with the key"
        " delivery-secret.",
    ),
    "a secret in two places": (
        {"secrets": {"existingSecret": "mine"}},
        "Secrets are given in the values, and secrets.existingSecret names mine as well, which"
        " alone would be used: leave one of them out.",
    ),
    "keys of no secret": (
        {"secrets": {"existingKeys": ["alert-webhook"]}},
        "secrets.existingKeys says what is in secrets.existingSecret, which is not set: set it, or"
        " leave existingKeys out.",
    ),
    "no Postgres": (
        {"postgresql": {"enabled": False}},
        "postgresql.enabled is false and no other Postgres is named: set"
        " postgresql.postgresqlHost, or enable the bundled one for a trial.",
    ),
    "two Postgres": (
        {"postgresql": {"postgresqlHost": "db.example.org"}},
        "postgresql.postgresqlHost names a server of your own, and postgresql.enabled would start"
        " another: set postgresql.enabled to false.",
    ),
    "one database for both": (
        {"postgresql": {"warehouseDatabase": "dagster"}},
        "postgresql.postgresqlDatabase and postgresql.warehouseDatabase are the same: Dagster's"
        " history and the tables need a database each.",
    ),
    "a DuckDB file": (
        {"settings": {"TICKETS_WAREHOUSE": "/data/warehouse.duckdb"}},
        "settings.TICKETS_WAREHOUSE is not a shared warehouse: a DuckDB file takes one writer, and"
        " each run is a pod of its own. Leave it out, or set it like ducklake:postgres:host=db"
        " dbname=tickets.",
    ),
    "a password of the warehouse in a setting": (
        {"settings": {"TICKETS_WAREHOUSE": "ducklake:postgres:host=db password=p dbname=t"}},
        "settings.TICKETS_WAREHOUSE holds a password, which everybody who may read ConfigMaps"
        " would see: put it into the Secret.",
    ),
    "a password of Dagster's database in a setting": (
        {"settings": {"TICKETS_DAGSTER_POSTGRES": "postgresql://desk:p@db/dagster"}},
        "settings.TICKETS_DAGSTER_POSTGRES holds a password, which everybody who may read"
        " ConfigMaps would see: put it into the Secret.",
    ),
    "rows in a folder": (
        {"settings": {"TICKETS_WAREHOUSE_DATA": "/data/tables"}},
        "settings.TICKETS_WAREHOUSE_DATA names no bucket: the pods share no folder. Set it like"
        " s3://bucket/desk/tables.",
    ),
    "files in a folder": (
        {"settings": {"TICKETS_FILES": ""}},
        "settings.TICKETS_FILES names no bucket: mail and models in a pod's own folder are lost"
        " with the pod. Set it like s3://bucket/desk.",
    ),
    "two object stores": (
        {"objectStore": {"enabled": True}},
        "settings.TICKETS_S3_ENDPOINT names an object store of your own, and objectStore.enabled"
        " would start another: set objectStore.enabled to false.",
    ),
    "embedded Chroma": (
        {"chroma": {"enabled": False}},
        "chroma.enabled is false and settings.TICKETS_CHROMA_URL names no server: embedded Chroma"
        " takes one process, and each run is a pod of its own. Enable it, or name a server.",
    ),
    "two Chroma servers": (
        {"settings": {"TICKETS_CHROMA_URL": "http://chroma.example.org:8000"}},
        "settings.TICKETS_CHROMA_URL names a server of your own, and chroma.enabled would start"
        " another: set chroma.enabled to false.",
    ),
    "two routings": (
        {
            "routing": {"review_queue": "people"},
            "settings": {"TICKETS_ROUTING": "/etc/routing.yaml"},
        },
        "routing and settings.TICKETS_ROUTING both say where the categories are: leave one of them"
        " out.",
    ),
    "a secret among the settings": (
        {"settings": {"TICKETS_S3_SECRET": "s"}},
        "settings.TICKETS_S3_SECRET is a secret, which everybody who may read ConfigMaps would"
        " see: set secrets.s3Secret, or secrets.existingSecret.",
    ),
    "the webhook among the settings": (
        {"settings": {"TICKETS_ALERT_WEBHOOK": "https://hooks.example.org/x"}},
        "settings.TICKETS_ALERT_WEBHOOK is a secret, which everybody who may read ConfigMaps would"
        " see: set secrets.alertWebhook, or secrets.existingSecret.",
    ),
    "another data folder": (
        {"settings": {"TICKETS_DATA_DIR": "/data"}},
        "settings.TICKETS_DATA_DIR is where the chart mounts something: leave it out. Passwords"
        " are in secrets.",
    ),
    "daemon and nightly run": (
        {"nightlyRun": {"enabled": True}},
        "dagsterDaemon.enabled and nightlyRun.enabled would sort the same mail twice: the nightly"
        " run is for a desk without the daemon. Set one of them to false.",
    ),
    "neither": (
        {"dagsterDaemon": {"enabled": False}},
        "Nothing would sort the mail: enable dagsterDaemon, or nightlyRun.",
    ),
    "an ingress to nowhere": (
        {"ingress": {"enabled": True}},
        "ingress.enabled is set and no host: set ingress.dagsterWebserver.host.",
    ),
    "an ingress to what is off": (
        {
            "evidently": {"enabled": False},
            "ingress": {**INGRESS, "evidently": {"host": "drift.example.org"}},
        },
        "ingress.evidently.host is set and evidently.enabled is false: enable it, or leave the"
        " host out.",
    ),
    "TLS without a certificate": (
        {"ingress": merged(INGRESS, {"dagsterWebserver": {"tls": {"enabled": True}}})},
        "ingress.dagsterWebserver.tls is enabled and names no Secret: set"
        " ingress.dagsterWebserver.tls.secretName.",
    ),
    "a login without its secret": (
        {"oauth2Proxy": {**LOGIN, "existingSecret": ""}},
        "oauth2Proxy.enabled is set and no Secret: set oauth2Proxy.existingSecret to one with the"
        " keys client-id, client-secret and cookie-secret.",
    ),
    "a login for nobody": (
        {"oauth2Proxy": {**LOGIN, "emailDomains": []}},
        "oauth2Proxy.enabled is set and nobody is let in: set oauth2Proxy.emailDomains, as in"
        " [example.org].",
    ),
    "a login of no issuer": (
        {"oauth2Proxy": {**LOGIN, "oidcIssuerUrl": ""}},
        "oauth2Proxy.provider is oidc and no issuer is named: set oauth2Proxy.oidcIssuerUrl.",
    ),
    "a way round the login": (
        {
            "oauth2Proxy": LOGIN,
            "ingress": {**INGRESS, "evidently": {"host": "drift.example.org"}},
        },
        "ingress.evidently.host would be open to everybody beside the login of oauth2Proxy: leave"
        " it out, and reach Evidently by kubectl port-forward.",
    ),
    "a kubeconfig that nobody reads": (
        launcher(kubeconfigFile="/etc/kubeconfig"),
        "runLauncher.config.k8sRunLauncher.kubeconfigFile is only read without"
        " loadInclusterConfig: set that to false, or leave the file out.",
    ),
    "a second pod of a run": (
        launcher(runK8sConfig={"jobSpecConfig": {"backoffLimit": 2}}),
        "runLauncher.config.k8sRunLauncher.runK8sConfig.jobSpecConfig.backoffLimit is not 0: a"
        " second pod of a Job finds a run that has begun. Runs are tried again by"
        " dagsterDaemon.runRetries.",
    ),
    "runs in another namespace": (
        launcher(jobNamespace="elsewhere"),
        "runLauncher.config.k8sRunLauncher.jobNamespace is elsewhere, where the runs' ConfigMap,"
        " Secret and rights are not: leave it empty.",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_values_that_cannot_work_are_refused_with_a_sentence(case):
    values, sentence = REFUSALS[case]

    with pytest.raises(helm.HelmRenderError) as refusal:
        rendered(MINIMAL, values)

    assert str(refusal.value).partition("): ")[2] == sentence


UNKNOWN = {
    "dagsterDaemon.replicaCount": {"dagsterDaemon": {"replicaCount": 2}},
    "dagsterDeamon": {"dagsterDeamon": {"enabled": False}},
    "settings.TICKETS_CHROMAURL": {"settings": {"TICKETS_CHROMAURL": "http://chroma:8000"}},
    "secrets.s3secret": {"secrets": {"s3secret": "x"}},
    "chroma.persistence.storage": {"chroma": {"persistence": {"storage": "1Gi"}}},
    "networkPolicy.from.webServer": {"networkPolicy": {"from": {"webServer": []}}},
}


@pytest.mark.parametrize("place", UNKNOWN)
def test_unknown_values_are_refused_by_their_names(place):
    with pytest.raises(helm.HelmValuesError) as refusal:
        rendered(MINIMAL, UNKNOWN[place])

    parent, _, name = place.rpartition(".")
    pointer = "".join(f"/{part}" for part in parent.split(".") if part)
    assert f"at '{pointer}': additional properties '{name}' not allowed" in str(refusal.value)


@pytest.mark.parametrize(
    "values",
    [
        {"dagsterWebserver": {"replicaCount": "two"}},
        {"dagsterWebserver": {"replicaCount": 0}},
        {"chroma": {"port": 80_000}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"digest": "latest"}},
        {"exporter": {"enabled": "yes"}},
        {"secrets": {"existingSecret": "mine", "existingKeys": ["webhook"]}},
    ],
)
def test_values_of_another_kind_are_refused(values):
    with pytest.raises(helm.HelmValuesError):
        rendered(MINIMAL, values)


@pytest.mark.parametrize("case", VARIANTS)
def test_what_can_work_is_taken(case):
    assert rendered(VARIANTS[case])


def test_a_section_cannot_be_taken_away():
    """Helm removes what is null; a section that is not there is told as one."""
    with pytest.raises(helm.HelmValuesError, match="missing property 'settings'"):
        rendered(MINIMAL, {"settings": None})
