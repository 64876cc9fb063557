{{/* Certificate authorities of one's own. SSL_CERT_FILE takes the place of the system's for registries, Redis and the collector alike. */}}
{{- define "refshim.caEnv" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret -}}
- name: SSL_CERT_FILE
  value: /etc/refshim-ca/{{ .Values.caBundle.key }}
{{- end }}
{{- end }}

{{- define "refshim.caMount" -}}
{{- if or .Values.caBundle.configMap .Values.caBundle.secret -}}
- name: ca-bundle
  mountPath: /etc/refshim-ca
  readOnly: true
{{- end }}
{{- end }}

{{- define "refshim.caVolume" -}}
{{- with .Values.caBundle }}
{{- if and .configMap .secret }}
{{- fail "caBundle.configMap and caBundle.secret: keep one" }}
{{- end }}
{{- if .configMap -}}
- name: ca-bundle
  configMap:
    name: {{ .configMap }}
{{- else if .secret -}}
- name: ca-bundle
  secret:
    secretName: {{ .secret }}
{{- end }}
{{- end }}
{{- end }}
