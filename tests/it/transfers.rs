//! Promise: whoever hangs up, the other side learns of it; a broken transfer never looks whole; nothing is smuggled.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support::wire::{Listener, Wire};
use crate::support::{CountingProxy, Fault, Local, Refshim, Registry, eventually, within};
use http::Method;
use http_body_util::BodyExt as _;
use std::io::ErrorKind;

const ASK: &str = "GET /v2/a/blobs/sha256:0 HTTP/1.1\r\nHost: proxy.example\r\n\r\n";

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_cancels_the_request() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(ASK).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    drop(caller);
    assert_eq!(asked.rest().await, "");
    let idle = async || (proxy.metrics().in_flight.get() == 0).then_some(());
    eventually("no request is in flight", idle).await;
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_of_a_download_cancels_it() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(ASK).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    asked
        .write("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nsome")
        .await;
    let head = caller.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    caller.read(4).await;
    drop(caller);
    asked.write_until_closed().await;
}

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_of_an_upload_cancels_it() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut caller = Wire::connect(proxy.authority()).await;
        let head = format!("PATCH /v2/a/blobs/uploads/x?_state=y HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        caller.write(&head).await;
        let mut asked = upstream.accept().await;
        let head = asked.head().await.to_ascii_lowercase();
        assert!(head.contains(&framing.to_ascii_lowercase()), "{head}");
        // The body streams: its beginning arrives before its end is sent.
        caller.write("5\r\nhello\r\n").await;
        asked.read(5).await;
        drop(caller);
        let rest = asked.rest().await;
        assert!(
            !rest.ends_with("0\r\n\r\n"),
            "an upload that broke looks whole: {rest:?}"
        );
    }
}

/// A sixteenth of what passes, so that nothing can have been gathered.
#[tokio::test]
async fn blobs_of_any_size_pass_in_constant_memory() {
    const BLOB: u64 = 1 << 30;
    let upstream = Listener::bind().await;
    let ping = async {
        let mut asked = upstream.accept().await;
        asked.head().await;
        asked
            .write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    let url = upstream.url();
    let (proxy, ()) = tokio::join!(Refshim::in_front_of(&url), ping);
    let endpoint = proxy.endpoint();

    let mut caller = Wire::connect(endpoint.authority()).await;
    caller.write(ASK).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    // Closed, so that the next request comes on a connection of its own.
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {BLOB}\r\n\r\n");
    asked.write(&head).await;
    caller.head().await;
    tokio::join!(asked.pour(BLOB), caller.drain(BLOB));

    let mut caller = Wire::connect(endpoint.authority()).await;
    let head = format!("PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: {BLOB}\r\n\r\n");
    caller.write(&head).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    tokio::join!(caller.pour(BLOB), asked.drain(BLOB));

    let peak = proxy.peak_memory();
    assert!(peak < BLOB / 16, "{peak} bytes for blobs of {BLOB}");
}

#[tokio::test]
async fn a_download_that_breaks_never_looks_whole() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    let blob = registry.endpoint().push_blob("a", vec![1; 300_000]).await;
    link.fail(Fault::CutBody(1000), |r| r.path.contains("/blobs/"));
    for endpoint in [proxy.endpoint(), proxy.endpoint().h2c()] {
        let broken = endpoint.try_get(&format!("/v2/a/blobs/{blob}")).await;
        assert!(broken.is_err(), "{broken:?}");
    }
}

#[tokio::test]
async fn an_upstream_that_dies_is_an_error_with_a_body() {
    let mut registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    link.fail_times(1, Fault::Close, |r| r.method == Method::PATCH);
    let put = proxy
        .endpoint()
        .send(Method::PATCH, "/v2/a/blobs/uploads/x", &[], vec![0; 100_000])
        .await;
    assert_eq!(put.expect_status(502).error_code(), "UNAVAILABLE");
    registry.kill();
    let straight = Local::in_front_of(&registry.url()).await;
    for path in ["/v2/", "/v2/a/manifests/x", "/v2/a/tags/list"] {
        let reply = straight.endpoint().get(path).await.expect_status(502);
        assert_eq!(reply.error_code(), "UNAVAILABLE", "{path}");
    }
}

