# The NetworkPolicy, enforced by kube-router (which sees to the pods of its node): callers reach refshim, Prometheus alone its admin listener, and
# refshim reaches what its configuration names and nothing else.
background kube-router "$cache/kube-router-$kube_router" --kubeconfig="$state/pki/admin.conf" --hostname-override=node1 --run-firewall=true \
  --run-router=false --run-service-proxy=false --service-cluster-ip-range=$service_network
kubectl create namespace monitoring >/dev/null
kubectl create namespace callers >/dev/null
shell callers caller
shell monitoring prometheus
labels=$(kubectl -n refshim get deployment refshim -o json | python3 -c 'import json, sys; print(",".join("=".join(pair) for pair in json.load(sys.stdin)["spec"]["selector"]["matchLabels"].items()))')
shell refshim like-refshim "$labels"
address=$(kubectl -n refshim get pods -l app.kubernetes.io/name=refshim,pod-template-hash --field-selector=spec.nodeName=node1 -o jsonpath='{.items[0].status.podIP}')

can() { kubectl -n "$1" exec "$2" -- nc -w 3 "$3" "$4" </dev/null >/dev/null 2>&1; }
cannot() { ! can "$@"; }
within 30 cannot callers caller "$address" 5101
can callers caller "$address" 5100 || fail "callers do not reach refshim"
can monitoring prometheus "$address" 5101 || fail "Prometheus does not reach the admin listener"
can refshim like-refshim "$registry_address" 5000 || fail "refshim does not reach its registry"
cannot refshim like-refshim "$redis_address" 6379 || fail "refshim reaches what its configuration does not name"
kubectl -n refshim delete pod like-refshim --wait=false >/dev/null
