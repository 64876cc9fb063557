//! Writing manifests and blobs.

use bytes::Bytes;
use refshim::testing::oci::media_type::OCI_IMAGE_MANIFEST;
use refshim::testing::registry::Answer;

use crate::registry_client::scripted::{Scripted, oci_error, reply};
use crate::registry_client::{alice, anyone, digest, found, invalid, reference, repository, upstream};
use crate::support::{CountingProxy, Fault, Program, Registry, content};

#[tokio::test]
async fn real_registries_take_blobs_and_manifests_and_delete_them() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let upstream = upstream(link.url());
        let (repository, caller) = (repository(), anyone());
        let blob = Bytes::from_static(b"{}");
        found(
            upstream
                .put_blob(&repository, &digest(&blob), blob.clone(), &caller)
                .await,
        );
        found(
            upstream
                .put_blob(&repository, &digest(&blob), blob.clone(), &caller)
                .await,
        );
        assert_eq!(
            link.count(|seen| seen.line().starts_with("POST")),
            1,
            "what is there is not sent again"
        );
        assert_eq!(
            found(upstream.blob(&repository, &digest(&blob), 2, &caller).await),
            blob
        );

        let image = content::Pushed::of(content::IMAGE, &content::bare_image("one"));
        let asked = reference(&image.digest);
        link.fail_times(1, Fault::Close, |seen| seen.method == "PUT");
        let put = upstream.put_manifest(&repository, &asked, OCI_IMAGE_MANIFEST, image.bytes.clone(), &caller);
        assert_eq!(put.await.unwrap().status, 201, "{program:?}");
        assert_eq!(
            found(upstream.manifest(&repository, &asked, &caller).await).bytes,
            image.bytes
        );
        assert_eq!(
            upstream
                .delete_manifest(&repository, &asked, &caller)
                .await
                .unwrap()
                .status,
            202
        );
        assert!(matches!(
            upstream.manifest(&repository, &asked, &caller).await,
            Ok(Answer::Absent)
        ));
    }
}

#[tokio::test]
async fn an_uploads_location_is_used_as_it_is() {
    let blob = Bytes::from_static(b"blob");
    for (location, finished) in [
        ("/v2/team/app/blobs/upload/1", "PUT /v2/team/app/blobs/upload/1?digest="),
        (
            "?_state=a%2Bb%3D%3d",
            "PUT /v2/team/app/blobs/uploads/?_state=a%2Bb%3D%3d&digest=",
        ),
    ] {
        let server = Scripted::start(move |request| match request.method().as_str() {
            "HEAD" => reply(307, &[("location", "http://127.0.0.2:1/signed")], ""),
            "POST" => reply(202, &[("location", location)], ""),
            _ => reply(201, &[], ""),
        })
        .await;
        let upstream = upstream(&server.url());
        found(
            upstream
                .put_blob(&repository(), &digest(&blob), blob.clone(), &alice())
                .await,
        );
        let asked = server.take();
        assert_eq!(asked[2].line, format!("{finished}{}", digest(&blob)));
        assert_eq!(asked[2].header("content-length"), Some("4"));
        assert_eq!(asked[1].header("content-length"), Some("0"));
        assert!(
            asked
                .iter()
                .all(|request| request.header("authorization") == Some("Bearer alice"))
        );
    }
}

#[tokio::test]
async fn an_upload_that_leads_away_is_not_followed() {
    let server = Scripted::start(|request| match request.method().as_str() {
        "HEAD" => oci_error(404, "BLOB_UNKNOWN"),
        _ => reply(202, &[("location", "http://127.0.0.2:1/upload")], ""),
    })
    .await;
    invalid(
        upstream(&server.url())
            .put_blob(&repository(), &digest("blob"), "blob".into(), &alice())
            .await,
    );
}

#[tokio::test]
async fn refusals_to_write_are_told_as_they_are() {
    let server = Scripted::start(|request| match request.method().as_str() {
        "POST" => oci_error(403, "DENIED"),
        "DELETE" => oci_error(405, "UNSUPPORTED"),
        "PUT" => oci_error(500, "UNKNOWN"),
        _ => oci_error(404, "BLOB_UNKNOWN"),
    })
    .await;
    let upstream = upstream(&server.url());
    let blob = upstream
        .put_blob(&repository(), &digest("blob"), "blob".into(), &alice())
        .await;
    assert!(matches!(blob, Ok(Answer::Refused(refusal)) if refusal.status == 403));
    server.take();
    let put = upstream
        .put_manifest(&repository(), &reference("v1"), "a/b", "{}".into(), &alice())
        .await;
    assert_eq!(put.unwrap().status, 500);
    let deleted = upstream
        .delete_manifest(&repository(), &reference("v1"), &alice())
        .await;
    assert_eq!(deleted.unwrap().status, 405);
    let asked = server.take();
    assert_eq!(asked.len(), 2, "an answer is an answer");
    assert_eq!(asked[0].header("content-type"), Some("a/b"));
}
