# Switching autoscaling on loses no replica.
kubectl -n refshim scale deployment refshim --replicas=3 >/dev/null
kubectl -n refshim rollout status deployment/refshim --timeout=60s >/dev/null
helm upgrade refshim "$chart" -n refshim -f "$here/values/plain.yaml" --set autoscaling.enabled=true >"$state/log/helm-upgrade.log" 2>&1
[ "$(kubectl -n refshim get deployment refshim -o jsonpath='{.spec.replicas} {.status.readyReplicas}')" = "3 3" ] || fail "replicas were lost"
