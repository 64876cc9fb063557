# No request is lost while the Deployment is rolled out anew and a node is drained.
server=$(address_of refshim refshim):5100
inside "$here/load.py" "$server" 45 "/v2/o/app/referrers/$(cat "$state/subject")" /v2/o/app/manifests/v1 /v2/o/app/tags/list >"$state/log/load.log" 2>&1 &
load=$!
sleep 1
kubectl -n refshim rollout restart deployment/refshim >/dev/null
kubectl -n refshim rollout status deployment/refshim --timeout=90s >/dev/null
nodes=$(kubectl -n refshim get pods -l app.kubernetes.io/name=refshim --field-selector=status.phase=Running -o json | python3 -c '
import json, sys
print(len({pod["spec"]["nodeName"] for pod in json.load(sys.stdin)["items"] if "deletionTimestamp" not in pod["metadata"]}))')
[ "$nodes" = 2 ] || fail "after the rollout both replicas are on one node"
kubectl drain node2 --pod-selector=app.kubernetes.io/name=refshim --delete-emptydir-data --timeout=60s >"$state/log/drain.log" 2>&1 || fail "drain: $(cat "$state/log/drain.log")"
kubectl uncordon node2 >/dev/null
wait $load || fail "requests were lost: $(cat "$state/log/load.log")"
say "$(head -1 "$state/log/load.log")"
