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

{{/* The configuration, with the certificate where one is given. */}}
{{- define "refshim.config" -}}
{{- $config := deepCopy .Values.config }}
{{- if .Values.tls.secretName }}
{{- $files := dict "cert_file" "/etc/refshim-tls/tls.crt" "key_file" "/etc/refshim-tls/tls.key" }}
{{- $_ := set $config.server "tls" (merge $files (default dict $config.server.tls)) }}
{{- end }}
{{- toToml $config }}
{{- end }}

{{/* The port of an address such as 0.0.0.0:5100. */}}
{{- define "refshim.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}
