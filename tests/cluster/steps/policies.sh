# Kyverno and policy-controller, with the project's examples: they admit a signed image and refuse an unsigned one. They ask refshim at
# refs.example.org (the step tls); what is signed is pushed through it (the step defaults made the key).
server=$(address_of refshim refshim):5100
registry=registry.registry.svc.cluster.local:5000
for image in signed=busybox unsigned=pause; do
  inside skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci-archive:$state/images/${image#*=}.tar" "docker://$server/o/${image%=*}:1"
done
signed=$(inside crane digest --insecure "$server/o/signed:1")
for format in true false; do
  inside env -C "$state/home/push" COSIGN_PASSWORD= cosign sign --yes --key cosign.key --use-signing-config=false --tlog-upload=false \
    --allow-http-registry --new-bundle-format=$format "$server/o/signed@$signed" >"$state/log/sign.log" 2>&1 || fail "sign: $(cat "$state/log/sign.log")"
done

# engine NAMESPACE NAME DEPLOYMENT: its own manifests, patched by the kustomization in engines/.
engine() {
  kubectl create namespace "$1" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl -n "$1" create configmap authorities --from-file="$state/pki/ca.crt" >/dev/null
  rm -rf "$state/$2" && cp -r "$cache/engines/$2" "$state/$2" && cp "$here/engines/$2/kustomization.yaml" "$state/$2/"
  kustomize build "$state/$2" | kubectl apply --server-side --force-conflicts -f - >/dev/null
  kubectl -n "$1" rollout status "deployment/$3" --timeout=120s >/dev/null || { kubectl -n "$1" logs "deployment/$3" --tail=20 >&2; return 1; }
}

# example FILE [SED]: its policy with a key, with the key of this run.
example() {
  python3 - "$project/deploy/examples/$1" "$state/home/push/cosign.pub" <<'PYTHON' | sed "${2:-}" | kubectl apply -f - >/dev/null
import re, sys
policy = open(sys.argv[1]).read().split("\n---\n")[1]
key = open(sys.argv[2]).read().strip().splitlines()
pattern = r"( +)-----BEGIN PUBLIC KEY-----\n.*?-----END PUBLIC KEY-----"
print(re.sub(pattern, lambda found: "\n".join(found[1] + line for line in key), policy, flags=re.S))
PYTHON
}

# admits NAMESPACE IMAGE: what admission says, without starting anything.
admits() { kubectl -n "$1" run pod-"$RANDOM" --image="$2" --restart=Never --dry-run=server >"$state/log/admission.log" 2>&1; }
refuses() { ! admits "$@" && grep -qi "$3" "$state/log/admission.log"; }

kubectl create namespace kyverno-guarded >/dev/null
engine kyverno kyverno kyverno-admission-controller
example kyverno.yaml
within 60 refuses kyverno-guarded refs.example.org/o/unsigned:1 'not signed with our key'
admits kyverno-guarded refs.example.org/o/signed:1 || fail "Kyverno refuses the signed image: $(cat "$state/log/admission.log")"
kubectl delete imagevalidatingpolicies --all >/dev/null
say "Kyverno admits the signed and refuses the unsigned image"

kubectl create namespace controller-guarded >/dev/null
kubectl label namespace controller-guarded policy.sigstore.dev/include=true >/dev/null
engine cosign-system policy-controller webhook
# Images keep their names; signatures are looked for at refshim's.
within 30 example policy-controller.yaml "s#ghcr.io/o/tool\*\*#$registry/o/**#; s#refs.example.org/o/tool#refs.example.org/o/signed#"
within 60 refuses controller-guarded "$registry/o/unsigned:1" 'no matching signatures\|no signatures found'
admits controller-guarded "$registry/o/signed:1" || fail "policy-controller refuses the signed image: $(cat "$state/log/admission.log")"
say "policy-controller admits the signed and refuses the unsigned image"
