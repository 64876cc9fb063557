//! Connections while a response arrives.

use super::*;

#[tokio::test]
async fn a_response_that_is_cut_short_is_an_error() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok"[..],
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nok",
    ] {
        let setup = Setup::new().await;
        let mut peer = setup.first(OK).await;
        let served = async {
            peer.head().await;
            peer.write(answer).await;
            drop(peer);
        };
        let (read, ()) = tokio::join!(setup.read("/"), served);
        read.unwrap_err();
        setup.first(OK).await;
    }
}

#[tokio::test]
async fn what_nobody_waits_for_any_more_is_closed_at_once() {
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    tokio::select! {
        _ = setup.get("/") => unreachable!("nothing answers"),
        _ = peer.head() => {}
    }
    assert!(peer.is_closed().await, "before the head of the response");

    peer = setup.first(OK).await;
    let served = async {
        peer.head().await;
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok").await;
    };
    drop(tokio::join!(setup.get("/"), served).0);
    assert!(peer.is_closed().await, "in the middle of the response");
    setup.first(OK).await;
}

#[tokio::test]
async fn a_short_body_that_nobody_reads_leaves_the_connection_idle() {
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    let served = async {
        peer.head().await;
        peer.write(OK).await;
    };
    drop(tokio::join!(setup.get("/"), served).0);
    assert_eq!(setup.exchange(&mut peer, OK).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_slow_reader_slows_the_server_and_gets_everything() {
    const LENGTH: usize = 64 << 20;
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    let sending = tokio::spawn(async move {
        peer.head().await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        peer.write(head.as_bytes()).await;
        for number in 0..LENGTH >> 16 {
            peer.write(&[number as u8; 1 << 16]).await;
        }
        peer
    });
    let mut body = setup.get("/").await.unwrap().into_body();
    let mut read = collect::next_chunk(&mut body).await.unwrap().unwrap().to_vec();
    // Other requests take connections of their own meanwhile.
    for _ in 0..100 {
        setup
            .first(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
            .await;
    }
    assert!(!sending.is_finished());
    while let Some(chunk) = collect::next_chunk(&mut body).await.unwrap() {
        read.extend_from_slice(&chunk);
    }
    assert_eq!(read.len(), LENGTH);
    assert!(read.iter().enumerate().all(|(at, byte)| *byte == (at >> 16) as u8));
    let mut peer = sending.await.unwrap();
    assert_eq!(setup.exchange(&mut peer, OK).await.unwrap(), "ok");
}
