//! What images and artifacts say of themselves: read where a page is about them, marked as unverified, and never cut in silence.

use http::Method;
use serde_json::{Value, json};

use super::fixture::{APP, BUNDLE, Contents, ISSUER, WORKFLOW, attach, spdx};
use super::{page, with_ui};
use crate::support::content::{IMAGE, bare_image};
use crate::support::{CountingProxy, Registry};

#[tokio::test]
async fn a_signature_says_who_signed_and_is_not_believed() {
    let registry = Registry::v2().await;
    let contents = Contents::push(&registry.endpoint()).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = with_ui(link.url()).await;
    let at = refshim.endpoint();
    // The way there: from the image to the signature, whose page leads back.
    let html = page(&at, "/ui/r/o/app:1.10").await;
    let there = format!("/ui/r/o/app@{}?of={}", contents.signature.digest, contents.index.digest);
    let encoded = there.replace("of=sha256:", "of=sha256%3A");
    assert!(html.contains(&format!("href=\"{encoded}\"")), "{html}");
    link.take();
    let html = page(&at, &there).await;
    for shown in [
        "Not verified here.",
        WORKFLOW,
        ISSUER,
        "4711",
        " the subject</span>",
        "aria-label=\"Signature\"",
        &format!("href=\"/ui/r/o/app@{}\"", contents.index.digest),
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    let blobs = |seen: &str| seen.contains("/blobs/");
    assert_eq!(
        link.take().iter().filter(|seen| blobs(seen)).count(),
        1,
        "the bundle, and once"
    );
    page(&at, &there).await;
    assert_eq!(link.take(), [""; 0], "what was read a moment ago");

    let html = page(&at, &format!("/ui/r/o/app@{}", contents.provenance.digest)).await;
    for shown in [
        "https://slsa.dev/provenance/v1",
        "github-hosted",
        "refs/tags/v1",
        "aria-label=\"Attestation\"",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
}

#[tokio::test]
async fn a_signature_of_something_else_is_told_from_one_of_the_subject() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let image = at.push_image(APP, "v1", "one").await;
    let other = format!("sha256:{}", "0".repeat(64));
    let payload = json!({"critical": {"image": {"docker-manifest-digest": other}, "identity": {}}});
    let layer = at.push_blob(APP, payload.to_string()).await;
    let mut signature = bare_image("signature");
    signature["layers"] = json!([{
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": layer.to_string(), "size": payload.to_string().len(),
    }]);
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = at.put_manifest(APP, &tag, IMAGE, &signature).await;
    let refshim = with_ui(&registry.url()).await;
    let path = format!("/ui/r/o/app@{}?of={}", signature.digest, image.digest);
    let html = page(&refshim.endpoint(), &path).await;
    assert!(html.contains(&other) && html.contains("not the subject"), "{html}");
    // An address that somebody made up makes nothing refer to anything.
    let stranger = at.push_image(APP, "v2", "two").await;
    let path = format!("/ui/r/o/app@{}?of={}", signature.digest, stranger.digest);
    let html = page(&refshim.endpoint(), &path).await;
    assert!(!html.contains("Refers to"), "{html}");
}

#[tokio::test]
async fn packages_are_a_table_that_says_how_many_there_are() {
    let registry = Registry::v2().await;
    let contents = Contents::push(&registry.endpoint()).await;
    let refshim = with_ui(&registry.url()).await;
    let path = format!("/ui/r/o/app@{}", contents.sbom.digest);
    let html = page(&refshim.endpoint(), &path).await;
    for shown in ["50 of 120", "package-49", "SPDX-2.3", "show=250", ">sbom.spdx.json<"] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    assert!(!html.contains("package-50<"), "{html}");
    let html = page(&refshim.endpoint(), &format!("{path}?show=250")).await;
    assert!(html.contains("120 of 120") && html.contains("package-119"), "{html}");
}

#[tokio::test]
async fn content_that_is_not_what_it_says_fails_alone() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let image = at.push_image(APP, "v1", "one").await;
    let broken = attach(&at, &image, BUNDLE, None, &json!("no bundle")).await;
    let mut huge = spdx(1);
    huge["padding"] = "x".repeat(9 << 20).into();
    let huge = attach(&at, &image, "application/spdx+json", None, &huge).await;
    let refshim = with_ui(&registry.url()).await;
    for (artifact, reason) in [(broken, "not what its media type says"), (huge, "download it instead")] {
        let html = page(&refshim.endpoint(), &format!("/ui/r/o/app@{}", artifact.digest)).await;
        assert!(html.contains(reason) && html.contains("Refers to"), "{reason}: {html}");
    }
}

