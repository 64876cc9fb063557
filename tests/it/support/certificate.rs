//! Certificates for servers on loopback.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Makes a certificate of 127.0.0.1 in `folder`, its own authority: `cert.pem` and `key.pem`.
pub fn make(folder: &Path) {
    make_lasting(folder, 2);
}

/// The same, valid for so many days.
pub fn make_lasting(folder: &Path, days: u32) {
    make_own(folder, days, "IP:127.0.0.1");
}

/// The same, of `names` such as `DNS:registry.test`.
pub fn make_own(folder: &Path, days: u32, names: &str) {
    let names = format!("subjectAltName={names}");
    make_of(folder, days, &[&names, "basicConstraints=critical,CA:FALSE"]);
}

/// A certificate of `names` (`DNS:registry.test`) as `openssl req -x509` makes it unless told otherwise: it may sign others.
pub fn make_signing(folder: &Path, names: &str) {
    make_of(folder, 2, &[&format!("subjectAltName={names}")]);
}

fn make_of(folder: &Path, days: u32, extensions: &[&str]) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args(["-nodes", "-days", &days.to_string()])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-subj", "/CN=tests"])
        .args(extensions.iter().flat_map(|extension| ["-addext", extension]))
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server that presents the certificate in `folder`.
pub fn server_config(folder: &Path) -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(folder.join("cert.pem")).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).expect("its key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions of TLS");
    let config = config.with_no_client_auth().with_single_cert(chain, key);
    config.expect("a key of the certificate")
}
