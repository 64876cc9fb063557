# With Redis, whose password is in a Secret: what is pushed through one replica shows in the other at once.
kubectl create namespace shared >/dev/null
kubectl -n shared create secret generic refshim-redis --from-literal=REFSHIM_CACHE__REDIS__PASSWORD=sesame >/dev/null
kubectl -n registry rollout status deployment/redis --timeout=60s >/dev/null
install shared restricted redis
read -r one other <<<"$(kubectl -n shared get pods -l app.kubernetes.io/name=refshim -o jsonpath='{.items[*].status.podIP}')"
before=$(count "http://$other:5100")
inside env -C "$state/home/push" oras attach --plain-http --artifact-type application/vnd.example.report "$one:5100/o/app:v1" hello.txt:text/plain \
  >"$state/log/attach.log" 2>&1 || fail "attach: $(cat "$state/log/attach.log")"
[ "$(count "http://$other:5100")" = $((before + 1)) ] || fail "the other replica does not list it"
