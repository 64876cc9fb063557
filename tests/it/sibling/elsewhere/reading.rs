//! What the other registry keeps is found at the image's own repository, with the right to that.

use http::Method;
use serde_json::json;

use super::super::stage::{APP, REFS, SBOM};
use super::stage::TwoRegistries;
use crate::support::content::{IMAGE, SIGNATURE, artifact, bare_image};
use crate::support::fake::{Knobs, profiles};
use crate::support::{Endpoint, Pushed};

/// What products and gateways tell callers apart by.
const PERSONAL: [(&str, &str); 4] = [
    ("cookie", "session=secret"),
    ("x-api-key", "secret"),
    ("x-remote-user", "alice"),
    ("x-forwarded-for", "192.0.2.1"),
];

async fn get(reader: &Endpoint, path: &str) -> crate::support::Reply {
    let headers = [&PERSONAL[..], &[("accept", "*/*")]].concat();
    reader.get_with(path, &headers).await
}

#[tokio::test]
async fn lists_manifests_and_blobs_of_both_are_given_and_no_credentials_go_along() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let layer = stage.links.blob(REFS, "the sbom");
    stage.links.blob(REFS, "{}");
    let mut manifest = artifact(&image, SBOM, "elsewhere");
    manifest["layers"] = json!([{"mediaType": SBOM, "digest": layer.to_string(), "size": 8}]);
    let sbom = Pushed::of(IMAGE, &manifest);
    stage
        .links
        .put_pushed(REFS, &sbom.proposal_d_tag(&image, "sbom"), &sbom);
    let here = stage.images.tagged_artifact(APP, &image, SBOM, "here");
    let reader = stage.as_user("reader");
    // First of all the blob, of which nobody told this process.
    let blob = format!("/v2/{APP}/blobs/{layer}");
    assert_eq!(get(&reader, &blob).await.expect_status(200).text(), "the sbom");
    let mut both = [here.digest.clone(), sbom.digest.clone()];
    both.sort();
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, both);
    let manifest = format!("/v2/{APP}/manifests/{}", sbom.digest);
    assert_eq!(get(&reader, &manifest).await.expect_status(200).body, sbom.bytes);
    let index = get(&reader, &format!("/v2/{APP}/manifests/{}", image.referrers_tag())).await;
    assert!(index.expect_status(200).text().contains(&sbom.digest));
    for path in [&blob, &manifest] {
        reader
            .send(Method::HEAD, path, &[("accept", "*/*")], "")
            .await
            .expect_status(200);
    }
    let part = [&PERSONAL[..], &[("range", "bytes=4-7")]].concat();
    assert_eq!(reader.get_with(&blob, &part).await.expect_status(206).text(), "sbom");
    let stranger = stage.as_user("stranger");
    for path in [&blob, &manifest, &format!("/v2/{APP}/referrers/{}", image.digest)] {
        assert_eq!(get(&stranger, path).await.status, 403, "{path}");
    }
    stage.nothing_leaked();
}

#[tokio::test]
async fn cosigns_tags_there_are_read_by_tag_and_listed() {
    let stage = TwoRegistries::configured(Knobs::default(), |config| {
        config.cache.fresh_for = std::time::Duration::ZERO;
    })
    .await;
    let image = stage.image();
    stage.links.blob(REFS, "{}");
    let tag = format!("sha256-{}.sig", image.hex());
    let signature = stage.links.put(REFS, &tag, IMAGE, &bare_image("signature"));
    let reader = stage.as_user("reader");
    let adopted = signature.adopted(&image, Some(SIGNATURE));
    // As a process reads it that was told nothing of it.
    assert_eq!(
        reader.manifest(APP, &adopted.digest).await.expect_status(200).body,
        adopted.bytes
    );
    assert_eq!(
        reader.manifest(APP, &tag).await.expect_status(200).body,
        signature.bytes
    );
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*adopted.digest]);
    // What refers to the signature is found at the form that is listed, too.
    let note = stage.links.tagged_artifact(REFS, &signature, SBOM, "a note");
    let found = reader.referrer_digests(APP, &adopted.digest).await;
    assert_eq!(found, [&*note.digest]);
    stage.nothing_leaked();
}

#[tokio::test]
async fn nothing_else_of_the_other_registry_is_opened() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    stage.links.tagged_artifact(REFS, &image, SBOM, "elsewhere");
    let secret = stage.links.blob(REFS, "a secret layer");
    let mut manifest = bare_image("secret");
    manifest["layers"] = json!([{"mediaType": "x/y", "digest": secret.to_string(), "size": 14}]);
    let secrets = stage.links.put(REFS, "secret", IMAGE, &manifest);
    let reader = stage.as_user("reader");
    reader.referrers(APP, &image.digest).await;
    for path in [
        format!("/v2/{APP}/manifests/{}", secrets.digest),
        format!("/v2/{APP}/manifests/secret"),
        format!("/v2/{APP}/blobs/{secret}"),
    ] {
        for method in [Method::GET, Method::HEAD] {
            let reply = reader.send(method, &path, &[("accept", "*/*")], "").await;
            assert_eq!(reply.status, 404, "{path}: {reply:?}");
        }
    }
    // Its own name leads to the registry of images.
    assert_eq!(reader.referrers_reply(REFS, &image.digest).await.status, 403);
    stage.nothing_leaked();
}

#[tokio::test]
async fn storage_that_the_other_registry_sends_to_is_read_by_the_caller() {
    let knobs = Knobs {
        redirect: profiles::ghcr().redirect,
        ..Knobs::default()
    };
    let stage = TwoRegistries::configured(knobs, |_| ()).await;
    let image = stage.image();
    stage.links.tagged_artifact(REFS, &image, SBOM, "elsewhere");
    let reader = stage.as_user("reader");
    let listed = reader.referrer_digests(APP, &image.digest).await;
    reader.manifest(APP, &listed[0]).await.expect_status(200);
    let blob = refshim::testing::oci::Digest::sha256(b"{}");
    let sent = reader.get(&format!("/v2/{APP}/blobs/{blob}")).await.expect_status(307);
    assert!(
        sent.header("location").unwrap().starts_with(stage.links.elsewhere()),
        "{sent:?}"
    );
    stage.nothing_leaked();
}
