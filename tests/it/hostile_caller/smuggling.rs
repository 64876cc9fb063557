//! A request hidden in another. Between refshim and the registry there is one framing, whatever the caller wrote.

use super::fake;
use crate::support::Local;
use crate::support::wire::{Listener, Wire};

const HIDDEN: &str = "GET /v2/smuggled/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
const PUSH: &str = "POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n";

fn statuses(answer: &str) -> Vec<&str> {
    answer.split("HTTP/1.1 ").skip(1).map(|rest| &rest[..3]).collect()
}

/// Refused, once, before anybody else hears of it; what follows is not read as a request.
async fn refused(requests: &[(&str, String)], expected: &str) {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    for (name, request) in requests {
        let mut caller = Wire::connect(proxy.authority()).await;
        let answer = caller.exchange(request.as_bytes()).await;
        assert_eq!(statuses(&answer), [expected], "{name}: {answer}");
        assert_eq!(registry.take(), [""; 0], "{name}");
    }
}

#[tokio::test]
async fn framings_that_contradict_or_that_nobody_knows_are_refused() {
    let requests = [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: \u{b}chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\r\n chunked",
        "X: a\r\n b\r\nContent-Length: 0",
        "X: a\rTransfer-Encoding: chunked",
        "X: a\0b",
        "Content-Length: +4",
        "Content-Length: -1",
        "Content-Length: 0x4",
        "Content-Length: 4 4",
        "Content-Length: 4, 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 18446744073709551616",
        "Content-Length: ٤",
        "Content-Length: ",
    ];
    let requests = requests.map(|head| (head, format!("{PUSH}{head}\r\n\r\n0\r\n\r\n{HIDDEN}")));
    refused(&requests, "400").await;
    let old = PUSH.replace("HTTP/1.1", "HTTP/1.0");
    let old = format!("{old}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}");
    refused(&[("chunks in HTTP/1.0", old)], "400").await;
}

/// What is below `chunked` would be stored as the blob's content.
#[tokio::test]
async fn other_transfer_codings_are_not_taken_off_unread() {
    let requests = [
        "gzip, chunked",
        "chunked, chunked",
        "gzip\r\nTransfer-Encoding: chunked",
    ];
    // The body is left unread, so the connection ends with the answer.
    let body = "400\r\n".to_owned() + &"x".repeat(1 << 10);
    let requests = requests.map(|coding| (coding, format!("{PUSH}Transfer-Encoding: {coding}\r\n\r\n{body}")));
    refused(&requests, "501").await;
}

#[tokio::test]
async fn a_request_has_one_host() {
    let end = "Connection: close\r\n\r\n";
    let requests = ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n"];
    let requests = requests.map(|hosts| (hosts, format!("GET /v2/ HTTP/1.1\r\n{hosts}{end}")));
    refused(&requests, "400").await;
}

/// (what the caller writes after the first lines, what the registry gets for it)
const ACCEPTED: [(&str, &str, &str); 9] = [
    (
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\nContent-Length: 55\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "TRANSFER-ENCODING:\tCHUNKED\r\n\r\n0\r\n\r\n",
        "transfer-encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "X: a\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
        "transfer-encoding: chunked",
        "0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n4;a=\"b\"\r\nabcd\r\n0\r\n\r\n",
        "transfer-encoding: chunked",
        "4\r\nabcd\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n4 \r\nabcd\r\n00\r\n\r\n",
        "transfer-encoding: chunked",
        "4\r\nabcd\r\n0\r\n\r\n",
    ),
    (
        "Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\nContent-Length: 9\r\nX: y\r\n\r\n",
        "transfer-encoding: chunked",
        "4\r\nabcd\r\n0\r\n\r\n",
    ),
    (
        "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        "content-length: 4",
        "abcd",
    ),
    ("Content-Length:   4\r\n\r\nabcd", "content-length: 4", "abcd"),
];

