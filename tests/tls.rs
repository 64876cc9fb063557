//! Promise: callers can speak TLS, with HTTP/2 where they offer it, show certificates of their own where they must, and never
//! notice that refshim's was renewed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use refshim::config::Config;
use refshim::tls::{Acceptor, Callers, TlsError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use support::{Local, Registry, eventually};

/// A key pair in a folder of its own.
struct Identity {
    folder: tempfile::TempDir,
}

impl Identity {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificate(folder.path());
        Self { folder }
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn configure(&self, config: &mut Config) {
        config.server.tls.cert_file = Some(self.certificate());
        config.server.tls.key_file = Some(self.key());
    }
}

/// A certificate of 127.0.0.1, its own authority.
fn make_certificate(folder: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=tests"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Asks for the ping and a `Link` that is absolute; the version spoken, or why there is no answer.
async fn ask(proxy: &Local, trusted: &Path, own: Option<&Identity>) -> Result<Version, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_file(own.certificate()).unwrap()];
            let key = PrivateKeyDer::from_pem_file(own.key()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only();
    let client = Client::builder(TokioExecutor::new()).build(connector.enable_all_versions().build());
    let request = Request::get(format!("{}/v2/", proxy.url())).body(Full::<Bytes>::default());
    let response = client
        .request(request.unwrap())
        .await
        .map_err(|error| format!("{error:?}"))?;
    assert_eq!(response.status(), 200);
    Ok(response.version())
}

#[tokio::test]
async fn callers_speak_tls_and_http2() {
    let registry = Registry::v2().await;
    let own = Identity::new();
    let proxy = Local::configured(&registry.url(), |config| own.configure(config)).await;
    assert_eq!(ask(&proxy, &own.certificate(), None).await, Ok(Version::HTTP_2));
    let stranger = Identity::new();
    assert!(ask(&proxy, &stranger.certificate(), None).await.is_err());
}

#[tokio::test]
async fn callers_must_show_a_certificate_where_the_configuration_says_so() {
    let registry = Registry::v2().await;
    let (own, caller, stranger) = (Identity::new(), Identity::new(), Identity::new());
    let proxy = Local::configured(&registry.url(), |config| {
        own.configure(config);
        config.server.tls.client_ca_file = Some(caller.certificate());
    })
    .await;
    assert!(ask(&proxy, &own.certificate(), Some(&caller)).await.is_ok());
    assert!(ask(&proxy, &own.certificate(), Some(&stranger)).await.is_err());
    assert!(ask(&proxy, &own.certificate(), None).await.is_err());
}

#[tokio::test]
async fn a_renewed_certificate_is_used_without_a_restart() {
    let registry = Registry::v2().await;
    let own = Identity::new();
    let proxy = Local::configured(&registry.url(), |config| own.configure(config)).await;
    let old = tempfile::tempdir().unwrap();
    let before = old.path().join("cert.pem");
    std::fs::copy(own.certificate(), &before).unwrap();
    // Half a renewal, as it looks for a moment: the certificate that there was goes on.
    std::fs::write(own.certificate(), "").unwrap();
    assert!(ask(&proxy, &before, None).await.is_ok());
    make_certificate(own.folder.path());
    let renewed = async || ask(&proxy, &own.certificate(), None).await.ok();
    eventually("the new certificate is shown", renewed).await;
    assert!(ask(&proxy, &before, None).await.is_err());
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let (own, other) = (Identity::new(), Identity::new());
    let mut config = Config::default();
    own.configure(&mut config);
    let reason = |config: &Config| {
        let acceptor = Acceptor::new(&config.server.tls, Callers::NeedCertificate);
        acceptor.map(|_| ()).unwrap_err().to_string()
    };
    config.server.tls.key_file = Some(other.key());
    let certificate = own.certificate().display().to_string();
    assert!(reason(&config).starts_with(&certificate), "{}", reason(&config));
    config.server.tls.key_file = Some("/nowhere/key.pem".into());
    assert!(reason(&config).starts_with("/nowhere/key.pem: "), "{}", reason(&config));
    own.configure(&mut config);
    config.server.tls.cert_file = Some(own.key());
    let acceptor = Acceptor::new(&config.server.tls, Callers::NeedCertificate);
    assert!(matches!(acceptor, Err(TlsError::File { file, .. }) if file == own.key()));
}
