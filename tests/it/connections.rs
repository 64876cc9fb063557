//! Promise: whatever an upstream does with its connections, each caller gets the answer to its own request, whole, or an error.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support::wire::{Listener, Wire};
use crate::support::{Local, within};
use futures_util::future::{join_all, select_all};
use http::Method;

const HEAD_OF_200: &str = "HTTP/1.1 200 OK\r\n";

fn ask(method: &Method) -> String {
    format!("{method} /v2/a/blobs/sha256:0 HTTP/1.1\r\nHost: proxy.example\r\nConnection: close\r\n\r\n")
}

/// What a caller gets, from the first to the last byte, where the registry sends `answer` and closes the connection.
async fn told(method: &Method, answer: &str) -> String {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(&ask(method)).await;
    let mut asked = upstream.accept().await;
    asked.head().await;
    asked.write(answer).await;
    drop(asked);
    within("the caller is answered", caller.rest()).await
}

#[tokio::test]
async fn a_body_ends_where_the_registry_ended_it_however_its_head_states_that() {
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
        "Content-Length: 10\r\nContent-Length: 10\r\n\r\n0123456789",
        "Content-Length: 10, 10\r\n\r\n0123456789",
    ] {
        let told = told(&Method::GET, &format!("{HEAD_OF_200}{framing}"))
            .await
            .to_ascii_lowercase();
        assert!(told.starts_with("http/1.1 200 "), "{framing}: {told}");
        match told.contains("transfer-encoding: chunked\r\n") {
            true => assert!(
                told.ends_with("\r\n0123456789\r\n0\r\n\r\n") && !told.contains("content-length"),
                "{told}"
            ),
            false => assert!(
                told.ends_with("\r\n\r\n0123456789") && told.contains("content-length: 10\r\n"),
                "{told}"
            ),
        }
    }
}

#[tokio::test]
async fn a_head_alone_is_answered_too() {
    let told = told(
        &Method::HEAD,
        &format!("{HEAD_OF_200}Content-Length: 10\r\nContent-Length: 10\r\n\r\n"),
    )
    .await;
    assert!(told.starts_with(HEAD_OF_200), "{told}");
    assert_eq!(
        told.to_ascii_lowercase().matches("content-length: 10\r\n").count(),
        1,
        "{told}"
    );
}

#[tokio::test]
async fn an_answer_that_refshim_cannot_undo_is_an_error() {
    for (answer, seen) in [
        ("200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0123456789", "`gzip`"),
        (
            "200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n",
            "`gzip, chunked`",
        ),
        (
            "101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "101",
        ),
    ] {
        let told = told(&Method::GET, &format!("HTTP/1.1 {answer}")).await;
        assert!(
            told.starts_with("HTTP/1.1 502 ") && told.contains(seen),
            "{answer}: {told}"
        );
    }
}

#[tokio::test]
async fn connections_that_all_died_while_they_were_idle_fail_no_request_that_may_be_repeated() {
    const CONNECTIONS: usize = 12;
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    let endpoint = proxy.endpoint();
    let get = async || endpoint.get("/v2/a/blobs/uploads/x").await.status;
    let served = async {
        let mut idle = Vec::new();
        while idle.len() < CONNECTIONS {
            let mut asked = upstream.accept().await;
            asked.head().await;
            idle.push(asked);
        }
        for asked in &mut idle {
            asked.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        }
        idle
    };
    let (answered, idle) = tokio::join!(join_all((0..CONNECTIONS).map(|_| get())), served);
    assert_eq!(answered, [200; CONNECTIONS]);
    // Each of them closes when the next request arrives on it, as after a restart that left no trace but on the other side.
    let mut dying: Vec<_> = idle
        .into_iter()
        .map(|mut asked| Box::pin(async move { asked.try_head().await }))
        .collect();
    let dead = async {
        while !dying.is_empty() {
            let (_, _, left) = select_all(dying.drain(..)).await;
            dying = left;
        }
        std::future::pending::<()>().await;
    };
    let fresh = async {
        let mut asked = upstream.accept().await;
        asked.head().await;
        asked.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    };
    let answer = async { tokio::join!(get(), fresh).0 };
    let answer = async {
        tokio::select! {
            answer = answer => answer,
            () = dead => unreachable!("it waits for ever"),
        }
    };
    assert_eq!(within("the request is repeated", answer).await, 200);
}
