//! Pass-through.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use refshim::testing::http::body::{Body, BoxError};
use refshim::testing::registry::{RequestKind, RequestOutcome, Upstream, UpstreamError};
use tokio::sync::{mpsc, watch};

use crate::registry_client::scripted::{Scripted, reply};
use crate::registry_client::{anyone, reference, repository, upstream, upstream_with};
use crate::support::{CountingProxy, Fault, Registry, within};

/// One piece, and then silence.
pub fn endless(first: &'static str) -> Body {
    let first = futures_util::stream::once(async move { Ok::<_, BoxError>(Frame::data(Bytes::from(first))) });
    Body::stream(StreamBody::new(first.chain(futures_util::stream::pending())))
}

/// A body that is sent piece by piece.
fn piecewise() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async {
        Some((Ok::<_, BoxError>(Frame::data(receiver.recv().await?)), receiver))
    });
    (sender, Body::stream(StreamBody::new(stream)))
}

fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(path).body(body).unwrap()
}

async fn get(upstream: &Upstream, path: &str) -> Result<Response<Body>, UpstreamError> {
    upstream.forward(request("GET", path, Body::empty())).await
}

async fn text(body: &mut Body) -> Option<Result<Bytes, BoxError>> {
    let frame = within("a piece of the body", body.frame()).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

#[tokio::test]
async fn path_and_query_arrive_byte_for_byte_behind_the_prefix() {
    let server = Scripted::start(|_| reply(418, &[("x-kind", "teapot")], "short and stout")).await;
    let upstream = upstream(&format!("{}/pre/fix/", server.url()));
    let mut asked = request("GET", "/v2/a%2Fb/x?_state=%7e+%20~&a&&=", Body::empty());
    for name in ["host", "forwarded", "x-forwarded-for", "x-forwarded-proto"] {
        asked.headers_mut().insert(name, "caller.example".parse().unwrap());
    }
    asked.headers_mut().insert("user-agent", "caller/1".parse().unwrap());
    *asked.version_mut() = Version::HTTP_2;
    let mut answer = upstream.forward(asked).await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["x-kind"]),
        (418, &"teapot".parse().unwrap())
    );
    assert_eq!(text(answer.body_mut()).await.unwrap().unwrap(), "short and stout");
    let seen = server.take().remove(0);
    assert_eq!(seen.line, "GET /pre/fix/v2/a%2Fb/x?_state=%7e+%20~&a&&=");
    assert_eq!(seen.header("host"), Some(server.authority()));
    assert_eq!(seen.header("user-agent"), Some("caller/1"));
    assert_eq!(
        seen.headers
            .keys()
            .filter(|name| name.as_str().contains("forwarded"))
            .count(),
        0
    );
}

