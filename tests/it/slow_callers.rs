//! Promise: whoever stops reading or writing in the middle of a transfer holds up nobody else, whatever version of HTTP is spoken.

use crate::support::content::IMAGE;
use crate::support::wire::{Listener, Wire};
use crate::support::{Local, Nginx, Registry, certificate, eventually, within};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;

/// More than the streams that the registry takes at once, and than fit into a connection's window.
const STOPPED: usize = 12;
/// More than all buffers on the way hold.
const BLOB: usize = 24 << 20;

/// A real registry behind nginx, which speaks HTTP/2, with TLS or without.
#[tokio::test]
async fn callers_who_stop_reading_hold_up_no_other() {
    for options in ["ssl http2", "http2"] {
        let folder = tempfile::tempdir().unwrap();
        certificate::make(folder.path());
        let registry = Registry::v2().await;
        let rest = format!(
            "http2_max_concurrent_streams 8; location / {{ proxy_pass {}; proxy_set_header Host $http_host; }}",
            registry.url()
        );
        let nginx = Nginx::start(folder.path(), options, &rest).await;
        let has_tls = options.starts_with("ssl");
        let scheme = if has_tls { "https" } else { "http" };
        let proxy = Local::configured(&format!("{scheme}://{}", nginx.authority()), |config| {
            config.upstreams[0].ca_file = has_tls.then(|| folder.path().join("cert.pem"));
            config.upstreams[0].http2_prior_knowledge = !has_tls;
        })
        .await;
        let endpoint = proxy.endpoint();
        let image = endpoint.push_image("app", "v1", "an image").await;
        let artifact = endpoint
            .push_artifact("app", &image, "application/x", "an artifact")
            .await;
        let blob = endpoint.push_blob("app", vec![b'x'; BLOB]).await;

        let path = format!("/v2/app/blobs/{blob}");
        let mut stopped = Vec::new();
        for _ in 0..STOPPED {
            let mut caller = Wire::connect_narrow(proxy.authority()).await;
            caller.write(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
            let head = caller.head().await;
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{options}: {head}");
            stopped.push(caller);
        }
        let whole = within("another reads it", endpoint.get(&path)).await;
        assert_eq!(whole.expect_status(200).body.len(), BLOB, "{options}");
        within("an artifact is attached, and listed", async {
            let other = endpoint.push_artifact("app", &image, "application/x", "another").await;
            let mut expected = [artifact.digest.clone(), other.digest];
            expected.sort_unstable();
            let mut listed = endpoint.referrer_digests("app", &image.digest).await;
            listed.sort_unstable();
            assert_eq!(listed, expected, "{options}");
        })
        .await;
        for path in ["/v2/app/manifests/v1", "/v2/app/tags/list"] {
            let asked = endpoint.get_with(path, &[("accept", IMAGE)]);
            within("others are answered", asked).await.expect_status(200);
        }
        // And they may go on.
        for caller in &mut stopped {
            caller.drain(BLOB as u64).await;
        }
    }
}

/// As a gateway sends them: on one connection.
#[tokio::test]
async fn uploads_that_the_registry_does_not_take_hold_up_no_other() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let stream = TcpStream::connect(proxy.authority()).await.unwrap();
    let (mut gateway, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let sent = Arc::new(AtomicUsize::new(0));
    let mut upload = |name: &str, blocks: usize| {
        let sent = Arc::clone(&sent);
        let length = blocks * (64 << 10);
        let body = futures_util::stream::iter((0..blocks).map(move |_| {
            sent.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 64 << 10])))
        }));
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("http://{}/v2/app/blobs/uploads/{name}", proxy.authority()))
            .header(CONTENT_LENGTH, length)
            .body(StreamBody::new(body))
            .unwrap();
        gateway.send_request(request)
    };
    // Nobody reads at the other end.
    let mut stopped = tokio::task::JoinSet::new();
    let mut taken_by_nobody = Vec::new();
    for number in 0..4 {
        stopped.spawn(upload(&format!("stopped{number}"), BLOB / (64 << 10)));
        taken_by_nobody.push(upstream.accept().await);
    }
    eventually("they stand still", async || {
        let before = sent.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(300)).await;
        (sent.load(Ordering::Relaxed) == before).then_some(())
    })
    .await;
    let other = tokio::spawn(upload("other", 32));
    let mut taken = upstream.accept().await;
    taken.head().await;
    taken.drain(32 * (64 << 10)).await;
    taken.write("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    let answer = within("the other upload ends", other).await.unwrap().unwrap();
    assert_eq!(answer.status(), 202);
    drop((stopped, taken_by_nobody));
}