#[tokio::test]
async fn platforms_have_names_sizes_dates_and_referrers_that_count() {
    let registry = Registry::v2().await;
    let contents = Contents::push(&registry.endpoint()).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = with_ui(link.url()).await;
    let at = refshim.endpoint();
    let html = page(&at, "/ui/r/o/app").await;
    // The SBOM is the amd64 image's.
    for badge in ["Signature", "Attestation", "SBOM"] {
        assert!(html.contains(&format!("aria-label=\"{badge}\"")), "{badge}: {html}");
    }
    link.take();
    let html = page(&at, "/ui/r/o/app:1.10").await;
    for shown in ["linux/amd64", "linux/arm64", "5.0 KiB", "2026-03-04 05:06:07 UTC"] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    let seen = link.take();
    let blobs = seen.iter().filter(|seen| seen.contains("/blobs/")).count();
    assert_eq!(blobs, 2, "a config for each platform: {seen:?}");
    let html = page(&at, &format!("/ui/r/o/app@{}", contents.platforms[1].digest)).await;
    assert!(html.contains("linux/arm64") && html.contains("Nothing."), "{html}");
}

#[tokio::test]
async fn nothing_is_cut_without_a_word() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let mut image = bare_image("layers");
    let layers: Vec<Value> = (0..60).map(|_| image["layers"][0].clone()).collect();
    image["layers"] = layers.into();
    at.push_blob(APP, "{}").await;
    at.put_manifest(APP, "v1", IMAGE, &image).await;
    for number in 0..101 {
        at.push_image(&format!("many/{number:03}"), "v1", "x").await;
    }
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    let html = page(&at, "/ui/r/o/app:v1").await;
    assert!(
        html.contains("50 of 61 are shown") && html.contains("?show=250"),
        "{html}"
    );
    let html = page(&at, "/ui/r/o/app:v1?show=250").await;
    assert_eq!(html.matches("<th scope=\"row\">layer</th>").count(), 60);
    assert!(!html.contains("are shown"), "{html}");
    let html = page(&at, "/ui/").await;
    assert!(
        html.contains("More repositories") && html.contains("?after=many%2F099"),
        "{html}"
    );
    let html = page(&at, "/ui/?after=many%2F099").await;
    assert!(html.contains(">many/100</a>") && html.contains(">o/app</a>"), "{html}");
    assert!(
        !html.contains("More repositories") && !html.contains("many/099<"),
        "{html}"
    );
}

#[tokio::test]
async fn downloads_come_under_their_title_and_act_as_no_page() {
    let registry = Registry::v2().await;
    let contents = Contents::push(&registry.endpoint()).await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    let manifest: Value = serde_json::from_slice(&contents.sbom.bytes).unwrap();
    let digest = manifest["layers"][0]["digest"].as_str().unwrap();
    let html = page(&at, &format!("/ui/r/o/app@{}", contents.sbom.digest)).await;
    let target = format!("/ui/b/o/app@{digest}?title=sbom.spdx.json");
    assert!(html.contains(&format!("href=\"{target}\"")), "{html}");
    let file = at.get(&target).await.expect_status(200);
    assert_eq!(file.body, spdx(120).to_string());
    for (name, value) in [
        ("content-disposition", "attachment; filename=\"sbom.spdx.json\""),
        ("content-type", "application/octet-stream"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(file.header(name), Some(value));
    }
    let hostile = at
        .get(&format!("/ui/b/o/app@{digest}?title=..%2F%22%0d%0ax:y.html"))
        .await;
    let name = hostile.header("content-disposition");
    assert_eq!(name, Some("attachment; filename=\"x_y.html\""));
    let unnamed = at.send(Method::HEAD, &format!("/ui/b/o/app@{digest}"), &[], "").await;
    let name = format!("attachment; filename=\"{}\"", digest.replace(':', "-"));
    assert_eq!(
        unnamed.expect_status(200).header("content-disposition"),
        Some(name.as_str())
    );
}
