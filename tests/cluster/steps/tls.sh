# refshim with a certificate, at the admin listener too, under a name of its own.
source "$here/pki.sh"
kubectl create namespace tls >/dev/null
certificate refs /CN=refs.example.org DNS:refs.example.org
kubectl -n tls create secret tls refs-example-org --cert="$pki/refs.crt" --key="$pki/refs.key" >/dev/null
kubectl -n tls create configmap authorities --from-file="$pki/ca.crt" >/dev/null
install tls restricted tls
kubectl -n tls patch service refshim -p "{\"spec\":{\"externalIPs\":[\"$refs_address\"]}}" >/dev/null
helm test refshim -n tls >"$state/log/helm-test-tls.log" || fail "helm test: $(cat "$state/log/helm-test-tls.log")"
within 10 count https://refs.example.org --cacert "$pki/ca.crt"
