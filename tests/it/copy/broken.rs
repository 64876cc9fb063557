//! Copies that are interrupted, and sides that break, refuse or lie.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::{SPDX, SignedImage, copy};
use crate::support::cli::refshim;
use crate::support::content::{IMAGE, bare_image};
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::process::Process;
use crate::support::{CountingProxy, Program, Pushed, Registry};

#[tokio::test]
async fn a_killed_copy_shows_no_unsigned_image_and_ends_when_it_is_repeated() {
    let (source, registry) = (Registry::v2().await, Registry::v3().await);
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let (from, to) = (format!("{}/app:v1", source.authority()), format!("{}/app", link.url()));
    let folder = tempfile::tempdir().unwrap();
    // Killed before its first, second, third … write, until one run makes all of those that are left.
    for run in 0.. {
        let writes = AtomicUsize::new(0);
        let gate = link.hold(move |seen| {
            matches!(seen.method, Method::POST | Method::PUT) && writes.fetch_add(1, Ordering::Relaxed) >= run
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_refshim"));
        command.args(["copy", &from, &to]);
        let mut process = Process::start("refshim copy", command, &folder.path().join(run.to_string()));
        let is_held = tokio::select! {
            () = gate.reached_by(1) => true,
            status = process.wait() => {
                assert!(status.success(), "{run}: {}", process.output());
                false
            }
        };
        process.kill();
        link.heal();
        if !is_held {
            assert!(run > 3, "{run} kills only");
            break;
        }
        if registry.endpoint().manifest("app", "v1").await.status == 200 {
            image.is_at(&registry.endpoint(), "app", "v1").await;
        }
    }
    image.is_at(&registry.endpoint(), "app", "v1").await;
}

/// A fake with an image of one large layer, and the layer's digest.
async fn with_layer(size: usize) -> (Fake, String) {
    let source = Fake::start(Knobs::default()).await;
    let layer = Bytes::from(vec![7; size]);
    source.blob("app", "{}");
    let digest = source.blob("app", layer).to_string();
    let mut image = bare_image("image");
    image["layers"] =
        serde_json::json!([{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": size}]);
    source.put("app", "v1", IMAGE, &image);
    (source, digest)
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_from_there() {
    let (source, layer) = with_layer(3 << 20).await;
    let asks = |layer: &str| {
        let end = format!("/blobs/{layer}");
        move |seen: &crate::support::Seen| seen.method == Method::GET && seen.path.ends_with(&end)
    };
    source.trouble_times(2, Trouble::Cut(1 << 20), asks(&layer));
    let destination = Registry::v2().await;
    let from = format!("{}/app:v1", source.url());
    copy(&[&from, &format!("{}/app", destination.authority())]).await;
    let ranges: Vec<String> = source
        .requests()
        .iter()
        .filter(|seen| asks(&layer)(seen))
        .map(|seen| {
            seen.headers
                .get("range")
                .map_or("all", |range| range.to_str().unwrap())
                .to_owned()
        })
        .collect();
    let [first, others @ ..] = &ranges[..] else {
        panic!("no download")
    };
    assert!(first == "all" && others.len() == 2, "{ranges:?}");
    assert!(others.iter().all(|range| range.starts_with("bytes=")), "{ranges:?}");
    let stored = destination
        .endpoint()
        .get(&format!("/v2/app/blobs/{layer}"))
        .await
        .expect_status(200);
    assert_eq!(stored.body.len(), 3 << 20);

    // To a layout, also from one run to the next.
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", folder.path().join("layout").display());
    source.trouble_times(1, Trouble::Cut(1 << 20), asks(&layer));
    source.trouble(Trouble::Close, asks(&layer));
    refshim(&["copy", &from, &layout]).await.refused(1);
    source.heal();
    source.take();
    copy(&[&from, &layout]).await;
    let resumed = source
        .requests()
        .iter()
        .any(|seen| asks(&layer)(seen) && seen.headers.contains_key("range"));
    assert!(resumed, "{:?}", source.take());
    assert!(!folder.path().join("layout/.refshim").exists());
}

#[tokio::test]
async fn wrong_bytes_are_refused_and_stored_nowhere() {
    let (source, layer) = with_layer(100_000).await;
    let end = format!("/blobs/{layer}");
    source.trouble(Trouble::Body(Bytes::from(vec![8; 100_000])), move |seen| {
        seen.path.ends_with(&end)
    });
    let destination = Registry::v2().await;
    let from = format!("{}/app:v1", source.url());
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}", folder.path().join("layout").display());
    for to in [format!("{}/app", destination.authority()), layout] {
        let error = refshim(&["copy", &from, &to]).await.refused(1);
        assert!(error.contains("other bytes") && error.contains(&layer), "{error}");
    }
    destination.endpoint().manifest("app", "v1").await.expect_status(404);
    destination
        .endpoint()
        .get(&format!("/v2/app/blobs/{layer}"))
        .await
        .expect_status(404);
    let file = folder
        .path()
        .join("layout/blobs/sha256")
        .join(layer.trim_start_matches("sha256:"));
    assert!(!file.exists() && !folder.path().join("layout/index.json").exists());
}

/// Whoever pushed the image chose them.
#[tokio::test]
async fn sizes_that_nothing_has_stop_no_copy() {
    let source = Fake::start(Knobs::default()).await;
    let mut image = bare_image("image");
    let blobs = ["{}", "layer"].map(|content| source.blob("app", content).to_string());
    image["config"] = json!({"mediaType": "application/x", "digest": blobs[0], "size": u64::MAX});
    image["layers"] = json!([{"mediaType": "application/x", "digest": blobs[1], "size": u64::MAX}]);
    source.put("app", "v1", IMAGE, &image);
    let from = format!("{}/app:v1", source.url());
    let destination = Fake::start(Knobs::default()).await;
    let folder = tempfile::tempdir().unwrap();
    for to in [
        format!("{}/app", destination.url()),
        format!("oci:{}", folder.path().join("layout").display()),
    ] {
        refshim(&["copy", "--dry-run", &from, &to]).await.ok();
        super::copy(&[&from, &to]).await;
    }
}

#[tokio::test]
async fn a_tag_without_a_manifest_is_named_and_the_others_are_copied() {
    let (source, destination) = (Fake::start(Knobs::default()).await, Fake::start(Knobs::default()).await);
    for tag in ["v1", "v2"] {
        source.image("app", tag, tag);
    }
    source.trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"), |seen| {
        seen.path == "/v2/app/manifests/v2"
    });
    let (from, to) = (format!("{}/app", source.url()), format!("{}/app", destination.url()));
    let ended = refshim(&["copy", "--all-tags", &from, &to]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert!(ended.stderr.contains("v2: the source lists it"), "{ended:?}");
    assert!(ended.stdout.contains("v1"), "{ended:?}");
}

#[tokio::test]
async fn a_source_whose_referrers_are_not_certain_is_not_copied() {
    let registry = Registry::v2().await;
    let destination = CountingProxy::in_front_of(&registry.url()).await;
    let to = format!("{}/app", destination.url());
    let listing = |seen: &crate::support::Seen| seen.path.contains("/tags/list");
    for trouble in [
        Trouble::html(500),
        Trouble::oci(404, "UNKNOWN", "?"),
        Trouble::html(200),
        Trouble::oci(403, "DENIED", "no"),
    ] {
        let source = Fake::start(Knobs::default()).await;
        let image = source.image("app", "v1", "image");
        source.tagged_artifact("app", &image, SPDX, "sbom");
        source.trouble(trouble.clone(), listing);
        refshim(&["copy", &format!("{}/app:v1", source.url()), &to])
            .await
            .refused(1);
    }
    // Neither is one that lacks a part.
    let source = Fake::start(Knobs::default()).await;
    let absent = Pushed::of(IMAGE, &bare_image("absent"));
    let index = crate::support::content::index([absent.descriptor()]);
    source.put("app", "v1", super::INDEX, &index);
    let error = refshim(&["copy", &format!("{}/app:v1", source.url()), &to])
        .await
        .refused(1);
    assert!(error.contains(&absent.digest), "{error}");
    let writes = destination.count(|seen| matches!(seen.method, Method::POST | Method::PUT | Method::PATCH));
    assert_eq!(writes, 0, "{:?}", destination.take());
}

#[tokio::test]
async fn whoever_may_not_write_is_told_so() {
    let source = Registry::v2().await;
    source.endpoint().push_image("app", "v1", "image").await;
    let from = format!("{}/app:v1", source.authority());
    let closed = Registry::builder(Program::V2).users(&[("u", "p")]).start().await;
    let error = refshim(&["copy", &from, &format!("{}/app", closed.authority())])
        .await
        .refused(1);
    assert!(error.contains("docker login"), "{error}");
    let registry = Registry::v2().await;
    let read_only = CountingProxy::in_front_of(&registry.url()).await;
    let denied = r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#;
    let denied = crate::support::Fault::answer(403, &[("content-type", "application/json")], denied);
    read_only.fail(denied, |seen| matches!(seen.method, Method::POST | Method::PUT));
    let error = refshim(&["copy", &from, &format!("{}/app", read_only.url())])
        .await
        .refused(1);
    assert!(
        error.contains("HTTP 403: DENIED read only") && error.contains("docker login"),
        "{error}"
    );
}

#[tokio::test]
async fn a_destination_that_forgets_is_not_called_complete() {
    let source = Registry::v2().await;
    let image = SignedImage::push(&source.endpoint(), "app", "v1").await;
    let from = format!("{}/app:v1", source.authority());
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    // It says that it stored the tag of the signature, and does not have it.
    let tag = image.cosign_tag();
    link.fail(crate::support::Fault::status(201), move |seen| {
        seen.method == Method::PUT && seen.path.ends_with(&tag)
    });
    let error = refshim(&["copy", &from, &format!("{}/app", link.url())]).await;
    assert_eq!(error.code, Some(1), "{error:?}");
    assert!(
        error.stderr.contains("does not show") && error.stdout.contains("does not have everything"),
        "{error:?}"
    );
}
