{{/* dict "root" $ "component" name "values" its values "class" priority class "account" service account
"token" whether it speaks to the Kubernetes API */}}
{{- define "tickets.pod" -}}
{{- $ := .root -}}
serviceAccountName: {{ include "tickets.serviceAccountName" (list $ .account) }}
automountServiceAccountToken: {{ .token | default false }}
enableServiceLinks: false
securityContext:
  {{- toYaml (mergeOverwrite (deepCopy $.Values.podSecurityContext) (.values.podSecurityContext | default dict)) | nindent 2 }}
{{- with include "tickets.priorityClassName" (list $ (.class | default "platform")) }}
priorityClassName: {{ . }}
{{- end }}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* dict "root" $ "component" name "values" its values "checksums" names of templates: metadata of the
pods. What they read at their start alone makes them start anew when it changes. */}}
{{- define "tickets.podMetadata" -}}
{{- $ := .root -}}
labels:
  {{- include "tickets.selectorLabels" (list $ .component) | nindent 2 }}
  {{- with .values.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .checksums .values.annotations }}
annotations:
  {{- range .checksums }}
  checksum/{{ . }}: {{ include (printf "tickets.config.%s" .) $ | sha256sum }}
  {{- end }}
  {{- with .values.annotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Of a container of the product. */}}
{{- define "tickets.containerImage" -}}
image: {{ include "tickets.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
{{- end -}}

{{/* The settings, and DAGSTER_HOME where dagster.yaml is. */}}
{{- define "tickets.environment" -}}
envFrom:
  - configMapRef:
      name: {{ include "tickets.fullname" . }}-settings
{{- end -}}

{{- define "tickets.mounts" -}}
- {name: data, mountPath: /var/lib/ticket-assets}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/ticket-assets, readOnly: true}
{{- if .Values.routing }}
- {name: desk, mountPath: /etc/ticket-assets-desk, readOnly: true}
{{- end }}
{{- end -}}

{{/* list . keys: the volumes of the mounts; the Secret's keys that are files there, all when empty. */}}
{{- define "tickets.volumes" -}}
{{- $ := index . 0 -}}
- name: data
  emptyDir: {}
- name: tmp
  emptyDir: {}
- name: secrets
  secret:
    secretName: {{ include "tickets.secretName" $ }}
    # 288 is 0440: for the group of the pod.
    defaultMode: 288
    items:
      {{- range (index . 1) }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- if $.Values.routing }}
- name: desk
  configMap:
    name: {{ include "tickets.fullname" $ }}-desk
{{- end }}
{{- end -}}

{{/* The keys that are files in pods with the desk's code: all but the webhook, which is a variable. */}}
{{- define "tickets.secretFiles" -}}
{{- toJson (without (keys (fromJson (include "tickets.secretKeys" .)) | sortAlpha) "alert-webhook") -}}
{{- end -}}

{{/* Those that the stores need: what reads a desk and neither fetches nor mails. */}}
{{- define "tickets.storeSecretFiles" -}}
{{- $files := list -}}
{{- range $key := fromJsonArray (include "tickets.secretFiles" .) -}}
{{- if has $key (list "dagster-password" "warehouse-password" "s3-secret" "chroma-token") -}}
{{- $files = append $files $key -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end -}}

{{/* Waits for Postgres, so that a first start is not a series of crashes. */}}
{{- define "tickets.waitForPostgres" -}}
- name: wait-for-postgres
  {{- include "tickets.containerImage" . | nindent 2 }}
  args: [python, /etc/ticket-assets-scripts/wait_for_postgres.py]
  {{- include "tickets.environment" . | nindent 2 }}
  resources:
    requests: {cpu: 50m, memory: 64Mi}
    limits: {memory: 256Mi}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: secrets, mountPath: /run/secrets/ticket-assets, readOnly: true}
    - {name: scripts, mountPath: /etc/ticket-assets-scripts, readOnly: true}
{{- end -}}

{{- define "tickets.instanceVolumes" -}}
- name: instance
  configMap:
    name: {{ include "tickets.fullname" . }}-instance
- name: scripts
  configMap:
    name: {{ include "tickets.fullname" . }}-scripts
{{- end -}}

{{/* dict "root" $ "component" name "values" its values */}}
{{- define "tickets.podDisruptionBudget" -}}
{{- with .values.podDisruptionBudget }}
{{- if .enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "tickets.fullname" $.root }}-{{ $.component }}
  namespace: {{ $.root.Release.Namespace }}
  labels:
    {{- include "tickets.labels" (list $.root $.component) | nindent 4 }}
spec:
  maxUnavailable: {{ .maxUnavailable }}
  selector:
    matchLabels:
      {{- include "tickets.selectorLabels" (list $.root $.component) | nindent 6 }}
{{- end }}
{{- end }}
{{- end -}}

{{/* dict "root" $ "component" name "port" number "name" of the port "service" values */}}
{{- define "tickets.service" -}}
{{- $ := .root -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "tickets.fullname" $ }}-{{ .component }}
  namespace: {{ $.Release.Namespace }}
  labels:
    {{- include "tickets.labels" (list $ .component) | nindent 4 }}
  {{- with (.service | default dict).annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ (.service | default dict).type | default "ClusterIP" }}
  selector:
    {{- include "tickets.selectorLabels" (list $ .component) | nindent 4 }}
  ports:
    - name: {{ .name }}
      port: {{ .port }}
      targetPort: {{ .name }}
      protocol: TCP
{{- end -}}
