//! Connections between two requests.

use http_body::Body as _;

use super::*;

#[tokio::test]
async fn requests_in_turn_take_one_connection() {
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    let hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    for answer in [&chunked[..], hints, OK] {
        assert_eq!(setup.exchange(&mut peer, answer).await.unwrap(), "ok");
    }
    // In pieces, each read before the next is sent.
    let served = async {
        let head = peer.head().await;
        assert!(head.starts_with("GET /v2/?n=1 HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&setup.origin.replace("http://", "host: ")), "{head}");
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
    };
    let (response, ()) = tokio::join!(setup.get("/v2/?n=1"), served);
    let mut body = response.unwrap().into_body();
    for piece in ["ab", "cd"] {
        peer.write(piece.as_bytes()).await;
        assert_eq!(collect::next_chunk(&mut body).await.unwrap().unwrap(), piece);
    }
    assert!(body.is_end_stream());
    assert_eq!(
        setup.exchange(&mut peer, OK).await.unwrap(),
        "ok",
        "before the body is dropped"
    );
}

#[tokio::test]
async fn connections_that_end_with_their_response_are_not_kept() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ] {
        let setup = Setup::new().await;
        let mut first = setup.first(answer).await;
        assert!(first.is_closed().await);
        setup.first(OK).await;
    }
    let setup = Setup::new().await;
    let served = async {
        let mut peer = setup.accept().await;
        peer.head().await;
        peer.write(b"HTTP/1.1 200 OK\r\n\r\nto the end").await;
    };
    assert_eq!(tokio::join!(setup.read("/"), served).0.unwrap(), "to the end");
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_is_closed_at_once() {
    let setup = Setup::new().await;
    let mut first = setup.first(OK).await;
    first.0.shutdown().await.unwrap();
    assert!(first.is_closed().await);
    setup.first(OK).await;
}

#[tokio::test]
async fn a_closed_connection_that_nobody_noticed_leaves_the_request_unsent() {
    let setup = Setup::new().await;
    // As if the sweep came later.
    setup.client.own.as_ref().unwrap().stop_sweeping();
    let mut first = setup.first(OK).await;
    first.0.shutdown().await.unwrap();
    // Events arrive in order: with this, the end has arrived.
    let (_other, accepted) = tokio::join!(TcpStream::connect(setup.listener.local_addr().unwrap()), setup.accept());
    drop(accepted);
    setup.first(OK).await;
    assert!(first.is_closed().await, "no request");
}

#[tokio::test]
async fn a_connection_that_is_closed_under_a_request_fails_it() {
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    let failed = async |answer: &[u8], mut peer: Peer| {
        let served = async {
            peer.head().await;
            peer.write(answer).await;
            drop(peer);
        };
        tokio::join!(setup.get("/"), served).0.err().unwrap()
    };
    assert!(failed(b"", peer).await.is_stale(), "it may be sent again");
    peer = setup.first(OK).await;
    assert!(!failed(b"HTTP", peer).await.is_stale(), "it was seen");
    let served = async {
        let mut peer = setup.accept().await;
        peer.head().await;
    };
    let first_of_all = tokio::join!(setup.get("/"), served).0.err().unwrap();
    assert!(!first_of_all.is_stale() && !first_of_all.is_connect());
}

#[tokio::test]
async fn where_one_idle_connection_turns_out_dead_the_older_are_given_up() {
    const CONNECTIONS: usize = 8;
    let setup = Setup::new().await;
    let asked = futures_util::future::join_all((0..CONNECTIONS).map(|_| setup.read("/")));
    let served = async {
        let mut peers = Vec::new();
        while peers.len() < CONNECTIONS {
            let mut peer = setup.accept().await;
            peer.head().await;
            peers.push(peer);
        }
        for peer in &mut peers {
            peer.write(OK).await;
        }
        peers
    };
    let (answered, mut peers) = tokio::join!(asked, served);
    assert!(answered.iter().all(Result::is_ok));
    let mut heads: Vec<_> = peers.iter_mut().map(|peer| Box::pin(peer.head())).collect();
    let dead = async {
        // Of those that are left, each ends as soon as one has its request and is closed.
        let (_, taken, _) = futures_util::future::select_all(&mut heads).await;
        taken
    };
    let mut asking = std::pin::pin!(setup.get("/"));
    let taken = tokio::select! {
        _ = &mut asking => unreachable!("nothing answers"),
        taken = dead => taken,
    };
    drop(heads);
    drop(peers.remove(taken));
    assert!(asking.await.err().unwrap().is_stale());
    let left = futures_util::future::join_all(peers.iter_mut().map(Peer::is_left));
    tokio::join!(setup.first(OK), left);
}

#[tokio::test]
async fn a_connection_that_was_idle_from_its_beginning_may_be_stale_as_well() {
    let setup = Setup::new().await;
    let served = async {
        let mut peer = setup.accept().await;
        peer.head().await;
        peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no").await;
        peer
    };
    let (response, mut first) = tokio::join!(setup.get("/"), served);
    let mut connecting = std::pin::pin!(setup.read("/"));
    assert!(futures_util::poll!(&mut connecting).is_pending());
    first.write(b"k").await;
    assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
    let served = async {
        first.head().await;
        first.write(OK).await;
        setup.accept().await
    };
    let (read, mut unused) = tokio::join!(connecting, served);
    assert_eq!(
        read.unwrap(),
        "ok",
        "on the one that became idle before the new one was there"
    );
    first.0.shutdown().await.unwrap();
    assert!(first.is_closed().await);
    let served = async {
        assert!(!unused.head().await.is_empty());
        drop(unused);
    };
    let (failed, ()) = tokio::join!(setup.get("/"), served);
    assert!(failed.err().unwrap().is_stale());
}

#[tokio::test]
async fn idle_connections_are_closed_in_time() {
    let setup = Setup::new().await;
    let mut peer = setup.first(OK).await;
    tokio::time::pause();
    tokio::time::advance(POOL_IDLE / 2).await;
    tokio::time::resume();
    assert_eq!(setup.exchange(&mut peer, OK).await.unwrap(), "ok");
    tokio::time::pause();
    tokio::time::advance(POOL_IDLE * 9 / 10).await;
    tokio::time::resume();
    assert_eq!(
        setup.exchange(&mut peer, OK).await.unwrap(),
        "ok",
        "since the latest request"
    );
    tokio::time::pause();
    tokio::time::advance(POOL_IDLE * 2).await;
    assert!(peer.is_closed().await);
}

#[tokio::test]
async fn an_idle_connection_is_not_used_when_the_server_is_about_to_close_it() {
    let setup = Setup::new().await;
    let mut peer = setup
        .first(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok")
        .await;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(3)).await;
    tokio::time::resume();
    assert_eq!(setup.exchange(&mut peer, OK).await.unwrap(), "ok");
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(4500)).await;
    tokio::time::resume();
    tokio::join!(setup.first(OK), peer.is_left());
}

