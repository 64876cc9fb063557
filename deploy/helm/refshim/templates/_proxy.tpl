{{/* Variables for the HTTP proxy through which registries are reached. */}}
{{- define "refshim.proxyEnv" -}}
{{- $variables := dict }}
{{- range $key, $variable := dict "httpsProxy" "HTTPS_PROXY" "httpProxy" "HTTP_PROXY" }}
{{- with get $.Values.proxy $key }}
{{- if contains "@" . }}
{{- fail (printf "proxy.%s holds a password, which the pod would show: put it into a Secret as %s, and name that in existingSecret" $key $variable) }}
{{- end }}
{{- $_ := set $variables $variable . }}
{{- end }}
{{- end }}
{{- if and $variables .Values.proxy.noProxy }}
{{- $_ := set $variables "NO_PROXY" .Values.proxy.noProxy }}
{{- end }}
{{- range $name, $value := $variables }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
