# For the steps with policy engines. Sourced.

# Two images through refshim, of which one is signed with the key of the step `defaults`: by a bundle and by a .sig tag.
signed_and_unsigned() {
  local server image signed format
  server=$(address_of refshim refshim):5100
  for image in signed=busybox unsigned=pause; do
    inside skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci-archive:$state/images/${image#*=}.tar" "docker://$server/o/${image%=*}:1"
  done
  signed=$(inside crane digest --insecure "$server/o/signed:1")
  for format in true false; do
    inside env -C "$state/home/push" COSIGN_PASSWORD= cosign sign --yes --key cosign.key --use-signing-config=false --tlog-upload=false \
      --allow-http-registry --new-bundle-format=$format "$server/o/signed@$signed" >"$state/log/sign.log" 2>&1 || fail "sign: $(cat "$state/log/sign.log")"
  done
}

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
