//! TLS to the upstream: trusted authorities only, the protocol by ALPN.

use std::path::Path;
use std::sync::Arc;

use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use refshim::testing::http::body::Body;
use refshim::testing::registry::{SetupError, Upstream, UpstreamError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::registry_client::{anyone, upstream_with};
use crate::support::certificate;

/// Serves under the certificate in `folder`; tells of each request on which connection it came, and in which version.
async fn serve(folder: &Path, alpn: &[&str]) -> (String, mpsc::UnboundedReceiver<(usize, Version)>, JoinSet<()>) {
    let mut config = certificate::server_config(folder);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let (seen, versions) = mpsc::unbounded_channel();
    let mut server = JoinSet::new();
    server.spawn(async move {
        for number in 1.. {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that does not trust the certificate breaks off.
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let seen = seen.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let _ = seen.send((number, request.version()));
                std::future::ready(Ok::<_, std::convert::Infallible>(Response::new(Body::empty())))
            });
            tokio::spawn(async move {
                let builder = auto::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    (url, versions, server)
}

fn trusting(url: &str, file: &Path) -> Upstream {
    upstream_with(url, |config, _| config.ca_file = Some(file.to_owned()))
}

/// What is passed on has a connection of its own (`slow_callers`): over HTTP/1.1, unless the server knows HTTP/2 alone.
#[tokio::test]
async fn alpn_decides_what_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    certificate::make(folder.path());
    for (alpn, read, passed_on) in [
        (&["h2", "http/1.1"][..], (1, Version::HTTP_2), (2, Version::HTTP_11)),
        (&["http/1.1"], (1, Version::HTTP_11), (1, Version::HTTP_11)),
        (&[], (1, Version::HTTP_11), (1, Version::HTTP_11)),
        // The second connection is the one on which HTTP/1.1 was refused.
        (&["h2"], (1, Version::HTTP_2), (3, Version::HTTP_2)),
    ] {
        let (url, mut versions, _server) = serve(folder.path(), alpn).await;
        let upstream = trusting(&url, &folder.path().join("cert.pem"));
        upstream.get("/v2/", &anyone(), 100).await.unwrap();
        let whole = Request::builder().uri("/v2/").body(Body::empty()).unwrap();
        upstream.forward(whole).await.unwrap();
        let seen = (versions.recv().await, versions.recv().await);
        assert_eq!(seen, (Some(read), Some(passed_on)), "{alpn:?}");
        // Both are used again.
        upstream.get("/v2/", &anyone(), 100).await.unwrap();
        assert_eq!(versions.recv().await, Some(read), "{alpn:?}");
        let whole = Request::builder().uri("/v2/").body(Body::empty()).unwrap();
        upstream.forward(whole).await.unwrap();
        assert_eq!(versions.recv().await, Some(passed_on), "{alpn:?}");
    }
}

#[tokio::test]
async fn strangers_are_not_trusted() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    certificate::make(folder.path());
    certificate::make(other.path());
    let (url, _versions, _server) = serve(folder.path(), &["h2"]).await;
    let answer = trusting(&url, &other.path().join("cert.pem"))
        .get("/v2/", &anyone(), 100)
        .await;
    assert!(
        matches!(&answer, Err(UpstreamError::Connect(reason)) if reason.contains("certificate")),
        "{answer:?}"
    );
}

#[test]
fn authorities_that_cannot_be_read_are_told_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    for file in [empty, folder.path().join("missing.pem")] {
        let mut config = refshim::testing::config::UpstreamConfig::new("https://r.example".parse().unwrap());
        config.ca_file = Some(file);
        let setup = Upstream::new(&config, &Default::default());
        assert!(matches!(setup.map(drop), Err(SetupError::Authorities { .. })));
    }
}
