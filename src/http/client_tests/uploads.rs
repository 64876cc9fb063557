//! Connections while the body of a request is sent.

use std::future::ready;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;

impl Setup {
    /// A request whose body is what is sent to it.
    fn upload(&self) -> (mpsc::UnboundedSender<Bytes>, Request<Body>) {
        let (pieces, mut body) = mpsc::unbounded_channel();
        let body = stream::poll_fn(move |cx| {
            let piece = body.poll_recv(cx);
            piece.map(|piece| piece.map(|piece| Ok::<_, BoxError>(Frame::data(piece))))
        });
        let request = Request::put(format!("{}/upload", self.origin));
        (pieces, request.body(Body::stream(StreamBody::new(body))).unwrap())
    }
}

#[tokio::test]
async fn an_upload_is_answered_before_it_ends_and_goes_on() {
    let setup = Setup::new().await;
    let (pieces, request) = setup.upload();
    pieces.send(Bytes::from_static(b"early")).unwrap();
    let served = async {
        let mut peer = setup.accept().await;
        peer.head().await;
        peer.0.read_exact(&mut [0; 10]).await.unwrap();
        peer.write(OK).await;
        peer
    };
    let (response, mut peer) = tokio::join!(setup.client.request(Sharing::Connection, request), served);
    assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
    pieces.send(Bytes::from_static(b"late")).unwrap();
    drop(pieces);
    let mut rest = [0; 14];
    peer.0.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"4\r\nlate\r\n0\r\n\r\n");
    // What follows on it could be an answer to the rest, as if that were another request.
    tokio::join!(setup.first(OK), peer.is_left());
}

#[tokio::test]
async fn the_rest_of_an_answered_upload_does_not_stand_still_for_ever() {
    let setup = Setup::new().await;
    // More than the system takes of what the server does not read, or else nothing, of which more could come.
    for left in [64 << 20, 0] {
        let (pieces, request) = setup.upload();
        pieces.send(Bytes::from_static(b"early")).unwrap();
        let served = async {
            let mut peer = setup.accept().await;
            peer.head().await;
            peer.write(OK).await;
            peer
        };
        let (response, _peer) = tokio::join!(setup.client.request(Sharing::Connection, request), served);
        assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
        pieces.send(Bytes::from(vec![0; left])).unwrap();
        tokio::time::pause();
        pieces.closed().await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn the_answer_to_an_upload_is_read_although_the_server_takes_no_more() {
    let Setup {
        listener,
        client,
        origin,
    } = Setup::new().await;
    let piece = |length| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![0; length])));
    let rest = async move {
        let mut peer = Peer(listener.accept().await.unwrap().0);
        peer.head().await;
        peer.write(OK).await;
        // With more to read, which resets the connection, and before the client can notice that there is an answer.
        drop(peer);
        piece(1 << 20)
    };
    let pieces = stream::once(ready(piece(1))).chain(stream::once(rest));
    let request = Request::put(format!("{origin}/upload"));
    let request = request.body(Body::stream(StreamBody::new(pieces))).unwrap();
    assert_eq!(
        text(client.request(Sharing::Connection, request).await.unwrap())
            .await
            .unwrap(),
        "ok"
    );
}

#[tokio::test]
async fn an_upload_that_its_sender_gives_up_is_closed() {
    let setup = Setup::new().await;
    let (pieces, request) = setup.upload();
    let mut peer = tokio::select! {
        _ = setup.client.request(Sharing::Connection, request) => unreachable!("nothing answers"),
        peer = async {
            let mut peer = setup.accept().await;
            peer.head().await;
            peer
        } => peer,
    };
    assert!(peer.is_closed().await);
    pieces.closed().await;
}
