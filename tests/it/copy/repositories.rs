//! Whole repositories: all tags, some, and keeping a mirror.

use serde_json::Value;

use super::{SPDX, SignedImage, copy, tags};
use crate::support::cli::refshim;
use crate::support::content::{IMAGE, bare_image};
use crate::support::{Pushed, Registry};

/// What became of a tag.
fn outcome<'a>(report: &'a Value, tag: &str) -> &'a Value {
    let images = report["images"].as_array().unwrap();
    let image = images.iter().find(|image| image["tag"] == tag);
    &image.unwrap_or_else(|| panic!("{tag} is not in {report}"))["outcome"]
}

#[tokio::test]
async fn all_tags_and_what_links_lead_to_are_copied() {
    let (source, destination) = (Registry::v2().await, Registry::v3().await);
    let endpoint = source.endpoint();
    let one = SignedImage::push(&endpoint, "app", "v1").await;
    let two = SignedImage::push(&endpoint, "app", "v2").await;
    // Deployed by its digest, and signed.
    let untagged = endpoint.put_manifest("app", "", IMAGE, &bare_image("untagged")).await;
    let sbom = endpoint.attach("app", &untagged, SPDX, "of untagged").await;
    // Its subject is gone.
    let gone = Pushed::of(IMAGE, &bare_image("gone"));
    let orphan = Pushed::of(IMAGE, &bare_image("orphan"));
    let orphan_tag = format!("{}.sig", gone.referrers_tag());
    endpoint.put_bytes("app", &orphan_tag, &orphan).await.expect_status(201);

    let from = format!("{}/app", source.authority());
    copy(&["--all-tags", &from, &format!("{}/app", destination.authority())]).await;
    let mirror = destination.endpoint();
    one.is_at(&mirror, "app", "v1").await;
    two.is_at(&mirror, "app", "v2").await;
    for digest in [&untagged.digest, &sbom.digest] {
        mirror.manifest("app", digest).await.expect_status(200);
    }
    let stored = mirror.manifest("app", &orphan_tag).await.expect_status(200);
    assert_eq!(stored.body, orphan.bytes);

    let some = format!("{}/some", destination.authority());
    copy(&["--tags", "v[2-9]", &from, &some]).await;
    two.is_at(&mirror, "some", "v2").await;
    let tags = tags(&mirror, "some").await;
    assert!(
        !tags.contains(&"v1".to_owned()) && !tags.contains(&orphan_tag),
        "{tags:?}"
    );
}

#[tokio::test]
async fn a_mirror_follows_tags_that_move_and_says_what_it_skipped() {
    let (source, destination) = (Registry::v2().await, Registry::v3().await);
    let (endpoint, mirror) = (source.endpoint(), destination.endpoint());
    endpoint.push_image("app", "v1", "one").await;
    let before = endpoint.push_image("app", "latest", "before").await;
    let (from, to) = (
        format!("{}/app", source.authority()),
        format!("{}/app", destination.authority()),
    );
    copy(&["--sync", &from, &to]).await;
    let after = endpoint.push_image("app", "latest", "after").await;

    for arguments in [
        &["copy", "--all-tags", &from, &to][..],
        &["copy", &format!("{from}:latest"), &to],
    ] {
        let error = refshim(arguments).await;
        let message = error.stderr.clone();
        assert_eq!(error.code, Some(1), "{error:?}");
        assert!(
            message.contains("latest") && message.contains(&before.digest) && message.contains("--force"),
            "{message}"
        );
        let held = mirror.manifest("app", "latest").await.expect_status(200);
        assert_eq!(held.body, before.bytes);
    }
    let report = copy(&["--sync", &from, &to]).await;
    assert_eq!(
        (outcome(&report, "v1"), outcome(&report, "latest")),
        (&"unchanged".into(), &"copied".into())
    );
    let held = mirror.manifest("app", "latest").await.expect_status(200);
    assert_eq!(held.body, after.bytes);
    let table = refshim(&["copy", "--sync", &from, &to]).await.ok();
    assert!(
        table.contains("skipped: all there") && !table.contains("copied"),
        "{table}"
    );
}

#[tokio::test]
async fn a_dry_run_writes_nothing_and_says_what_a_copy_would() {
    let (source, destination) = (Registry::v2().await, Registry::v3().await);
    SignedImage::push(&source.endpoint(), "app", "v1").await;
    let (from, to) = (
        format!("{}/app:v1", source.authority()),
        format!("{}/app", destination.authority()),
    );
    let dry = refshim(&["copy", "--dry-run", "--output", "json", &from, &to])
        .await
        .json();
    assert_eq!((&dry["complete"], &dry["dryRun"]), (&Value::Null, &true.into()));
    assert_eq!(dry["images"][0]["outcome"], "would-copy", "{dry}");
    destination.endpoint().get("/v2/app/tags/list").await.expect_status(404);
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", folder.path().join("none").display());
    refshim(&["copy", "--dry-run", &from, &layout]).await.ok();
    assert!(!folder.path().join("none").exists());

    let wet = copy(&[&from, &to]).await;
    for part in ["manifests", "blobs", "links", "digest"] {
        assert_eq!(wet["images"][0][part], dry["images"][0][part], "{part}");
    }
}

#[tokio::test]
async fn what_contradicts_itself_is_wrong_usage() {
    let digest = format!("sha256:{}", "0".repeat(64));
    for arguments in [
        &["copy", "127.0.0.1:1/app"][..],
        &["copy", "--all-tags", "127.0.0.1:1/app:v1", "127.0.0.1:1/b"],
        &["copy", "--sync", "127.0.0.1:1/app", "127.0.0.1:1/b:v1"],
        &["copy", "--tags", "(", "127.0.0.1:1/app", "127.0.0.1:1/b"],
        &["copy", "--as", "api", "127.0.0.1:1/app", "oci:x"],
        &["copy", "127.0.0.1:1/app", "oci:"],
        &["copy", "--parallel", "0", "127.0.0.1:1/app", "oci:x"],
    ] {
        refshim(arguments).await.refused(2);
    }
    let source = Registry::v2().await;
    source.endpoint().push_image("app", "v1", "image").await;
    let from = format!("{}/app:v1", source.authority());
    let to = format!("{}/b@{digest}", source.authority());
    let error = refshim(&["copy", &from, &to]).await.refused(2);
    assert!(error.contains("which no copy changes"), "{error}");
}
