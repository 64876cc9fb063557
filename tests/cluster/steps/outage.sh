# The registry goes: what was asked before is answered as before, also while a replica restarts. It comes back: so does the replica.
server=$(address_of refshim refshim):5100
before=$(count "http://$server")
for address in $(kubectl -n refshim get pods -l app.kubernetes.io/name=refshim -o jsonpath='{.items[*].status.podIP}'); do count "http://$address:5100" >/dev/null; done
kubectl -n registry scale deployment registry --replicas=0 >/dev/null
kubectl -n registry wait --for=delete pod -l app=registry --timeout=30s >/dev/null
[ "$(count "http://$server")" = "$before" ] || fail "no answer in the outage"
kubectl -n refshim delete "$(kubectl -n refshim get pods -l app.kubernetes.io/name=refshim -o name | head -1)" --wait=false >/dev/null
for _ in 1 2 3 4 5 6 7 8; do
  [ "$(count "http://$server")" = "$before" ] || fail "no answer while a replica restarts in the outage"
  sleep 1
done
kubectl -n registry scale deployment registry --replicas=1 >/dev/null
kubectl -n registry rollout status deployment/registry --timeout=60s >/dev/null
kubectl -n refshim rollout status deployment/refshim --timeout=60s >/dev/null
[ "$(count "http://$server")" = "$before" ] || fail "not all referrers after the outage"