#[tokio::test]
async fn both_bodies_stream_at_the_same_time() {
    let server = Scripted::start(|request| Response::new(Body::from(request.into_body()))).await;
    let upstream = upstream(&server.url());
    let (sender, body) = piecewise();
    sender.send(Bytes::from_static(b"one")).await.unwrap();
    let answer = within("a head", upstream.forward(request("PATCH", "/v2/x", body))).await;
    let mut echo = answer.unwrap().into_body();
    assert_eq!(text(&mut echo).await.unwrap().unwrap(), "one");
    sender.send(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(text(&mut echo).await.unwrap().unwrap(), "two");
    drop(sender);
    assert!(text(&mut echo).await.is_none());
}

#[tokio::test]
async fn an_upload_is_taken_no_faster_than_the_upstream_reads() {
    // Holds the request's body without reading it.
    let held = std::sync::Mutex::new(Vec::new());
    let server = Scripted::start(move |request| {
        held.lock().unwrap().push(request.into_body());
        Response::new(endless("taken"))
    })
    .await;
    let upstream = upstream(&server.url());
    let polled = watch::Sender::new(0_usize);
    let counter = polled.clone();
    let chunk = Bytes::from(vec![0; 1 << 20]);
    let endless_upload = futures_util::stream::repeat_with(move || {
        counter.send_modify(|n| *n += 1);
        Ok::<_, BoxError>(Frame::data(chunk.clone()))
    });
    let body = Body::stream(StreamBody::new(endless_upload.take(10_000)));
    let mut answer = upstream.forward(request("PUT", "/v2/x", body)).await.unwrap();
    assert_eq!(text(answer.body_mut()).await.unwrap().unwrap(), "taken");
    assert!(*polled.borrow() < 100, "{} MiB are somewhere", *polled.borrow());
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_are_not() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let upstream = upstream(link.url());
    link.fail_times(2, Fault::Close, |_| true);
    assert_eq!(get(&upstream, "/v2/").await.unwrap().status(), 200);
    assert_eq!(link.take().len(), 3);
    link.fail_times(1, Fault::Close, |_| true);
    let refused = upstream
        .forward(request(
            "PATCH",
            "/v2/a/blobs/uploads/x",
            Bytes::from_static(b"chunk").into(),
        ))
        .await;
    assert!(
        matches!(refused, Err(UpstreamError::Broken(_))),
        "{:?}",
        refused.map(drop)
    );
    assert_eq!(link.take().len(), 1);
    link.fail(Fault::answer(503, &[("retry-after", "1")], "busy"), |_| true);
    assert_eq!(
        get(&upstream, "/v2/").await.unwrap().status(),
        503,
        "an answer is an answer"
    );
    assert_eq!(link.take().len(), 1);
    assert_eq!(
        upstream
            .requests()
            .get((RequestKind::Forward, RequestOutcome::Broken))
            .get(),
        3
    );
}

#[tokio::test]
async fn an_answer_that_stalls_breaks_off() {
    let server = Scripted::start(|_| Response::new(endless("begun"))).await;
    let upstream = upstream_with(&server.url(), |config, _| {
        config.idle_timeout = Duration::from_millis(50)
    });
    let mut body = get(&upstream, "/v2/").await.unwrap().into_body();
    assert_eq!(text(&mut body).await.unwrap().unwrap(), "begun");
    let error = text(&mut body).await.unwrap().unwrap_err();
    assert!(
        matches!(error.downcast_ref(), Some(UpstreamError::Timeout(_))),
        "{error}"
    );
}

#[tokio::test]
async fn hanging_up_cancels_the_upstreams_work() {
    let (dropped, mut gone) = mpsc::unbounded_channel::<()>();
    let server = Scripted::start(move |_| {
        let dropped = dropped.clone();
        let silence = futures_util::stream::once(async { Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x"))) })
            .chain(futures_util::stream::pending())
            .map(move |frame| {
                let _alive = &dropped;
                frame
            });
        Response::new(Body::stream(StreamBody::new(silence)))
    })
    .await;
    let body = get(&upstream(&server.url()), "/v2/").await.unwrap().into_body();
    drop(body);
    // The script itself holds one sender; when the server's body is gone and the server too, none is left.
    drop(server);
    assert_eq!(within("the body is dropped", gone.recv()).await, None);
}

#[tokio::test]
async fn scans_do_not_starve_pass_through() {
    let registry = Registry::v2().await;
    registry.endpoint().push_image("team/app", "v1", "one").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let gate = link.hold(|seen| seen.path.contains("manifests"));
    let upstream = std::sync::Arc::new(upstream_with(link.url(), |config, _| config.scan_concurrency = 2));
    let scans: Vec<_> = (0..5)
        .map(|_| {
            let upstream = upstream.clone();
            tokio::spawn(async move {
                upstream
                    .manifest(&repository(), &reference("v1"), &anyone())
                    .await
                    .is_ok()
            })
        })
        .collect();
    gate.reached_by(2).await;
    assert_eq!(get(&upstream, "/v2/").await.unwrap().status(), 200);
    assert_eq!(link.count(|seen| seen.path.contains("manifests")), 2);
    gate.open();
    for scan in scans {
        assert!(scan.await.unwrap());
    }
}

#[tokio::test]
async fn http2_without_tls_is_spoken_where_configured() {
    let server = Scripted::start(|_| reply(200, &[], "")).await;
    let prior = upstream_with(&server.url(), |config, _| config.http2_prior_knowledge = true);
    get(&prior, "/v2/").await.unwrap();
    get(&upstream(&server.url()), "/v2/").await.unwrap();
    let versions: Vec<Version> = server.take().into_iter().map(|asked| asked.version).collect();
    assert_eq!(versions, [Version::HTTP_2, Version::HTTP_11]);
}

/// Answers the first request of each connection, and closes it without an answer when the next one is there.
async fn closes_at_the_second(listener: tokio::net::TcpListener, seen: std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let seen = seen.clone();
        tokio::spawn(async move {
            for is_first in [true, false] {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap().to_owned();
                seen.lock().unwrap().push(line);
                if is_first {
                    let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
                    stream.write_all(answer).await.unwrap();
                }
            }
        });
    }
}

#[tokio::test]
async fn a_request_without_a_body_survives_a_connection_that_is_closed_as_it_is_used_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let seen = std::sync::Arc::default();
    tokio::spawn(closes_at_the_second(listener, std::sync::Arc::clone(&seen)));
    // Nothing is tried again for other reasons.
    let upstream = upstream_with(&url, |config, _| config.retries = 0);
    for method in ["POST", "PATCH", "HEAD", "GET"] {
        for _ in 0..3 {
            let path = "/v2/a/blobs/uploads/";
            let answer = upstream.forward(request(method, path, Body::empty())).await;
            assert_eq!(answer.unwrap().status(), 202, "{method}");
        }
    }
    seen.lock().unwrap().clear();
    // Of a body nobody can say how much was taken.
    upstream
        .forward(request("POST", "/v2/a/x", Body::empty()))
        .await
        .unwrap();
    let body = Body::from(Bytes::from_static(b"{}"));
    let answer = upstream.forward(request("POST", "/v2/a/y", body)).await;
    assert!(matches!(answer, Err(UpstreamError::Broken(_))));
    let with_body = seen.lock().unwrap().iter().filter(|line| line.contains("/y")).count();
    assert_eq!(with_body, 1);
}
