# As a sidecar: the container beside it asks 127.0.0.1, and nobody else can.
kubectl create namespace sidecar >/dev/null
kubectl label namespace sidecar pod-security.kubernetes.io/enforce=restricted >/dev/null
kustomize build "$here/sidecar" | kubectl apply -f - >/dev/null
kubectl -n sidecar rollout status deployment/scanner --timeout=90s >/dev/null
path=v2/o/app/referrers/$(cat "$state/subject")
kubectl -n sidecar exec deployment/scanner -c scanner -- wget -qO- "http://127.0.0.1:5100/$path" | grep -q application/spdx+json || fail "the sidecar does not list the SBOM"
address=$(kubectl -n sidecar get pods -l app=scanner -o jsonpath='{.items[0].status.podIP}')
! inside curl -s --max-time 3 "http://$address:5100/$path" >/dev/null || fail "the sidecar answers other pods"
