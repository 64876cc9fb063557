{{- define "refshim.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "refshim.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "refshim.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "refshim.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "refshim.selectorLabels" -}}
app.kubernetes.io/name: {{ include "refshim.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "refshim.labels" -}}
{{ include "refshim.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "refshim.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "refshim.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "refshim.image" -}}
{{- $repository := required "image.repository is needed: no image is published, push what deploy/Dockerfile builds" .Values.image.repository }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" $repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{/* What callers speak. */}}
{{- define "refshim.scheme" -}}
{{- ternary "https" "http" (or (not (empty .Values.tls.secretName)) (hasKey (default dict .Values.config.server.tls) "cert_file")) }}
{{- end }}

{{/* The URL of the Service inside of the cluster. */}}
{{- define "refshim.url" -}}
{{ include "refshim.scheme" . }}://{{ include "refshim.fullname" . }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}
{{- end }}

{{/* Where the autoscaler has the say, as many as there are: without the field Kubernetes would take 1, with a fixed number each upgrade would
undo what the autoscaler did. Renderers without access to the cluster get the least number. */}}
{{- define "refshim.replicas" -}}
{{- if .Values.autoscaling.enabled }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace (include "refshim.fullname" .) }}
{{- dig "spec" "replicas" .Values.autoscaling.minReplicas $live }}
{{- else }}
{{- .Values.replicaCount }}
{{- end }}
{{- end }}
