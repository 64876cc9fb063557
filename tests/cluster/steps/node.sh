# On the node: containerd pulls an image by the registry's own name, through refshim.
registry=registry.registry.svc.cluster.local
server=$(address_of refshim refshim):5100
inside skopeo --insecure-policy copy --quiet --dest-tls-verify=false "oci-archive:$state/images/busybox.tar" "docker://$server/o/busybox:1"
install node privileged node --set "node.hostsToml.folder=$state/certs.d"
hosts=$state/certs.d/${registry}_5000_/hosts.toml
within 20 test -e "$hosts"
kubectl create -f - >/dev/null <<POD
apiVersion: v1
kind: Pod
metadata: { name: pulled, namespace: node }
spec:
  nodeSelector: { kubernetes.io/hostname: node1 }
  restartPolicy: Never
  containers: [{ name: pulled, image: "$registry:5000/o/busybox:1", imagePullPolicy: Always, command: [sh, -c, "exit 0"] }]
POD
kubectl -n node wait --for=jsonpath='{.status.phase}'=Succeeded pod/pulled --timeout=60s >/dev/null
kubectl -n node logs daemonset/refshim -c refshim | grep -q o/busybox/manifests || fail "containerd did not ask refshim"
# When refshim leaves the node, so does the file.
helm uninstall refshim -n node >/dev/null
within 60 test ! -e "$hosts"
