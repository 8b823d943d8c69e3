{{- define "tickets.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 43 | trimSuffix "-" -}}
{{- end -}}

{{/* Short enough for what is put behind it: a CronJob's name has 52 characters at most. */}}
{{- define "tickets.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 43 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 43 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 43 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Of every pod of the release, those of runs too. */}}
{{- define "tickets.releaseLabels" -}}
app.kubernetes.io/name: {{ include "tickets.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* list . component */}}
{{- define "tickets.selectorLabels" -}}
{{ include "tickets.releaseLabels" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* list . component */}}
{{- define "tickets.labels" -}}
{{- $ := index . 0 -}}
{{ include "tickets.selectorLabels" . }}
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* dict "image" ... "default" tag */}}
{{- define "tickets.imageName" -}}
{{- $tag := .image.tag | default .default | toString -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "tickets.image" -}}
{{- include "tickets.imageName" (dict "image" .Values.image "default" .Chart.AppVersion) -}}
{{- end -}}

{{- define "tickets.serviceAccountName" -}}
{{- $ := index . 0 -}}
{{- if $.Values.serviceAccount.create -}}
{{- printf "%s-%s" (include "tickets.fullname" $) (index . 1) -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "tickets.jobNamespace" -}}
{{- .Values.runLauncher.config.k8sRunLauncher.jobNamespace | default .Release.Namespace -}}
{{- end -}}

{{/* list . "platform" or "runs" */}}
{{- define "tickets.priorityClassName" -}}
{{- $ := index . 0 -}}
{{- $class := index $.Values.priorityClasses (index . 1) -}}
{{- if $class.name -}}
{{- $class.name -}}
{{- else if $.Values.priorityClasses.create -}}
{{- printf "%s-%s-%s" $.Release.Namespace (include "tickets.fullname" $) (index . 1) -}}
{{- end -}}
{{- end -}}

{{- define "tickets.secretName" -}}
{{- .Values.secrets.existingSecret | default (printf "%s-secrets" (include "tickets.fullname" .)) -}}
{{- end -}}

{{/* The value of a setting as the variable's text; Helm reads numbers as floating ones. */}}
{{- define "tickets.settingText" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{/* All settings of the pods, as YAML; what stands in `settings` goes before what the chart knows. A
number format that every processor computes alike: `auto` would be the first node's, for all of them. */}}
{{- define "tickets.settings" -}}
{{- $fullname := include "tickets.fullname" . -}}
{{- $files := "/run/secrets/ticket-assets" -}}
{{- $pg := .Values.postgresql -}}
{{- $host := ternary (printf "%s-postgresql" $fullname) $pg.postgresqlHost $pg.enabled -}}
{{- $port := int $pg.service.port -}}
{{- $settings := dict
  "TICKETS_DATA_DIR" "/var/lib/ticket-assets"
  "TICKETS_ENCODER_PRECISION" "fp32"
  "TICKETS_DAGSTER_POSTGRES" (printf "postgresql://%s@%s:%d/%s" $pg.postgresqlUsername $host $port $pg.postgresqlDatabase)
  "TICKETS_DAGSTER_POSTGRES_PASSWORD_FILE" (printf "%s/dagster-password" $files)
  "TICKETS_WAREHOUSE" (printf "ducklake:postgres:host=%s port=%d dbname=%s user=%s" $host $port $pg.warehouseDatabase $pg.postgresqlUsername)
  "TICKETS_WAREHOUSE_PASSWORD_FILE" (printf "%s/%s" $files (ternary "dagster-password" "warehouse-password" $pg.enabled))
-}}
{{- if .Values.chroma.enabled -}}
{{- $_ := set $settings "TICKETS_CHROMA_URL" (printf "http://%s-chroma:%d" $fullname (int .Values.chroma.port)) -}}
{{- end -}}
{{- with .Values.objectStore -}}
{{- if .enabled -}}
{{- $_ := set $settings "TICKETS_FILES" (printf "s3://%s/desk" .bucket) -}}
{{- $_ := set $settings "TICKETS_WAREHOUSE_DATA" (printf "s3://%s/tables" .bucket) -}}
{{- $_ := set $settings "TICKETS_S3_ENDPOINT" (printf "http://%s-object-store:%d" $fullname (int .port)) -}}
{{- $_ := set $settings "TICKETS_S3_REGION" "us-east-1" -}}
{{- $_ := set $settings "TICKETS_S3_KEY_ID" .accessKey -}}
{{- end -}}
{{- end -}}
{{- with .Values.ingress -}}
{{- if .enabled -}}
{{- if .dagsterWebserver.host -}}
{{- $scheme := ternary "https" "http" (or .dagsterWebserver.tls.enabled false) -}}
{{- $_ := set $settings "TICKETS_UI_URL" (printf "%s://%s%s" $scheme .dagsterWebserver.host (trimSuffix "/" $.Values.dagsterWebserver.pathPrefix)) -}}
{{- end -}}
{{- if .evidently.host -}}
{{- $scheme := ternary "https" "http" (or .evidently.tls.enabled false) -}}
{{- $_ := set $settings "TICKETS_EVIDENTLY_URL" (printf "%s://%s" $scheme .evidently.host) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if .Values.routing -}}
{{- $_ := set $settings "TICKETS_ROUTING" "/etc/ticket-assets-desk/routing.yaml" -}}
{{- end -}}
{{- $secrets := fromJson (include "tickets.secretKeys" .) -}}
{{- range $key, $setting := dict
  "s3-secret" "TICKETS_S3_SECRET_FILE"
  "imap-password" "TICKETS_IMAP_PASSWORD_FILE"
  "imap-token" "TICKETS_IMAP_TOKEN_FILE"
  "chroma-token" "TICKETS_CHROMA_TOKEN_FILE"
  "smtp-password" "TICKETS_SMTP_PASSWORD_FILE"
  "delivery-secret" "TICKETS_DELIVERY_WEBHOOK_SECRET_FILE"
  "zammad-token" "TICKETS_ZAMMAD_TOKEN_FILE"
  "glpi-user-token" "TICKETS_GLPI_USER_TOKEN_FILE"
  "glpi-app-token" "TICKETS_GLPI_APP_TOKEN_FILE" -}}
{{- if hasKey $secrets $key -}}
{{- $_ := set $settings $setting (printf "%s/%s" $files $key) -}}
{{- end -}}
{{- end -}}
{{- range $name, $value := .Values.settings -}}
{{- if not (or (kindIs "invalid" $value) (eq (toString $value) "")) -}}
{{- $_ := set $settings $name (include "tickets.settingText" $value) -}}
{{- end -}}
{{- end -}}
{{- toYaml $settings -}}
{{- end -}}

{{/* The keys that the Secret has to have, as JSON: key to the value given, which is empty for an
existing Secret. */}}
{{- define "tickets.secretKeys" -}}
{{- $given := .Values.secrets -}}
{{- $existing := $given.existingSecret -}}
{{- $settings := .Values.settings -}}
{{- $values := dict
  "warehouse-password" $given.warehousePassword
  "s3-secret" $given.s3Secret
  "imap-password" $given.imapPassword
  "imap-token" $given.imapToken
  "chroma-token" $given.chromaToken
  "smtp-password" $given.smtpPassword
  "delivery-secret" $given.deliverySecret
  "zammad-token" $given.zammadToken
  "glpi-user-token" $given.glpiUserToken
  "glpi-app-token" $given.glpiAppToken
  "alert-webhook" $given.alertWebhook -}}
{{- $keys := dict "dagster-password" .Values.postgresql.postgresqlPassword -}}
{{- if not .Values.postgresql.enabled -}}
{{- $_ := set $keys "warehouse-password" ($given.warehousePassword | default .Values.postgresql.postgresqlPassword) -}}
{{- end -}}
{{- if or $settings.TICKETS_S3_KEY_ID .Values.objectStore.enabled -}}
{{- $_ := set $keys "s3-secret" $given.s3Secret -}}
{{- end -}}
{{- if and $settings.TICKETS_IMAP_USER (not $given.imapToken) (not (has "imap-token" $given.existingKeys)) -}}
{{- $_ := set $keys "imap-password" $given.imapPassword -}}
{{- end -}}
{{- if $settings.TICKETS_SMTP_USER -}}
{{- $_ := set $keys "smtp-password" $given.smtpPassword -}}
{{- end -}}
{{- if $settings.TICKETS_DELIVERY_WEBHOOK -}}
{{- $_ := set $keys "delivery-secret" $given.deliverySecret -}}
{{- end -}}
{{- range $key, $value := $values -}}
{{- if or $value (and $existing (has $key $given.existingKeys)) -}}
{{- $_ := set $keys $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $keys -}}
{{- end -}}

{{/* list url default-port: the port of an address. */}}
{{- define "tickets.portOf" -}}
{{- $port := regexFind ":[0-9]+" (regexReplaceAll "^[a-z]+://[^/:]*" (index . 0) "") -}}
{{- if $port -}}
{{- trimPrefix ":" $port -}}
{{- else if hasPrefix "http://" (index . 0) -}}
80
{{- else -}}
{{- index . 1 -}}
{{- end -}}
{{- end -}}
