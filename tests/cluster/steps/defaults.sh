# The README's ten minutes: installed with defaults under the restricted Pod Security Standard, two replicas at once on two nodes; an image is pushed,
# signed and given an SBOM through refshim.
kubectl -n registry rollout status deployment/registry --timeout=90s >/dev/null
install refshim restricted plain
[ "$(kubectl -n refshim get deployment refshim -o jsonpath='{.status.readyReplicas}')" = 2 ] || fail "not two replicas"
[ "$(kubectl -n refshim get pods -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = 2 ] || fail "both replicas are on one node"
helm test refshim -n refshim >"$state/log/helm-test.log" || fail "helm test: $(cat "$state/log/helm-test.log")"

server=$(address_of refshim refshim):5100
folder=$state/home/push
mkdir -p "$folder"
inside env -C "$folder" COSIGN_PASSWORD= bash -euc '
  echo hello >hello.txt
  echo "{}" >sbom.json
  oras push --plain-http "$1/o/app:v1" hello.txt:text/plain
  crane digest --insecure "$1/o/app:v1" >"$2/subject"
  oras attach --plain-http --artifact-type application/spdx+json "$1/o/app:v1" sbom.json:application/json
  cosign generate-key-pair
  image=$1/o/app@$(cat "$2/subject")
  cosign sign --yes --key cosign.key --use-signing-config=false --tlog-upload=false --allow-http-registry "$image"
  cosign verify --key cosign.pub --insecure-ignore-tlog --allow-http-registry "$image"' push "$server" "$state" >"$state/log/push.log" 2>&1 ||
  fail "push and sign: $(tail -20 "$state/log/push.log")"
[ "$(count "http://$server")" = 2 ] || fail "not signature and SBOM: $(count "http://$server")"
