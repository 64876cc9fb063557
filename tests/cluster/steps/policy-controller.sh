# policy-controller, with the project's example, admits the signed image and refuses the unsigned one. Images keep their names; signatures are looked
# for at refs.example.org, which is refshim (the step tls).
source "$here/policies.sh"
registry=registry.registry.svc.cluster.local:5000
signed_and_unsigned
kubectl create namespace controller-guarded >/dev/null
kubectl label namespace controller-guarded policy.sigstore.dev/include=true >/dev/null
engine cosign-system policy-controller webhook
within 30 example policy-controller.yaml "s#ghcr.io/o/tool\*\*#$registry/o/**#; s#refs.example.org/o/tool#refs.example.org/o/signed#"
within 60 refuses controller-guarded "$registry/o/unsigned:1" 'no matching signatures\|no signatures found'
admits controller-guarded "$registry/o/signed:1" || fail "policy-controller refuses the signed image: $(cat "$state/log/admission.log")"
