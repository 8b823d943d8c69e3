{{/* Values that cannot work, each refused with a sentence: what is wrong, and what to do. */}}
{{- define "tickets.refusals" -}}
{{- $settings := fromYaml (include "tickets.settings" .) -}}
{{- $pg := .Values.postgresql -}}
{{- $secrets := .Values.secrets -}}
{{- $keys := fromJson (include "tickets.secretKeys" .) -}}
{{- if not (or $pg.postgresqlPassword $secrets.existingSecret) -}}
{{- fail "There is no password for Postgres: set postgresql.postgresqlPassword, or secrets.existingSecret to a Secret with the key dagster-password." -}}
{{- end -}}
{{- if $secrets.existingSecret -}}
{{- if or $pg.postgresqlPassword $secrets.warehousePassword $secrets.s3Secret $secrets.imapPassword $secrets.imapToken $secrets.chromaToken $secrets.smtpPassword $secrets.deliverySecret $secrets.zammadToken $secrets.glpiUserToken $secrets.glpiAppToken $secrets.alertWebhook -}}
{{- fail (printf "Secrets are given in the values, and secrets.existingSecret names %s as well, which alone would be used: leave one of them out." $secrets.existingSecret) -}}
{{- end -}}
{{- else -}}
{{- $missing := list -}}
{{- range $key, $value := $keys -}}
{{- if not $value -}}{{- $missing = append $missing $key -}}{{- end -}}
{{- end -}}
{{- if has "s3-secret" $missing -}}
{{- fail "The key of the object store has no secret: set secrets.s3Secret, or secrets.existingSecret to a Secret with the key s3-secret." -}}
{{- end -}}
{{- if has "imap-password" $missing -}}
{{- fail "settings.TICKETS_IMAP_USER is set without a password: set secrets.imapPassword or secrets.imapToken, or secrets.existingSecret to a Secret with the key imap-password." -}}
{{- end -}}
{{- if has "smtp-password" $missing -}}
{{- fail "settings.TICKETS_SMTP_USER is set without a password: set secrets.smtpPassword, or secrets.existingSecret to a Secret with the key smtp-password." -}}
{{- end -}}
{{- if has "delivery-secret" $missing -}}
{{- fail "settings.TICKETS_DELIVERY_WEBHOOK is set without the secret of its signatures: set secrets.deliverySecret, or secrets.existingSecret to a Secret with the key delivery-secret." -}}
{{- end -}}
{{- end -}}
{{- if and $secrets.existingKeys (not $secrets.existingSecret) -}}
{{- fail "secrets.existingKeys says what is in secrets.existingSecret, which is not set: set it, or leave existingKeys out." -}}
{{- end -}}
{{- if and (not $pg.enabled) (not $pg.postgresqlHost) (not (and .Values.settings.TICKETS_DAGSTER_POSTGRES .Values.settings.TICKETS_WAREHOUSE)) -}}
{{- fail "postgresql.enabled is false and no other Postgres is named: set postgresql.postgresqlHost, or enable the bundled one for a trial." -}}
{{- end -}}
{{- if and $pg.enabled $pg.postgresqlHost -}}
{{- fail "postgresql.postgresqlHost names a server of your own, and postgresql.enabled would start another: set postgresql.enabled to false." -}}
{{- end -}}
{{- if and $pg.enabled (eq $pg.postgresqlDatabase $pg.warehouseDatabase) -}}
{{- fail "postgresql.postgresqlDatabase and postgresql.warehouseDatabase are the same: Dagster's history and the tables need a database each." -}}
{{- end -}}
{{- range $name, $place := dict
  "TICKETS_S3_SECRET" "secrets.s3Secret"
  "TICKETS_IMAP_PASSWORD" "secrets.imapPassword"
  "TICKETS_CHROMA_TOKEN" "secrets.chromaToken"
  "TICKETS_ALERT_WEBHOOK" "secrets.alertWebhook" -}}
{{- if get $.Values.settings $name -}}
{{- fail (printf "settings.%s is a secret, which everybody who may read ConfigMaps would see: set %s, or secrets.existingSecret." $name $place) -}}
{{- end -}}
{{- end -}}
{{- range $name := list "TICKETS_DATA_DIR" "TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE" "TICKETS_WAREHOUSE_PASSWORD_FILE" "TICKETS_S3_SECRET_FILE" "TICKETS_IMAP_PASSWORD_FILE" "TICKETS_IMAP_TOKEN_FILE" "TICKETS_CHROMA_TOKEN_FILE" "TICKETS_SMTP_PASSWORD_FILE" "TICKETS_DELIVERY_WEBHOOK_SECRET_FILE" "TICKETS_ZAMMAD_TOKEN_FILE" "TICKETS_GLPI_USER_TOKEN_FILE" "TICKETS_GLPI_APP_TOKEN_FILE" -}}
{{- if get $.Values.settings $name -}}
{{- fail (printf "settings.%s is where the chart mounts something: leave it out. Passwords are in secrets." $name) -}}
{{- end -}}
{{- end -}}
{{- if not (hasPrefix "ducklake:postgres:" $settings.TICKETS_WAREHOUSE) -}}
{{- fail "settings.TICKETS_WAREHOUSE is not a shared warehouse: a DuckDB file takes one writer, and each run is a pod of its own. Leave it out, or set it like ducklake:postgres:host=db dbname=tickets." -}}
{{- end -}}
{{- range $name := list "TICKETS_WAREHOUSE" "TICKETS_DAGSTER_POSTGRES" -}}
{{- if regexMatch "(?i)(password\\s*=|://[^@/]*:[^@/]*@)" (get $settings $name) -}}
{{- fail (printf "settings.%s holds a password, which everybody who may read ConfigMaps would see: put it into the Secret." $name) -}}
{{- end -}}
{{- end -}}
{{- if not (hasPrefix "s3://" (toString (get $settings "TICKETS_WAREHOUSE_DATA"))) -}}
{{- fail "settings.TICKETS_WAREHOUSE_DATA names no bucket: the pods share no folder. Set it like s3://bucket/desk/tables." -}}
{{- end -}}
{{- if not (hasPrefix "s3://" (toString (get $settings "TICKETS_FILES"))) -}}
{{- fail "settings.TICKETS_FILES names no bucket: mail and models in a pod's own folder are lost with the pod. Set it like s3://bucket/desk." -}}
{{- end -}}
{{- if and .Values.objectStore.enabled .Values.settings.TICKETS_S3_ENDPOINT -}}
{{- fail "settings.TICKETS_S3_ENDPOINT names an object store of your own, and objectStore.enabled would start another: set objectStore.enabled to false." -}}
{{- end -}}
{{- if not (get $settings "TICKETS_CHROMA_URL") -}}
{{- fail "chroma.enabled is false and settings.TICKETS_CHROMA_URL names no server: embedded Chroma takes one process, and each run is a pod of its own. Enable it, or name a server." -}}
{{- end -}}
{{- if and .Values.chroma.enabled .Values.settings.TICKETS_CHROMA_URL -}}
{{- fail "settings.TICKETS_CHROMA_URL names a server of your own, and chroma.enabled would start another: set chroma.enabled to false." -}}
{{- end -}}
{{- if and .Values.routing .Values.settings.TICKETS_ROUTING -}}
{{- fail "routing and settings.TICKETS_ROUTING both say where the categories are: leave one of them out." -}}
{{- end -}}
{{- if and .Values.dagsterDaemon.enabled .Values.nightlyRun.enabled -}}
{{- fail "dagsterDaemon.enabled and nightlyRun.enabled would sort the same mail twice: the nightly run is for a desk without the daemon. Set one of them to false." -}}
{{- end -}}
{{- if not (or .Values.dagsterDaemon.enabled .Values.nightlyRun.enabled) -}}
{{- fail "Nothing would sort the mail: enable dagsterDaemon, or nightlyRun." -}}
{{- end -}}
{{- $ingress := .Values.ingress -}}
{{- if and $ingress.enabled (not (or $ingress.dagsterWebserver.host $ingress.evidently.host)) -}}
{{- fail "ingress.enabled is set and no host: set ingress.dagsterWebserver.host." -}}
{{- end -}}
{{- if and $ingress.enabled $ingress.evidently.host (not .Values.evidently.enabled) -}}
{{- fail "ingress.evidently.host is set and evidently.enabled is false: enable it, or leave the host out." -}}
{{- end -}}
{{- range $name := list "dagsterWebserver" "evidently" -}}
{{- $tls := (index $ingress $name).tls -}}
{{- if and $ingress.enabled $tls.enabled (not $tls.secretName) -}}
{{- fail (printf "ingress.%s.tls is enabled and names no Secret: set ingress.%s.tls.secretName." $name $name) -}}
{{- end -}}
{{- end -}}
{{- with .Values.oauth2Proxy -}}
{{- if .enabled -}}
{{- if not .existingSecret -}}
{{- fail "oauth2Proxy.enabled is set and no Secret: set oauth2Proxy.existingSecret to one with the keys client-id, client-secret and cookie-secret." -}}
{{- end -}}
{{- if not .emailDomains -}}
{{- fail "oauth2Proxy.enabled is set and nobody is let in: set oauth2Proxy.emailDomains, as in [example.org]." -}}
{{- end -}}
{{- if and (eq .provider "oidc") (not .oidcIssuerUrl) -}}
{{- fail "oauth2Proxy.provider is oidc and no issuer is named: set oauth2Proxy.oidcIssuerUrl." -}}
{{- end -}}
{{- if and $ingress.enabled $ingress.evidently.host -}}
{{- fail "ingress.evidently.host would be open to everybody beside the login of oauth2Proxy: leave it out, and reach Evidently by kubectl port-forward." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- with .Values.runLauncher.config.k8sRunLauncher -}}
{{- if and .loadInclusterConfig .kubeconfigFile -}}
{{- fail "runLauncher.config.k8sRunLauncher.kubeconfigFile is only read without loadInclusterConfig: set that to false, or leave the file out." -}}
{{- end -}}
{{- if (dig "jobSpecConfig" "backoffLimit" 0 .runK8sConfig) -}}
{{- fail "runLauncher.config.k8sRunLauncher.runK8sConfig.jobSpecConfig.backoffLimit is not 0: a second pod of a Job finds a run that has begun. Runs are tried again by dagsterDaemon.runRetries." -}}
{{- end -}}
{{- if and .jobNamespace (ne .jobNamespace $.Release.Namespace) -}}
{{- fail (printf "runLauncher.config.k8sRunLauncher.jobNamespace is %s, where the runs' ConfigMap, Secret and rights are not: leave it empty." .jobNamespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
