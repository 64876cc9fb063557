//! refshim's own account opens the repository beside to nobody who may not do the same with the image.

use serde_json::json;

use super::stage::{APP, REFS, SBOM, Stage, is_beside};
use crate::support::Pushed;
use crate::support::content::{IMAGE, artifact, bare_image, index};
use crate::support::fake::Knobs;

#[tokio::test]
async fn who_may_only_pull_does_not_sign() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let signature = Pushed::of(IMAGE, &artifact(&image, SBOM, "signature"));
    for (user, tag) in [
        ("reader", String::new()),
        ("reader", format!("sha256-{}.sig", image.hex())),
        ("reader", signature.proposal_d_tag(&image, "sig")),
        ("reader", image.referrers_tag()),
        ("reader", "v2".to_owned()),
        ("stranger", String::new()),
    ] {
        let reply = stage.as_user(user).put_bytes(APP, &tag, &signature).await;
        assert!(matches!(reply.status, 401 | 403), "{user} {tag}: {reply:?}");
        assert_eq!(
            stage
                .fake
                .count(|seen| is_beside(seen) && !matches!(seen.method.as_str(), "GET" | "HEAD")),
            0
        );
        assert_eq!(stage.fake.tags(REFS), [""; 0]);
    }
}

#[tokio::test]
async fn who_may_not_read_the_image_reads_nothing_beside() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let sbom = stage.fake.tagged_artifact(REFS, &image, SBOM, "beside");
    // Others are told, and so is memory.
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    reader.manifest(APP, &sbom.digest).await.expect_status(200);
    let stranger = stage.as_user("stranger");
    for path in [
        format!("/v2/{APP}/referrers/{}", image.digest),
        format!("/v2/{APP}/manifests/{}", sbom.digest),
        format!("/v2/{APP}/manifests/{}", image.referrers_tag()),
        format!("/v2/{APP}/blobs/{}", refshim::testing::oci::Digest::sha256(b"{}")),
    ] {
        let reply = stranger.get_with(&path, &[("accept", "*/*")]).await;
        assert_eq!(reply.status, 403, "{path}: {reply:?}");
    }
    // Nor does the right to the image open the repository beside as such.
    assert_eq!(reader.manifest(REFS, &sbom.digest).await.status, 403);
    assert_eq!(reader.referrers_reply(REFS, &image.digest).await.status, 403);
    assert_eq!(reader.get(&format!("/v2/{REFS}/tags/list")).await.status, 403);
}

#[tokio::test]
async fn nothing_of_the_repository_beside_is_opened_by_listing_it() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let secret = stage.fake.blob(REFS, "a secret layer");
    let mut manifest = bare_image("secret");
    manifest["layers"] = json!([{"mediaType": "x/y", "digest": secret.to_string(), "size": 14}]);
    let secrets = stage.fake.put(REFS, "secret", IMAGE, &manifest);
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    let mut thief = artifact(&image, SBOM, "thief");
    thief["layers"] = json!([{"mediaType": "x/y", "digest": secret.to_string(), "size": 14}]);
    let mut list = index([secrets.descriptor()]);
    list["subject"] = image.descriptor();
    for thief in [
        Pushed::of(IMAGE, &thief),
        Pushed::of("application/vnd.oci.image.index.v1+json", &list),
    ] {
        let reply = writer.put_bytes(APP, "", &thief).await;
        assert_eq!(
            (reply.status, reply.text().contains("MANIFEST_BLOB_UNKNOWN")),
            (400, true),
            "{reply:?}"
        );
    }
    for path in [
        format!("/v2/{APP}/blobs/{secret}"),
        format!("/v2/{APP}/manifests/{}", secrets.digest),
    ] {
        assert_eq!(writer.get_with(&path, &[("accept", "*/*")]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_the_account_may_not_write_is_said_and_not_acknowledged() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    writer.push_blob(APP, "{}").await;
    let denied = crate::support::fake::Trouble::oci(403, "DENIED", "no");
    stage.fake.heal();
    stage.fake.trouble(denied, |seen| {
        is_beside(seen) && !matches!(seen.method.as_str(), "GET" | "HEAD")
    });
    let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
    let reply = writer.put_bytes(APP, "", &sbom).await;
    assert_eq!((reply.status, reply.text().contains(REFS)), (502, true), "{reply:?}");
    assert!(!reply.text().contains("keeper"), "{reply:?}");
}

/// A repository without a tag shows a right by the subject alone.
#[tokio::test]
async fn an_image_without_a_tag_proves_the_right_to_what_refers_to_it() {
    let stage = Stage::configured(Knobs::default(), |config| {
        config.cache.access_for = std::time::Duration::ZERO;
    })
    .await;
    let image = stage.fake.image(APP, "", "image");
    let sbom = stage.fake.tagged_artifact(REFS, &image, SBOM, "beside");
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    reader.manifest(APP, &sbom.digest).await.expect_status(200);
    assert_eq!(stage.as_user("stranger").manifest(APP, &sbom.digest).await.status, 403);
}
