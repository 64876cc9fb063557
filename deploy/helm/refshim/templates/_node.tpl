{{/* For refshim on every node: hosts.toml of containerd, one per registry, by the names that containerd gives in ns. */}}
{{- define "refshim.hostsToml" -}}
{{- if eq (include "refshim.scheme" .) "https" }}
{{- fail "node.hostsToml: containerd would refuse the certificate, which does not name node.hostIP: leave tls.secretName and config.server.tls empty" }}
{{- end }}
{{- $files := dict }}
{{- range .Values.config.upstream }}
{{- $upstream := . }}
{{- range default (list (urlParse .url).host) .ns }}
{{- /* containerd's name for the folder of a host with a port: host_port_ */}}
{{- $folder := regexReplaceAll ":([0-9]+)$" . "_${1}_" }}
{{- $lines := list "# Written by refshim. It is removed when refshim leaves the node." (printf "server = %q" $upstream.url) "" (printf "[host.%q]" (printf "http://%s:%v" $.Values.node.hostIP $.Values.node.hostPort)) "" }}
{{- $_ := set $files $folder (join "\n" $lines) }}
{{- end }}
{{- end }}
{{- toYaml $files }}
{{- end }}

{{/* Puts the files where containerd looks for them while refshim runs. It is told to end when refshim is, and before: refshim's preStop waits. A
file of somebody else's is left alone. */}}
{{- define "refshim.hostsTomlContainer" -}}
- name: hosts-toml
  image: {{ required "node.hostsToml.image is needed: any image with sh, cp, grep, mkdir, mv, rm, rmdir and sleep, such as busybox" .Values.node.hostsToml.image }}
  command: [sh, -c]
  args:
    - |
      ours() { grep -q '^# Written by refshim' "$1/hosts.toml" 2>/dev/null; }
      leave() {
        for file in /hosts/*; do
          folder=/certs.d/${file##*/}
          ! ours "$folder" || { rm -f "$folder/hosts.toml" && rmdir "$folder"; }
        done
        exit 0
      }
      trap leave TERM INT
      for file in /hosts/*; do
        folder=/certs.d/${file##*/}
        if [ -e "$folder/hosts.toml" ] && ! ours "$folder"; then
          echo "$folder/hosts.toml was not written by refshim and is left alone: images of this registry do not come through refshim here" >&2
          continue
        fi
        mkdir -p "$folder" && cp "$file" "$folder/hosts.toml.new" && mv "$folder/hosts.toml.new" "$folder/hosts.toml"
      done
      while :; do sleep 3600 & wait $!; done
  resources:
    requests:
      cpu: 1m
      memory: 8Mi
    limits:
      memory: 32Mi
  securityContext:
    # The folder is root's. Nothing else of root's rights is needed.
    runAsUser: 0
    runAsGroup: 0
    runAsNonRoot: false
    allowPrivilegeEscalation: false
    readOnlyRootFilesystem: true
    capabilities:
      drop: [ALL]
  volumeMounts:
    - name: hosts
      mountPath: /hosts
      readOnly: true
    - name: certs-d
      mountPath: /certs.d
{{- end }}

{{- define "refshim.hostsTomlVolumes" -}}
- name: hosts
  configMap:
    name: {{ include "refshim.fullname" . }}
    items:
      {{- range $folder, $_ := include "refshim.hostsToml" . | fromYaml }}
      - key: hosts-{{ $folder }}
        path: {{ $folder }}
      {{- end }}
- name: certs-d
  hostPath:
    path: {{ .Values.node.hostsToml.folder }}
    type: DirectoryOrCreate
{{- end }}
