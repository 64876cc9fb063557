# Paths, versions and small functions of the scripts beside it, which source it.
set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
project=$(cd "$here/../.." && pwd)
tools=${REFSHIM_TOOLS:-$HOME/.cache/refshim-tools}
# Built programs, kept; and what belongs to one run.
cache=$tools/cluster
state=${REFSHIM_CLUSTER:-/tmp/refshim-cluster}
# Its control groups.
groups=$(basename "$state")
refshim=${REFSHIM:-$project/target/release/refshim}

kubernetes=1.34.4
kube_router=2.1.0
kyverno=1.19.1
policy_controller=0.13.1
# Only their definitions of kinds are used.
gateway_api=1.4.0
prometheus_operator=0.85.0

# Networks that are for documentation and for benchmarks: never those of the machine.
host=198.18.0.10
host_network=198.18.0
pod_network=198.51.100.0/24
service_network=203.0.113.0/24
# Services that have a name in the cluster's DNS need an address that is known beforehand.
registry_address=203.0.113.50
redis_address=203.0.113.51
refs_address=203.0.113.60

PATH=$cache/kubernetes:$tools/bin:$PATH

# Whether the cluster runs. Its number may be another process's by now.
running() { [ -s "$state/pid" ] && grep -qzFx "$state" "/proc/$(cat "$state/pid")/cmdline" 2>/dev/null; }

# Runs a command in the cluster's namespaces.
inside() {
  nsenter --target "$(cat "$state/pid")" --mount --net --pid --wd="$PWD" -- \
    env KUBECONFIG="$state/pki/admin.conf" HOME="$state/home" PATH="$cache/debian/usr/bin:$PATH" "$@"
}

# background NAME COMMAND…: in the cluster, with its output in a log.
background() {
  local name=$1
  shift
  inside setsid "$@" >"$state/log/$name.log" 2>&1 </dev/null &
}

# Repeats a command every half second until it succeeds: within SECONDS.
within() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "not in time: $*" >&2; "$@" >&2; return 1; }
    sleep .5
  done
}

say() { echo "[${SECONDS} s] $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
