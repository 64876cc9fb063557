//! Connections while the body of a request is sent.

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use tokio::sync::mpsc;

use super::*;

impl Setup {
    /// A request whose body is what is sent to it.
    fn upload(&self) -> (mpsc::UnboundedSender<Bytes>, Request<Body>) {
        let (pieces, mut body) = mpsc::unbounded_channel();
        let body = futures_util::stream::poll_fn(move |cx| {
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
    let (response, mut peer) = tokio::join!(setup.client.request(request), served);
    assert_eq!(text(response.unwrap()).await.unwrap(), "ok");
    pieces.send(Bytes::from_static(b"late")).unwrap();
    drop(pieces);
    let mut rest = [0; 14];
    peer.0.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, b"4\r\nlate\r\n0\r\n\r\n");
    // It is idle as soon as the client has sent the rest, which it may notice after the server: then the next takes a new one.
    let again = setup.read("/");
    let served = async {
        let mut other = None;
        tokio::select! {
            _ = peer.head() => peer.write(OK).await,
            accepted = setup.accept() => {
                let accepted = other.insert(accepted);
                accepted.head().await;
                accepted.write(OK).await;
            }
        }
    };
    assert_eq!(tokio::join!(again, served).0.unwrap(), "ok");
}

#[tokio::test]
async fn an_upload_that_its_sender_gives_up_is_closed() {
    let setup = Setup::new().await;
    let (pieces, request) = setup.upload();
    let mut peer = tokio::select! {
        _ = setup.client.request(request) => unreachable!("nothing answers"),
        peer = async {
            let mut peer = setup.accept().await;
            peer.head().await;
            peer
        } => peer,
    };
    assert!(peer.is_closed().await);
    pieces.closed().await;
}
