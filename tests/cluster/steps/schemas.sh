# Whatever is rendered from deploy/ is what the API server takes: every set of values, the kustomizations and the examples, field by field.
kubectl create -f "$cache/kinds" >/dev/null
# Its conversions would be policy-controller's to make, which does not run yet.
kubectl patch crd clusterimagepolicies.policy.sigstore.dev --type=merge -p '{"spec":{"conversion":{"strategy":"None","webhook":null}}}' >/dev/null
kubectl wait --for=condition=Established crd --all --timeout=60s >/dev/null
within 60 kubectl -n default get serviceaccount default

accepted() { # NAME, manifests on standard input
  local output
  output=$(kubectl apply --dry-run=server --validate=strict -f - 2>&1) || fail "$1 is refused: $output"
  [ "$(grep -c '(server dry run)$' <<<"$output")" = "$(wc -l <<<"$output")" ] || fail "$1 is taken with a warning: $output"
}
for values in "$chart"/ci/*-values.yaml; do
  helm template release "$chart" --kube-version $kubernetes -f "$values" | accepted "${values#"$project/"}"
done
for folder in base overlays/sidecar; do
  kustomize build "$project/deploy/kustomize/$folder" | accepted "$folder"
done
for example in kyverno policy-controller; do
  accepted "$example" <"$project/deploy/examples/$example.yaml"
done
