# Kyverno, with the project's example, admits the signed image and refuses the unsigned one. It asks refshim at refs.example.org (the step tls).
source "$here/policies.sh"
signed_and_unsigned
kubectl create namespace kyverno-guarded >/dev/null
engine kyverno kyverno kyverno-admission-controller
example kyverno.yaml
within 60 refuses kyverno-guarded refs.example.org/o/unsigned:1 'not signed with our key'
admits kyverno-guarded refs.example.org/o/signed:1 || fail "Kyverno refuses the signed image: $(cat "$state/log/admission.log")"
kubectl delete imagevalidatingpolicies --all >/dev/null
