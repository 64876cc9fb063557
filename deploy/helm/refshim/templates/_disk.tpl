{{/* The cache on disk: a directory of each pod alone, which goes with it. */}}
{{- define "refshim.diskEnv" -}}
{{- if .Values.diskCache.enabled }}
{{- range $key := list "dir" "disk_bytes" }}
{{- if hasKey (default dict $.Values.config.cache) $key }}
{{- fail (printf "config.cache.%s and diskCache.enabled exclude each other: set diskCache.mebibytes, or switch diskCache off and mount a volume of your own" $key) }}
{{- end }}
{{- end }}
- name: REFSHIM_CACHE__DIR
  value: /var/cache/refshim
- name: REFSHIM_CACHE__DISK_BYTES
  value: {{ printf "%dMiB" (int .Values.diskCache.mebibytes) }}
{{- end }}
{{- end }}

{{- define "refshim.diskMount" -}}
{{- if .Values.diskCache.enabled }}
- name: cache
  mountPath: /var/cache/refshim
{{- end }}
{{- end }}

{{/* A file that could not be used is kept beside the one in use: twice the size, and a reserve, because a pod that exceeds it is evicted. */}}
{{- define "refshim.diskVolume" -}}
{{- if .Values.diskCache.enabled }}
- name: cache
  emptyDir:
    sizeLimit: {{ add (mul 2 (int .Values.diskCache.mebibytes)) 64 }}Mi
{{- end }}
{{- end }}
