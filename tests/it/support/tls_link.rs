//! TLS in front of something that does not speak it, as a registry's terminator or a proxy of its own is.

use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::certificate;

pub struct TlsLink {
    authority: String,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

impl TlsLink {
    /// Listens in front of `authority`, with the certificate in `folder`.
    pub async fn in_front_of(authority: &str, folder: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let link = listener.local_addr().expect("a bound address").to_string();
        let acceptor = TlsAcceptor::from(Arc::new(certificate::server_config(folder)));
        let target = authority.to_owned();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, target) = (acceptor.clone(), target.clone());
                connections.spawn(async move {
                    // A client that does not trust the certificate breaks off.
                    let (Ok(mut here), Ok(mut there)) =
                        (acceptor.accept(stream).await, TcpStream::connect(target).await)
                    else {
                        return;
                    };
                    // Fails when one side goes.
                    let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
                });
            }
        });
        Self {
            authority: link,
            _server: server,
        }
    }

    /// `host:port`
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.authority)
    }
}
