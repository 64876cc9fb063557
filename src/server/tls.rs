//! TLS towards callers. Certificates are read again when their files change, so that they are renewed without a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;

/// How often files are looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What is spoken inside, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS cannot be offered. Never holds what is in a file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{}: {reason}", file.display())]
    File { file: PathBuf, reason: String },
    #[error("the certificate and the key cannot be used: {0}")]
    Pair(String),
}

/// Certificates and how to get them anew.
pub struct Tls {
    files: TlsFiles,
    loaded: Mutex<Loaded>,
}

struct Loaded {
    acceptor: TlsAcceptor,
    /// When each file was changed last.
    changed: Vec<Option<SystemTime>>,
    looked: Instant,
}

impl Tls {
    /// # Errors
    /// When a file cannot be read, or what it holds cannot be used.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let changed = changed(files);
        let acceptor = load(files)?;
        Ok(Self {
            files: files.clone(),
            loaded: Mutex::new(Loaded {
                acceptor,
                changed,
                looked: Instant::now(),
            }),
        })
    }

    /// What to greet the next caller with. Files that have changed but cannot be used leave what there was.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.looked.elapsed() >= LOOK_AGAIN {
            loaded.looked = Instant::now();
            let changed = changed(&self.files);
            if changed != loaded.changed {
                match load(&self.files) {
                    Ok(acceptor) => {
                        tracing::info!("certificates were renewed");
                        loaded.acceptor = acceptor;
                        loaded.changed = changed;
                    }
                    // The other file of the pair may be on its way: it is tried again.
                    Err(error) => tracing::warn!(%error, "certificates have changed but cannot be used"),
                }
            }
        }
        loaded.acceptor.clone()
    }
}

fn changed(files: &TlsFiles) -> Vec<Option<SystemTime>> {
    let all = [Some(&files.cert), Some(&files.key), files.client_ca.as_ref()];
    let changed = |file: &PathBuf| std::fs::metadata(file).and_then(|data| data.modified()).ok();
    all.into_iter().flatten().map(changed).collect()
}

fn load(files: &TlsFiles) -> Result<TlsAcceptor, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|e| unusable(&files.key, e))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let pair = |error: rustls::Error| TlsError::Pair(error.to_string());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|e| unusable(file, e))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|e| unusable(file, e))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file).map_err(|e| unusable(file, e))?;
    let all: Vec<_> = read.collect::<Result<_, _>>().map_err(|e| unusable(file, e))?;
    if all.is_empty() {
        return Err(unusable(file, "holds no certificate"));
    }
    Ok(all)
}

fn unusable(file: &Path, reason: impl ToString) -> TlsError {
    TlsError::File {
        file: file.to_owned(),
        reason: reason.to_string(),
    }
}
