{{/* The configuration, with the certificate where one is given. */}}
{{- define "refshim.config" -}}
{{- include "refshim.refusePasswords" (dict "value" .Values.config "path" (list)) }}
{{- $config := deepCopy .Values.config }}
{{- if .Values.tls.secretName }}
{{- $files := dict "cert_file" "/etc/refshim-tls/tls.crt" "key_file" "/etc/refshim-tls/tls.key" }}
{{- $_ := set $config.server "tls" (merge $files (default dict $config.server.tls)) }}
{{- if .Values.tls.admin }}
{{- $_ := set $config.admin "tls" (merge (deepCopy $files) (default dict $config.admin.tls)) }}
{{- end }}
{{- end }}
{{- if and (include "refshim.mayDiffer" .) (not (hasKey (default dict $config.links) "without_subject")) }}
{{- $_ := set $config "links" (merge (dict "without_subject" "list") (default dict $config.links)) }}
{{- end }}
{{- toToml $config }}
{{- end }}

{{/* Not empty where several replicas may run without a Redis. What one of them lists in an adopted form, another would have to find first. */}}
{{- define "refshim.mayDiffer" -}}
{{- $replicas := ternary .Values.autoscaling.maxReplicas .Values.replicaCount .Values.autoscaling.enabled | int }}
{{- $redis := dig "redis" "url" "" (default dict .Values.config.cache) }}
{{- range .Values.env }}
{{- if eq .name "REFSHIM_CACHE__REDIS__URL" }}
{{- $redis = .name }}
{{- end }}
{{- end }}
{{- if and (not $redis) (or (gt $replicas 1) (eq .Values.kind "DaemonSet")) }}true{{ end }}
{{- end }}

{{/* Fails for a password, or a key that signs, anywhere in the configuration: everybody who may read ConfigMaps could read it. */}}
{{- define "refshim.refusePasswords" -}}
{{- $path := .path }}
{{- if kindIs "map" .value }}
{{- range $key, $value := .value }}
{{- include "refshim.refusePasswords" (dict "value" $value "path" (append $path $key)) }}
{{- end }}
{{- else if kindIs "slice" .value }}
{{- range $index, $value := .value }}
{{- include "refshim.refusePasswords" (dict "value" $value "path" (append $path (toString $index))) }}
{{- end }}
{{- else if and .value (or (has (last $path) (list "password" "secret")) (regexMatch "://[^/?#]*:[^/?#]*@" (toString .value))) }}
{{- $variable := printf "REFSHIM_%s" (join "__" $path | upper) }}
{{- fail (printf "config.%s holds a password or a key, which a ConfigMap would show: put it into a Secret as %s, and name that in existingSecret" (join "." $path) $variable) }}
{{- end }}
{{- end }}

{{/* The port of an address such as 0.0.0.0:5100. */}}
{{- define "refshim.port" -}}
{{- regexFind "[0-9]+$" . }}
{{- end }}

{{/* Seconds of a duration such as 30s or 1m 30s, rounded up. */}}
{{- define "refshim.seconds" -}}
{{- $duration := . }}
{{- $units := dict "ms" 0.001 "s" 1 "sec" 1 "second" 1 "seconds" 1 "m" 60 "min" 60 "minute" 60 "minutes" 60 "h" 3600 "hour" 3600 "hours" 3600 }}
{{- if not (regexMatch "^( *[0-9]+ *[a-z]+)+ *$" $duration) }}
{{- fail (printf "config.server.shutdown_grace: '%s' is not a duration: write it like 30s, 10m or 1h" $duration) }}
{{- end }}
{{- $seconds := 0 }}
{{- range regexFindAll "[0-9]+ *[a-z]+" $duration -1 }}
{{- $unit := regexFind "[a-z]+" . }}
{{- if not (hasKey $units $unit) }}
{{- fail (printf "config.server.shutdown_grace: '%s' in '%s' is not understood here: write it like 30s, 10m or 1h" $unit $duration) }}
{{- end }}
{{- $seconds = addf $seconds (mulf (regexFind "[0-9]+" .) (get $units $unit)) }}
{{- end }}
{{- ceil $seconds | int }}
{{- end }}

{{/* preStop, server.shutdown_grace and 5 s. */}}
{{- define "refshim.terminationGracePeriodSeconds" -}}
{{- $grace := include "refshim.seconds" (default "30s" .Values.config.server.shutdown_grace) | int }}
{{- default (add .Values.preStopSleepSeconds $grace 5) .Values.terminationGracePeriodSeconds }}
{{- end }}

{{/* The ports that the URLs in the configuration name, as a JSON list. */}}
{{- define "refshim.egressPorts" -}}
{{- $config := .Values.config }}
{{- $urls := list }}
{{- range concat $config.upstream (values (dig "credentials" dict (default dict $config.links))) }}
{{- $credentials := ternary (default dict .credentials) . (hasKey . "url") }}
{{- $urls = concat $urls (list .url $credentials.endpoint) }}
{{- if eq (default "" $credentials.kind) "ecr" }}
{{- $urls = append $urls (default "https://api.ecr.amazonaws.com" $credentials.endpoint) }}
{{- end }}
{{- end }}
{{- $webhooks := dig "webhooks" list (default dict $config.events) }}
{{- range $webhooks }}
{{- $urls = append $urls .url }}
{{- end }}
{{- /* `environment` and `none` are no URLs. */}}
{{- range concat $config.upstream $webhooks }}
{{- $urls = append $urls (regexFind "^https?://.*" (default "" .proxy)) }}
{{- end }}
{{- $urls = concat $urls (list .Values.proxy.httpsProxy .Values.proxy.httpProxy) }}
{{- $urls = append $urls (dig "redis" "url" "" (default dict $config.cache)) }}
{{- $urls = append $urls (dig "otlp_endpoint" "" (default dict $config.telemetry)) }}
{{- $defaults := dict "http" "80" "https" "443" "redis" "6379" "rediss" "6379" }}
{{- $ports := list }}
{{- range compact $urls }}
{{- $url := urlParse . }}
{{- $ports = append $ports (default (get $defaults $url.scheme) (regexFind ":[0-9]+$" $url.host | trimPrefix ":") | int) }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end }}
