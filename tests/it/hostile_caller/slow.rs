//! Callers who take their time. What they may take it for is in `limits`.

use std::time::Duration;

use super::fake;
use crate::support::wire::{Listener, Wire};
use crate::support::{Local, eventually};

/// Hundreds that have begun to say something, and hundreds that have begun to send something, are in nobody's way.
#[tokio::test]
async fn slow_callers_keep_nobody_waiting() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let mut slow = Vec::new();
    for beginning in [
        "GET /v2/ HTTP/1.1\r\nX: ",
        "PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n{",
        "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\nx",
    ] {
        for _ in 0..100 {
            let mut caller = Wire::connect(proxy.authority()).await;
            caller.write(beginning).await;
            slow.push(caller);
        }
    }
    for endpoint in [proxy.endpoint(), proxy.endpoint().h2c()] {
        endpoint.get("/v3/").await.expect_status(200);
        let image = endpoint.push_image("a", "v1", "image").await;
        endpoint
            .get(&format!("/v2/a/referrers/{}", image.digest))
            .await
            .expect_status(200);
    }
    drop(slow);
    eventually("nothing is left of them", async || {
        (proxy.metrics().in_flight.get() == 0).then_some(())
    })
    .await;
}

/// A drip is movement; silence is not.
#[tokio::test]
async fn an_upload_that_stands_still_is_ended() {
    let upstream = Listener::bind().await;
    let proxy = Local::configured(&upstream.url(), |config| {
        config.upstreams[0].connect_timeout = Duration::from_millis(100);
        config.upstreams[0].idle_timeout = Duration::from_millis(100);
    })
    .await;
    for framing in ["Content-Length: 1000", "Transfer-Encoding: chunked"] {
        let mut caller = Wire::connect(proxy.authority()).await;
        let head = format!("PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        caller.write(&format!("{head}5\r\nhello\r\n")).await;
        let mut asked = upstream.accept().await;
        asked.head().await;
        let answer = caller.rest().await;
        assert!(
            answer.starts_with("HTTP/1.1 504 ") && answer.contains("stalled"),
            "{answer}"
        );
        assert!(!asked.rest().await.ends_with("0\r\n\r\n"), "it looks whole");
    }
}
