//! Promise: callers can speak TLS, with HTTP/2 where they offer it, show certificates of their own where they must, and never
//! notice that refshim's was renewed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::support::{Local, Program, Refshim, Registry, certificate, eventually};
use bytes::Bytes;
use http::{Request, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use refshim::testing::config::{Config, CredentialsConfig, CredentialsKind, TlsVersion};
use refshim::testing::tls::{Acceptor, ClientAuth, Protocols, TlsError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// A key pair in a folder of its own.
struct Identity {
    folder: tempfile::TempDir,
}

impl Identity {
    fn new() -> Self {
        Self::lasting(2)
    }

    fn lasting(days: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certificate::make_lasting(folder.path(), days);
        Self { folder }
    }

    /// In seconds since 1970, as openssl reads it.
    fn ends(&self) -> i64 {
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
            .arg(self.certificate())
            .output()
            .unwrap();
        // notAfter=2026-11-27 21:16:00Z
        let text = String::from_utf8(output.stdout).unwrap();
        let time = text.trim().trim_start_matches("notAfter=").replace(' ', "T");
        let time = time::OffsetDateTime::parse(&time, &time::format_description::well_known::Rfc3339);
        time.unwrap_or_else(|error| panic!("{error}: {text}")).unix_timestamp()
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

/// Asks for the ping; the version spoken, or why there is no answer.
async fn ask(proxy: &Local, trusted: &Path, own: Option<&Identity>) -> Result<Version, String> {
    let (status, version) = exchange(proxy, trusted, own, None).await?;
    assert_eq!(status, 200);
    Ok(version)
}

/// The same with what a caller may bring, and whatever the answer.
async fn exchange(
    proxy: &Local,
    trusted: &Path,
    own: Option<&Identity>,
    authorization: Option<&str>,
) -> Result<(u16, Version), String> {
    send(
        proxy,
        client_config(trusted, own, rustls::DEFAULT_VERSIONS),
        authorization,
    )
    .await
}

fn client_config(
    trusted: &Path,
    own: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(trusted).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let config = config.unwrap().with_root_certificates(roots);
    match own {
        None => config.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_file(own.certificate()).unwrap()];
            let key = PrivateKeyDer::from_pem_file(own.key()).unwrap();
            config.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

async fn send(proxy: &Local, config: ClientConfig, authorization: Option<&str>) -> Result<(u16, Version), String> {
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only();
    let client = Client::builder(TokioExecutor::new()).build(connector.enable_all_versions().build());
    let mut request = Request::get(format!("{}/v2/", proxy.url()));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    let response = client.request(request.body(Full::<Bytes>::default()).unwrap()).await;
    let response = response.map_err(|error| format!("{error:?}"))?;
    Ok((response.status().as_u16(), response.version()))
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
    certificate::make(own.folder.path());
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
        let acceptor = Acceptor::new(&config.server.tls, ClientAuth::NeedCertificate, Protocols::Http1And2);
        acceptor.map(|_| ()).unwrap_err().to_string()
    };
    config.server.tls.key_file = Some(other.key());
    let certificate = own.certificate().display().to_string();
    assert!(reason(&config).starts_with(&certificate), "{}", reason(&config));
    config.server.tls.key_file = Some("/nowhere/key.pem".into());
    assert!(reason(&config).starts_with("/nowhere/key.pem: "), "{}", reason(&config));
    own.configure(&mut config);
    config.server.tls.cert_file = Some(own.key());
    let acceptor = Acceptor::new(&config.server.tls, ClientAuth::NeedCertificate, Protocols::Http1And2);
    assert!(matches!(acceptor, Err(TlsError::File { file, .. }) if file == own.key()));
}

/// Where refshim has credentials of its own, a certificate and a password are as good as each other.
#[tokio::test]
async fn a_certificate_or_a_password_opens_the_door() {
    let registry = Registry::builder(Program::V2).users(&[("robot", "beep")]).start().await;
    let (own, caller, stranger) = (Identity::new(), Identity::new(), Identity::new());
    let users = own.folder.path().join("htpasswd");
    let written = Command::new("htpasswd")
        .args(["-nbB", "alice", "wonder"])
        .output()
        .unwrap();
    std::fs::write(&users, written.stdout).unwrap();
    let proxy = Local::configured(&registry.url(), |config| {
        own.configure(config);
        config.server.tls.client_ca_file = Some(caller.certificate());
        config.server.auth.htpasswd_file = Some(users);
        config.upstreams[0].credentials = CredentialsConfig {
            kind: CredentialsKind::Static,
            username: Some("robot".to_owned()),
            password_file: Some(own.folder.path().join("password")),
            ..CredentialsConfig::default()
        };
    })
    .await;
    std::fs::write(own.folder.path().join("password"), "beep").unwrap();
    let password = refshim::testing::auth::basic("alice", "wonder");
    for (identity, authorization, expected) in [
        (Some(&caller), None, Some(200)),
        (None, Some(password.as_str()), Some(200)),
        (None, None, Some(401)),
        (None, Some("Basic eDp5"), Some(401)),
        // A certificate that is shown must be right.
        (Some(&stranger), Some(password.as_str()), None),
    ] {
        let answer = exchange(&proxy, &own.certificate(), identity, authorization).await;
        assert_eq!(answer.ok().map(|(status, _)| status), expected);
    }
}

#[tokio::test]
async fn older_versions_can_be_refused() {
    let registry = Registry::v2().await;
    let own = Identity::new();
    for (least, spoken) in [(TlsVersion::Tls12, true), (TlsVersion::Tls13, false)] {
        let proxy = Local::configured(&registry.url(), |config| {
            own.configure(config);
            config.server.tls.min_version = least;
        })
        .await;
        let client = client_config(&own.certificate(), None, &[&rustls::version::TLS12]);
        assert_eq!(send(&proxy, client, None).await.is_ok(), spoken, "{least:?}");
        assert!(ask(&proxy, &own.certificate(), None).await.is_ok());
    }
}

#[tokio::test]
async fn the_admin_listener_speaks_tls_too() {
    let own = Identity::new();
    let (certificate, key) = (own.certificate(), own.key());
    let config = format!(
        "[admin.tls]\ncert_file = '{}'\nkey_file = '{}'\n[[upstream]]\nurl = 'http://127.0.0.1:1'",
        certificate.display(),
        key.display()
    );
    let refshim = Refshim::bare().config(&config).start().await;
    let url = refshim.admin().url().replace("http://", "https://");
    let curl = |path: &str, extra: &[&str]| {
        Command::new("curl")
            .args(["-sS", "--max-time", "30"])
            .args(extra)
            .arg(format!("{url}{path}"))
            .output()
            .unwrap()
    };
    let trusted = ["--cacert", certificate.to_str().unwrap()];
    let trusting = curl("/healthz", &trusted);
    assert_eq!(String::from_utf8_lossy(&trusting.stdout), "ok\n", "{trusting:?}");
    assert!(!curl("/healthz", &[]).status.success());
    let metrics = String::from_utf8(curl("/metrics", &trusted).stdout).unwrap();
    let ends = format!("{} {}", expiry_of("admin", ""), own.ends());
    assert!(metrics.lines().any(|line| line == ends), "{ends}\nnot in\n{metrics}");
}

fn expiry_of(certificate: &str, upstream: &str) -> String {
    format!("refshim_certificate_expiry_timestamp_seconds{{certificate=\"{certificate}\",upstream=\"{upstream}\"}}")
}

#[tokio::test]
async fn metrics_tell_when_certificates_end_renewed_ones_too() {
    let (server, client, renewed) = (Identity::new(), Identity::new(), Identity::lasting(3));
    let config = format!(
        "[server.tls]\ncert_file = '{}'\nkey_file = '{}'\n\
         [[upstream]]\nname = 'u'\nurl = 'https://127.0.0.1:1'\nclient_cert_file = '{}'\nclient_key_file = '{}'",
        server.certificate().display(),
        server.key().display(),
        client.certificate().display(),
        client.key().display(),
    );
    let refshim = Refshim::bare().config(&config).start().await;
    assert_eq!(
        refshim.metric(&expiry_of("client", "u")).await,
        Some(client.ends() as f64)
    );
    assert_eq!(
        refshim.metric(&expiry_of("server", "")).await,
        Some(server.ends() as f64)
    );
    std::fs::copy(renewed.key(), server.key()).unwrap();
    std::fs::copy(renewed.certificate(), server.certificate()).unwrap();
    eventually("the renewed one is seen without a caller", async || {
        let ends = refshim.metric(&expiry_of("server", "")).await;
        (ends == Some(renewed.ends() as f64)).then_some(())
    })
    .await;
}