#[tokio::test]
async fn the_registry_sees_one_framing() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    for (written, framing, body) in ACCEPTED {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(&format!("{PUSH}{written}")).await;
        let mut asked = upstream.accept().await;
        let head = asked.head().await.to_ascii_lowercase();
        let framings: Vec<&str> = head
            .lines()
            .filter(|line| line.starts_with("transfer-encoding") || line.starts_with("content-length"))
            .collect();
        assert_eq!(framings, [framing], "{written}: {head}");
        assert_eq!(
            String::from_utf8_lossy(&asked.read(body.len()).await),
            body,
            "{written}"
        );
        drop(caller);
        assert_eq!(asked.rest().await, "", "{written}: more came than was sent");
    }
}

/// RFC 9112, 6.1: after a request with both framings the connection is over, and so is whatever was hidden behind it.
#[tokio::test]
async fn after_both_framings_nothing_more_is_read() {
    let upstream = Listener::bind().await;
    let proxy = Local::in_front_of(&upstream.url()).await;
    for (written, _, _) in &ACCEPTED[..2] {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(&format!("{PUSH}{written}{HIDDEN}")).await;
        let mut asked = upstream.accept().await;
        asked.head().await;
        asked.read("0\r\n\r\n".len()).await;
        asked.write("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
        let answer = caller.rest().await;
        assert_eq!(statuses(&answer), ["202"], "{answer}");
        // The connection to the registry may be kept, but nothing else comes over it.
        asked
            .write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
        assert_eq!(asked.rest().await, "");
    }
}

#[tokio::test]
async fn a_body_is_no_request_where_it_is_not_wanted() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let length = format!("Content-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len());
    let chunks = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{HIDDEN}\r\n0\r\n\r\n",
        HIDDEN.len()
    );
    for body in [length, chunks] {
        for target in [
            "/nowhere",
            "/v3/",
            "/v2/../x",
            "/v2/a/blobs/sha256:0",
            "/v2/a/tags/list",
        ] {
            let mut caller = Wire::connect(proxy.authority()).await;
            let request = format!(
                "GET {target} HTTP/1.1\r\nHost: x\r\n{body}GET /v3/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            );
            let answer = caller.exchange(request.as_bytes()).await;
            let statuses = statuses(&answer);
            // Where the body was left unread the connection ends instead.
            assert!(statuses.len() == 1 || statuses[1..] == ["200"], "{target}: {answer}");
            let hidden = registry.take().into_iter().find(|line| line.contains("smuggled"));
            assert_eq!(hidden, None, "{target}");
        }
    }
}

/// The upload must not look whole, and the caller is told.
#[tokio::test]
async fn chunks_that_cannot_be_read_break_the_upload() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let long = format!("4;{}\r\nabcd\r\n0\r\n\r\n", "a".repeat(20 << 10));
    let trailers = format!("4\r\nabcd\r\n0\r\n{}\r\n", "X: y\r\n".repeat(3000));
    for chunks in [
        "10000000000000000\r\nabcd\r\n0\r\n\r\n",
        "fffffffffffffffff0\r\nabcd\r\n0\r\n\r\n",
        "-4\r\nabcd\r\n0\r\n\r\n",
        "0x4\r\nabcd\r\n0\r\n\r\n",
        "1_0\r\nabcd\r\n0\r\n\r\n",
        "\r\nabcd\r\n0\r\n\r\n",
        "4\nabcd\n0\n\n",
        "4;a\nabcd\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        &long,
        &trailers,
    ] {
        let started = proxy
            .endpoint()
            .send(http::Method::POST, "/v2/a/blobs/uploads/", &[], "")
            .await;
        let upload = started.expect_status(202).header("location").unwrap().to_owned();
        let digest = refshim::testing::oci::Digest::sha256(b"abcd");
        let separator = if upload.contains('?') { '&' } else { '?' };
        let head =
            format!("PUT {upload}{separator}digest={digest} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let mut caller = Wire::connect(proxy.authority()).await;
        let answer = caller.exchange(format!("{head}{chunks}{HIDDEN}").as_bytes()).await;
        assert_eq!(statuses(&answer), ["400"], "{chunks}: {answer}");
        assert!(answer.contains("BLOB_UPLOAD_INVALID"), "{chunks}: {answer}");
        registry
            .endpoint()
            .head(&format!("/v2/a/blobs/{digest}"))
            .await
            .expect_status(404);
        assert!(
            !registry.take().iter().any(|line| line.contains("smuggled")),
            "{chunks}"
        );
    }
}
