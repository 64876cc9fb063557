{{/* Metadata and spec of the pods, the same in a Deployment and a DaemonSet. */}}
{{- define "refshim.podTemplate" -}}
metadata:
  labels:
    {{- include "refshim.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    # A changed configuration is a new rollout.
    checksum/config: {{ include "refshim.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "refshim.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: {{ include "refshim.terminationGracePeriodSeconds" . }}
  securityContext:
    {{- toYaml .Values.podSecurityContext | nindent 4 }}
  {{- with .Values.initContainers }}
  initContainers:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    {{- include "refshim.container" . | nindent 4 }}
    {{- if and (eq .Values.kind "DaemonSet") .Values.node.hostsToml.enabled }}
    {{- include "refshim.hostsTomlContainer" . | nindent 4 }}
    {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "refshim.fullname" . }}
    {{- with .Values.tls.secretName }}
    - name: tls
      secret:
        secretName: {{ . }}
    {{- end }}
    {{- range list (include "refshim.caVolume" .) (include "refshim.diskVolume" .) }}
    {{- with . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- if and (eq .Values.kind "DaemonSet") .Values.node.hostsToml.enabled }}
    {{- include "refshim.hostsTomlVolumes" . | nindent 4 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if eq .Values.kind "Deployment" }}
  topologySpreadConstraints:
    {{- if .Values.topologySpreadConstraints }}
    {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
    {{- else }}
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      # Each rollout is spread by itself: with the pods that it replaces counted in, its own may end up on one node.
      matchLabelKeys: [pod-template-hash]
      labelSelector:
        matchLabels:
          {{- include "refshim.selectorLabels" . | nindent 10 }}
    {{- end }}
  {{- end }}
{{- end }}

{{- define "refshim.container" -}}
- name: refshim
  image: {{ include "refshim.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [serve, --config, /etc/refshim/refshim.toml]
  {{- with concat (include "refshim.caEnv" . | fromYamlArray) (include "refshim.proxyEnv" . | fromYamlArray) (include "refshim.diskEnv" . | fromYamlArray) .Values.env }}
  env:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- $secret := list }}
  {{- with .Values.existingSecret }}
  {{- $secret = list (dict "secretRef" (dict "name" .)) }}
  {{- end }}
  {{- with concat $secret .Values.envFrom }}
  envFrom:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  ports:
    - name: http
      containerPort: {{ include "refshim.port" .Values.config.server.listen }}
      {{- if eq .Values.kind "DaemonSet" }}
      hostPort: {{ .Values.node.hostPort }}
      hostIP: {{ .Values.node.hostIP | quote }}
      {{- end }}
    - name: admin
      containerPort: {{ include "refshim.port" .Values.config.admin.listen }}
  {{- /* It asks the registry, which is given 3 s. */}}
  {{- with .Values.startupProbe }}
  startupProbe:
    {{- include "refshim.probe" (dict "probe" . "path" "/readyz" "root" $) | nindent 4 }}
  {{- end }}
  {{- with .Values.livenessProbe }}
  livenessProbe:
    {{- include "refshim.probe" (dict "probe" . "path" "/healthz" "root" $) | nindent 4 }}
  {{- end }}
  {{- with .Values.readinessProbe }}
  readinessProbe:
    {{- include "refshim.probe" (dict "probe" . "path" "/healthz" "root" $) | nindent 4 }}
  {{- end }}
  lifecycle:
    preStop:
      sleep: { seconds: {{ .Values.preStopSleepSeconds }} }
  resources:
    {{- toYaml .Values.resources | nindent 4 }}
  securityContext:
    {{- toYaml .Values.securityContext | nindent 4 }}
  volumeMounts:
    - name: config
      mountPath: /etc/refshim
      readOnly: true
    {{- if .Values.tls.secretName }}
    # No subPath: it would keep renewed certificates out.
    - name: tls
      mountPath: /etc/refshim-tls
      readOnly: true
    {{- end }}
    {{- range list (include "refshim.caMount" .) (include "refshim.diskMount" .) }}
    {{- with . }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- end }}
    {{- with .Values.extraVolumeMounts }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* HTTPS where the admin listener has a certificate. */}}
{{- define "refshim.adminScheme" -}}
{{- ternary "HTTPS" "HTTP" (or (hasKey (default dict .Values.config.admin.tls) "cert_file") (and (not (empty .Values.tls.secretName)) .Values.tls.admin)) }}
{{- end }}

{{/* A probe of the values, which asks the admin listener unless it has a handler of its own. The kubelet has no client certificate: where
the listener demands one, it can only see that the port is open. */}}
{{- define "refshim.probe" -}}
{{- $probe := deepCopy .probe }}
{{- if not (or $probe.httpGet $probe.tcpSocket $probe.exec $probe.grpc) }}
{{- if dig "tls" "client_ca_file" "" .root.Values.config.admin }}
{{- $_ := set $probe "tcpSocket" (dict "port" "admin") }}
{{- else }}
{{- $get := dict "path" .path "port" "admin" }}
{{- $scheme := include "refshim.adminScheme" .root }}
{{- if eq $scheme "HTTPS" }}
{{- $_ := set $get "scheme" $scheme }}
{{- end }}
{{- $_ := set $probe "httpGet" $get }}
{{- end }}
{{- end }}
{{- toYaml $probe }}
{{- end }}
