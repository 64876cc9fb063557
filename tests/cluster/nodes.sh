# Nodes of the cluster: a containerd and a kubelet each, with folders of their own. They share the network namespace, so two pods with the same host
# port cannot run, and Pods of both are on one bridge. Sourced by `cluster`.

node() { # NUMBER
  local number=$1 address=$host_network.$((9 + $1)) folder=$state/node$1
  mkdir -p "$folder"/{containerd,kubelet,pods}
  certificate "node$number" "/O=system:nodes/CN=system:node:node$number" "IP:$address,DNS:node$number"
  inside ip addr replace "$address/24" dev hosts
  pod_interfaces
  control_groups "$number"
  runtime "$number" "$folder"
  kubelet "$number" "$address" "$folder"
}

pod_interfaces() {
  cat >"$state/cni/10-pods.conflist" <<CONFIG
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "bridge",
      "bridge": "pods",
      "isGateway": true,
      "hairpinMode": true,
      "ipam": { "type": "host-local", "ranges": [[{ "subnet": "$pod_network" }]], "routes": [{ "dst": "0.0.0.0/0" }] }
    },
    { "type": "portmap", "capabilities": { "portMappings": true } }
  ]
}
CONFIG
}

# With version 1 of control groups the kubelet expects its root to be there; with version 2 it makes it.
control_groups() { # NUMBER
  local hierarchy folder
  for hierarchy in /sys/fs/cgroup/*/; do
    [ -e "$hierarchy/tasks" ] || continue
    folder=$hierarchy/$groups-node$1
    mkdir -p "$folder"
    [ ! -e "$hierarchy/cpuset.cpus" ] || for file in cpuset.cpus cpuset.mems; do cat "$hierarchy/$file" >"$folder/$file"; done
  done
}

runtime() { # NUMBER FOLDER
  local socket=/run/containerd$1/containerd.sock archive
  cat >"$2/containerd.toml" <<CONFIG
version = 2
root = "$2/containerd"
state = "/run/containerd$1"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "$socket"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "cluster.local/pause:1"
  # Containers of this machine may lack the right to be killed last.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$state/cni"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$state/certs.d"
CONFIG
  background "containerd$1" containerd -c "$2/containerd.toml"
  within 60 inside ctr -a "$socket" version
  for archive in "$state"/images/*.tar; do
    inside ctr -a "$socket" -n k8s.io images import "$archive" >/dev/null
  done
}

kubelet() { # NUMBER ADDRESS FOLDER
  cat >"$3/kubelet.yaml" <<CONFIG
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $2
healthzPort: 0
containerRuntimeEndpoint: unix:///run/containerd$1/containerd.sock
authentication: { anonymous: { enabled: false }, webhook: { enabled: true }, x509: { clientCAFile: $pki/ca.crt } }
authorization: { mode: Webhook }
tlsCertFile: $pki/node$1.crt
tlsPrivateKeyFile: $pki/node$1.key
resolvConf: $state/resolv.conf
clusterDNS: [$host]
clusterDomain: cluster.local
podLogsDir: $3/pods
# Changed ConfigMaps and Secrets arrive within this time.
syncFrequency: 10s
cgroupRoot: /$groups-node$1
volumePluginDir: $3/plugins
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
# The machine's disk is not this cluster's to tidy.
evictionHard: { memory.available: 100Mi, nodefs.available: 0%, nodefs.inodesFree: 0%, imagefs.available: 0% }
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
CONFIG
  background "kubelet$1" kubelet --config="$3/kubelet.yaml" --kubeconfig="$pki/node$1.conf" --hostname-override="node$1" --node-ip="$2" \
    --root-dir="$3/kubelet"
}
