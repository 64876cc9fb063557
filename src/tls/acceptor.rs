//! The server side of TLS, with certificates that can be renewed without a restart.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{TlsError, add_authorities, identity, versions};
use crate::config::TlsConfig;

/// Longest time for a handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Shortest time between two checks whether the files have changed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether callers must present a client certificate, if the listener has authorities to check one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// Callers without certificate are refused.
    NeedCertificate,
    /// Callers without certificate are let in, and authenticate in another way.
    MayHaveCertificate,
}

/// The protocols to offer by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/1.1 only.
    Http1,
    /// HTTP/2 with clients that support it, otherwise HTTP/1.1.
    Http1And2,
}

impl Protocols {
    fn names(self) -> &'static [&'static [u8]] {
        match self {
            Self::Http1 => &[b"http/1.1"],
            Self::Http1And2 => &[b"h2", b"http/1.1"],
        }
    }
}

/// Accepts TLS connections from callers.
pub struct Acceptor {
    config: TlsConfig,
    callers: ClientAuth,
    protocols: Protocols,
    current: Mutex<LoadedIdentity>,
}

struct LoadedIdentity {
    server_identity: ServerIdentity,
    /// Fingerprint of the files' contents when they were last read.
    hash: [u8; 32],
    looked: Instant,
}

/// The certificates and settings for new connections.
#[derive(Clone)]
struct ServerIdentity {
    server: Arc<ServerConfig>,
    expires: Option<SystemTime>,
}

/// A connection after its handshake.
pub struct TlsConnection<S> {
    pub stream: TlsStream<S>,
    /// Whether the caller presented a certificate of a trusted authority.
    pub certified: bool,
}

impl Acceptor {
    /// `None` if TLS is not configured.
    pub fn new(config: &TlsConfig, callers: ClientAuth, protocols: Protocols) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.cert_file, &config.key_file) else {
            return Ok(None);
        };
        let current = LoadedIdentity {
            hash: hash(config)?,
            server_identity: server_identity(config, certificate, key, callers, protocols)?,
            looked: Instant::now(),
        };
        Ok(Some(Arc::new(Self {
            config: config.clone(),
            callers,
            protocols,
            current: Mutex::new(current),
        })))
    }

    /// Performs the handshake.
    pub async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsConnection<S>> {
        let handshake = TlsAcceptor::from(self.current().server).accept(stream);
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await??;
        // rustls has already verified the certificate.
        let certified = stream.get_ref().1.peer_certificates().is_some();
        Ok(TlsConnection { stream, certified })
    }

    /// When the certificate or one of its intermediate certificates expires, whichever is first. Reads renewed files before.
    pub fn expires(&self) -> Option<SystemTime> {
        self.current().expires
    }

    /// The settings for the next connection; open connections keep theirs. If the files have changed but cannot be used, the old
    /// settings stay: a renewal that is written file by file is complete a moment later.
    fn current(&self) -> ServerIdentity {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_AGAIN {
            self.look(&mut current);
        }
        current.server_identity.clone()
    }

    /// Reads the files again, without waiting for the next connection.
    pub fn read_again(&self) {
        self.look(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn look(&self, current: &mut LoadedIdentity) {
        current.looked = Instant::now();
        match self.renewed(&mut current.hash) {
            Ok(None) => {}
            Ok(Some(server_identity)) => {
                tracing::info!("using renewed certificates");
                current.server_identity = server_identity;
            }
            Err(error) => tracing::warn!(%error, "renewed certificates cannot be used; keeping the old ones"),
        }
    }

    /// `None` if the files have not changed.
    fn renewed(&self, known: &mut [u8; 32]) -> Result<Option<ServerIdentity>, TlsError> {
        let (Some(certificate), Some(key)) = (&self.config.cert_file, &self.config.key_file) else {
            return Ok(None);
        };
        let now = hash(&self.config)?;
        // Kept also if the files cannot be used, so that they are tried again only after another change.
        if std::mem::replace(known, now) == now {
            return Ok(None);
        }
        server_identity(&self.config, certificate, key, self.callers, self.protocols).map(Some)
    }
}

fn server_identity(
    config: &TlsConfig,
    certificate: &Path,
    key: &Path,
    callers: ClientAuth,
    protocols: Protocols,
) -> Result<ServerIdentity, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions(config.min_version))
        .map_err(|error| setup(&error))?;
    let builder = match &config.client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            add_authorities(&mut roots, file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match callers {
                ClientAuth::NeedCertificate => verifier,
                ClientAuth::MayHaveCertificate => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError::file(file, error))?)
        }
    };
    let identity = identity(certificate, key)?;
    let expires = identity.expires();
    let mut server = builder
        .with_single_cert(identity.chain, identity.key)
        .map_err(|error| TlsError::file(certificate, error))?;
    server.alpn_protocols = protocols.names().iter().map(|name| name.to_vec()).collect();
    Ok(ServerIdentity {
        server: Arc::new(server),
        expires,
    })
}

/// Compares contents, not modification times: Kubernetes replaces a secret behind a symbolic link that keeps its time.
fn hash(config: &TlsConfig) -> Result<[u8; 32], TlsError> {
    let mut hasher = Sha256::new();
    for file in [&config.cert_file, &config.key_file, &config.client_ca_file]
        .into_iter()
        .flatten()
    {
        let content = std::fs::read(file).map_err(|error| TlsError::file(file, error))?;
        hasher.update((content.len() as u64).to_be_bytes());
        hasher.update(content);
    }
    Ok(hasher.finalize().into())
}
