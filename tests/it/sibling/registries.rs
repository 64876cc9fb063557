//! Registries that take less than others: what they refuse keeps nothing from being kept beside.

use serde_json::json;

use super::stage::{APP, REFS, SBOM, Stage, has_account, keeps_beside, password};
use super::writing::{attach, tags_are};
use crate::support::content::{IMAGE, artifact};
use crate::support::fake::knobs::{Auth, Delete, Pushes};
use crate::support::fake::{Fake, Knobs, profiles};
use crate::support::{Local, Pushed};

#[tokio::test]
async fn blobs_are_copied_where_the_registry_does_not_mount() {
    let mut knobs = Knobs::default();
    knobs.uploads.no_mounts = true;
    let stage = Stage::new(knobs).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let sbom = attach(&writer, &image, "sbom").await;
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    let layer = refshim::testing::oci::Digest::sha256(b"layer of sbom");
    let layer = stage.straight().get(&format!("/v2/{REFS}/blobs/{layer}")).await;
    assert_eq!(layer.expect_status(200).text(), "layer of sbom");
}

#[tokio::test]
async fn registries_with_locked_tags_and_without_deletions_will_do() {
    let mut ecr = profiles::ecr();
    ecr.auth = Auth::None;
    let locked = Knobs {
        pushes: Pushes {
            immutable_tags: true,
            ..Pushes::default()
        },
        delete: Delete::Unsupported,
        ..Knobs::default()
    };
    for knobs in [locked, ecr] {
        let stage = Stage::configured(knobs, |config| {
            config.upstreams[0].redirect_hosts.insert("127.0.0.2".to_owned());
        })
        .await;
        let image = stage.fake.image(APP, "v1", "image");
        let writer = stage.as_user("writer");
        let mut pushed = [
            attach(&writer, &image, "one").await.digest,
            attach(&writer, &image, "two").await.digest,
        ];
        pushed.sort();
        assert_eq!(writer.referrer_digests(APP, &image.digest).await, pushed);
        // The same once more.
        attach(&writer, &image, "one").await;
        tags_are(&stage, APP, &["v1"]);
    }
}

#[tokio::test]
async fn artifact_manifests_go_beside_in_envelopes() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let blob = writer.push_blob(APP, "the sbom").await;
    let media_type = "application/vnd.oci.artifact.manifest.v1+json";
    let manifest = json!({
        "mediaType": media_type, "artifactType": SBOM, "subject": image.descriptor(),
        "blobs": [{"mediaType": SBOM, "digest": blob.to_string(), "size": 8}],
    });
    let sbom = writer.put_manifest(APP, "", media_type, &manifest).await;
    tags_are(&stage, APP, &["v1"]);
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    let read = writer
        .get_with(&format!("/v2/{APP}/manifests/{}", sbom.digest), &[("accept", "*/*")])
        .await;
    assert_eq!(read.expect_status(200).body, sbom.bytes);
}

#[tokio::test]
async fn github_takes_it_too_where_nothing_can_be_deleted_and_tokens_are_for_one_repository() {
    let fake = Fake::start(profiles::ghcr()).await;
    let image = fake.image(APP, "v1", "image");
    let password = password();
    let refshim = Local::configured(&fake.url(), |config| {
        keeps_beside(config);
        has_account(config, password.path());
        config.upstreams[0].redirect_hosts.insert("127.0.0.2".to_owned());
    })
    .await;
    let reader = refshim.endpoint().authorization(&Fake::bearer(APP, "pull"));
    let writer = refshim.endpoint().authorization(&Fake::bearer(APP, "pull,push"));
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 0);
    let sbom = attach(&writer, &image, "sbom").await;
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    assert_eq!(
        reader.manifest(APP, &sbom.digest).await.expect_status(200).body,
        sbom.bytes
    );
    assert_eq!(fake.tags(APP), ["v1"]);
    let signature = Pushed::of(IMAGE, &artifact(&image, SBOM, "of a reader"));
    assert_eq!(reader.put_bytes(APP, "", &signature).await.status, 401);
}