#[tokio::test]
async fn the_upstream_sees_its_own_host_and_no_hop_of_the_callers() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller
        .write(
            "PUT http://elsewhere.example/v2/a/blobs/uploads/x?_state=%2b+~'&&z HTTP/1.1\r\nHost: proxy.example\r\n\
             Connection: x-hop\r\nConnection: keep-alive, X-Hop-Two\r\nX-Hop: 1\r\nX-Hop-Two: 2\r\nTE: trailers\r\n\
             Proxy-Authorization: Basic x\r\nForwarded: host=evil\r\nX-Forwarded-Proto: https\r\nExpect: 100-continue\r\n\
             Authorization: Basic eDp5\r\nContent-Length: 2\r\n\r\n",
        )
        .await;
    let mut asked = upstream.accept().await;
    let head = asked.head().await;
    let mut lines: Vec<String> = head.lines().skip(1).map(str::to_ascii_lowercase).collect();
    lines.sort();
    assert!(
        head.starts_with("PUT /v2/a/blobs/uploads/x?_state=%2b+~'&&z HTTP/1.1\r\n"),
        "{head}"
    );
    // Of refshim's own, so that it knows a request that comes back to it.
    let via = lines.pop_if(|line| line.starts_with("via: 1.1 refshim-"));
    assert!(via.is_some(), "{head}");
    let host = format!("host: {}", upstream.authority());
    assert_eq!(lines, ["authorization: basic edp5", "content-length: 2", &host]);
    assert_eq!(caller.head().await, "HTTP/1.1 100 Continue");
    caller.write("hi").await;
    assert_eq!(asked.read(2).await, b"hi");
    asked
        .write("HTTP/1.1 201 Created\r\nConnection: x-mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 0\r\n\r\n")
        .await;
    let answer = caller.head().await.to_ascii_lowercase();
    assert!(
        answer.starts_with("http/1.1 201") && !answer.contains("x-mine") && !answer.contains("keep-alive"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_request_that_could_be_cut_in_two_ways_is_not() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    for framings in [
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 5",
        "Transfer-Encoding: chunked, identity",
    ] {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(&upload_head(framings)).await;
        let answer = caller.head().await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{framings}: {answer}");
        caller.rest().await;
    }
    // RFC 9112, 6.3: the chunks count, and nobody after us sees a length.
    for framings in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
    ] {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(&upload_head(framings)).await;
        let head = upstream.accept().await.head().await.to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        assert!(!head.contains("content-length"), "{head}");
    }
}

fn upload_head(framings: &str) -> String {
    format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{framings}\r\n\r\n")
}

#[tokio::test]
async fn transfers_in_flight_survive_a_shutdown() {
    let upstream = Listener::bind().await;
    let mut proxy = Local::in_front_of(&upstream.url()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(ASK).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    asked.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
    caller.head().await;
    proxy.stop();
    let authority = proxy.authority().to_owned();
    let refused = async || tokio::net::TcpStream::connect(&authority).await.is_err().then_some(());
    eventually("no connection is taken", refused).await;
    asked.write("done").await;
    assert_eq!(caller.read(8).await, b"halfdone");
    assert_eq!(caller.rest().await, "");
    proxy.ended().await;
}

#[tokio::test]
async fn a_shutdown_ends_though_a_transfer_does_not() {
    let upstream = Listener::bind().await;
    let mut proxy = Local::configured(&upstream.url(), |config| {
        config.server.shutdown_grace = std::time::Duration::ZERO
    })
    .await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(ASK).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    asked.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
    caller.head().await;
    assert_eq!(caller.read(4).await, b"half");

    let path = "/v2/a/blobs/sha256:1";
    let endpoint = proxy.endpoint().h2c();
    let (opened, mut other) = tokio::join!(endpoint.open(path), async {
        let mut other = upstream.accept().await;
        other.head().await;
        other.write("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").await;
        other
    });
    let mut body = opened.unwrap().into_body();
    assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));

    proxy.stop();
    proxy.ended().await;
    assert_eq!(caller.end().await, Some(ErrorKind::ConnectionReset), "over HTTP/1.1");
    let broken = within("the body ends", body.frame())
        .await
        .expect("an end")
        .unwrap_err();
    assert!(
        format!("{broken:?}").contains("ConnectionReset"),
        "over HTTP/2: {broken:?}"
    );
    assert_eq!((asked.rest().await, other.rest().await), (String::new(), String::new()));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_their_turn() {
    let registry = Registry::v2().await;
    let proxy = Local::configured(&registry.url(), |config| config.limits.connections = 1).await;
    let mut first = Wire::connect(proxy.authority()).await;
    first.write("GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    first.head().await;
    let second = proxy.endpoint();
    let mut waiting = Box::pin(second.get("/v2/"));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("a second connection was served"),
        () = tokio::task::yield_now() => {}
    }
    drop(first);
    within("the second connection's turn", waiting).await.expect_status(200);
}
