# The cluster's certificate authority, and what it signs. Sourced.
pki=$state/pki

authorities() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -days 2 -subj /CN=cluster 2>/dev/null
  openssl genrsa -out "$pki/accounts.key" 2048 2>/dev/null
  certificate admin /O=system:masters/CN=admin
}

# certificate NAME SUBJECT [NAMES]: a key, a certificate and a kubeconfig with them.
certificate() {
  local path=$pki/$1
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$path.key" -out "$path.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$path.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 2 -out "$path.crt" \
    -extfile <(printf 'extendedKeyUsage=serverAuth,clientAuth\n%s\n' "${3:+subjectAltName=$3}") 2>/dev/null
  cat >"$path.conf" <<CONFIG
apiVersion: v1
kind: Config
current-context: cluster
contexts: [{ name: cluster, context: { cluster: cluster, user: user } }]
clusters: [{ name: cluster, cluster: { server: "https://$host:6443", certificate-authority: $pki/ca.crt } }]
users: [{ name: user, user: { client-certificate: $path.crt, client-key: $path.key } }]
CONFIG
}
