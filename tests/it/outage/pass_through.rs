//! What callers ask of the registry itself.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;

use super::{Setup, expect_failure};
use crate::support::{exchange, within};

#[tokio::test]
async fn pass_through_without_an_upstream_is_a_clear_error() {
    let mut setup = Setup::new(|builder| builder).await;
    setup.registry.kill();
    let through = setup.refshim.endpoint();
    let blob = format!("/v2/app/blobs/{}", setup.image.digest);
    let manifest = format!("/v2/app/manifests/{}", setup.image.digest);
    for path in ["/v2/", "/v2/_catalog", "/v2/app/tags/list", &blob, &manifest] {
        expect_failure(&through.get(path).await, path);
    }
    let upload = through
        .send(Method::POST, "/v2/app/blobs/uploads/", &[], Bytes::new())
        .await;
    expect_failure(&upload, "upload");
    assert_eq!(through.head(&manifest).await.body.len(), 0);
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_a_download() {
    for http2 in [false, true] {
        let mut setup = Setup::new(|builder| builder).await;
        let size = 64 << 20;
        let digest = setup.registry.endpoint().push_blob("app", vec![7; size]).await;
        let through = setup.refshim.endpoint();
        let through = if http2 { through.h2c() } else { through };
        let mut body = through
            .open(&format!("/v2/app/blobs/{digest}"))
            .await
            .unwrap()
            .into_body();
        body.frame().await.expect("a first frame").unwrap();
        setup.registry.kill();
        // More than the sockets between hold: the end must show as an error, not as a short blob.
        let end = within("the download ends", exchange::read(body)).await;
        assert!(end.is_err(), "http2 {http2}: a cut blob looked complete");
    }
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_an_upload() {
    let mut setup = Setup::new(|builder| builder).await;
    let through = setup.refshim.endpoint();
    let location = through.begin_upload("app").await;
    let (sender, body) = exchange::channel();
    let headers = [("content-type", "application/octet-stream")];
    let request = through
        .request(Method::PATCH, &location, &headers, Bytes::new())
        .map(|_| body);
    let answer = tokio::spawn(exchange::send_body(request));
    sender.send(Bytes::from(vec![7; 1 << 20])).await.unwrap();
    setup.link.saw("the upload", |seen| seen.method == Method::PATCH).await;
    setup.registry.kill();
    // Until refshim stops reading: what it was sent can go nowhere.
    let pushing = async { while sender.send(Bytes::from(vec![7; 1 << 20])).await.is_ok() {} };
    within("the upload stops", pushing).await;
    match within("the upload is answered", answer).await.unwrap() {
        Ok(reply) => expect_failure(&reply, "upload"),
        // The connection may break while the caller still sends.
        Err(error) => assert!(!error.to_string().contains("nothing happened"), "{error}"),
    }
}