#[tokio::test]
async fn a_connection_that_the_server_does_not_keep_is_closed_at_once() {
    let setup = Setup::new().await;
    let mut peer = setup
        .first(b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0\r\nContent-Length: 2\r\n\r\nok")
        .await;
    peer.is_left().await;
    setup.first(OK).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_at_once_get_their_own_responses() {
    const CALLERS: usize = 32;
    let setup = Arc::new(Setup::new().await);
    let accepting = Arc::clone(&setup);
    let serving = tokio::spawn(async move {
        for connections in 1.. {
            let mut peer = accepting.accept().await;
            assert!(connections <= 2 * CALLERS, "{connections} connections");
            tokio::spawn(async move {
                loop {
                    let head = peer.head().await;
                    let Some(path) = head.split(' ').nth(1) else { return };
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
                    // In two pieces, so that bodies arrive after heads.
                    let (head, body) = answer.as_bytes().split_at(answer.len() - 1);
                    peer.write(head).await;
                    peer.write(body).await;
                }
            });
        }
    });
    let callers = (0..CALLERS).map(|caller| {
        let setup = Arc::clone(&setup);
        tokio::spawn(async move {
            for number in 0..50 {
                let path = format!("/{caller}/{number}");
                assert_eq!(setup.read(&path).await.unwrap(), path);
            }
        })
    });
    for caller in futures_util::future::join_all(callers).await {
        caller.unwrap();
    }
    assert!(!serving.is_finished());
}
