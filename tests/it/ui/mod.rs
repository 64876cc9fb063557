//! Promise: below `/ui/` people see a repository's tags, what refers to them and what that says, in any browser, with scripts or without;
//! whatever a registry says is shown as text, and nobody sees more than the registry shows the account that they logged in with.

mod browser;
mod contents;
mod finding;
mod fixture;
mod login;

use crate::support;
use http::Method;
use serde_json::json;

use crate::support::content::{IMAGE, artifact, bare_image, index};
use crate::support::{Endpoint, Local, Program, Pushed, Refshim, Registry, Reply};

const SCRIPT: &str = "<script>document.title='taken'</script>";
const ATTRIBUTE: &str = "\"><img src=x onerror=\"document.title='taken'\">";

async fn with_ui(upstream: &str) -> Local {
    Local::configured(upstream, |config| config.server.ui = true).await
}

async fn page(at: &Endpoint, path: &str) -> String {
    let reply = at.get(path).await.expect_status(200);
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
    reply.text()
}

/// The names of all elements and attributes that a browser would find. Only what is between quotes is a value. The one script is refshim's.
fn is_harmless(html: &str) {
    assert_eq!(html.matches("<script").count(), 1, "{html}");
    assert!(html.contains("<script>for (const code of document"), "{html}");
    for dangerous in [
        "<img",
        "<iframe",
        "onerror=\"",
        "onload=",
        "style=\"",
        "href=\"javascript:",
    ] {
        assert!(!html.contains(dangerous), "{dangerous} in {html}");
    }
}

/// An image whose manifest and referrers are as bad as a registry lets them be.
async fn hostile(registry: &Endpoint) -> Pushed {
    registry.push_blob("o/app", "{}").await;
    let mut image = bare_image("hostile");
    image["annotations"][SCRIPT] = ATTRIBUTE.into();
    image["annotations"]["org.opencontainers.image.url"] = "javascript:alert(1)".into();
    image["layers"][0]["mediaType"] = format!("text/html{SCRIPT}").into();
    let image = registry.put_manifest("o/app", "v1", IMAGE, &image).await;
    let mut referrer = artifact(&image, &format!("application/x{ATTRIBUTE}"), "sig");
    referrer["annotations"][ATTRIBUTE] = format!("{SCRIPT}\u{1b}[31m\u{202e}").into();
    let referrer = Pushed::of(IMAGE, &referrer);
    registry.put_bytes("o/app", "", &referrer).await.expect_status(201);
    let tag = referrer.proposal_d_tag(&image, "x");
    registry.put_tag("o/app", &tag, &referrer).await;
    image
}

#[tokio::test]
async fn there_is_no_page_unless_it_is_wanted() {
    let registry = Registry::v2().await;
    let refshim = Local::in_front_of(&registry.url()).await;
    let reply = refshim.endpoint().get("/ui/").await.expect_status(404);
    assert_eq!(reply.error_code(), "UNSUPPORTED");
    let flagged = Refshim::builder(&registry.url()).arguments(&["--ui"]).start().await;
    page(&flagged.endpoint(), "/ui/").await;
}

#[tokio::test]
async fn tags_show_what_refers_to_them_without_the_tags_that_only_link() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let image = at.push_image("o/app", "v1", "one").await;
    at.attach("o/app", &image, "application/spdx+json", "sbom").await;
    at.attach("o/app", &image, "application/vnd.in-toto+json", "att").await;
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = at.put_manifest("o/app", &tag, IMAGE, &bare_image("sig")).await;
    let signature = signature.adopted_by_suffix(&image, ".sig");
    at.push_image("o/app", "v0", "bare").await;
    let refshim = with_ui(&registry.url()).await;
    let html = page(&refshim.endpoint(), "/ui/r/o/app").await;
    for shown in [
        "href=\"/ui/r/o/app:v1\"",
        "aria-label=\"Signature\"",
        "aria-label=\"SBOM\"",
        "aria-label=\"Attestation\"",
        "2 tags, and 3 link tags",
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    assert!(!html.contains(".sig\""), "{html}");
    assert!(!page(&refshim.endpoint(), "/ui/r/o/app?q=0").await.contains("o/app:v1"));

    let html = page(&refshim.endpoint(), "/ui/r/o/app:v1").await;
    for shown in [
        image.digest.as_str(),
        "application/spdx+json",
        "found as cosign-tag",
        &format!("href=\"/ui/r/o/app@{}?of=sha256%3A{}\"", signature.digest, image.hex()),
        &format!("href=\"/ui/m/o/app@{}\"", signature.digest),
    ] {
        assert!(html.contains(shown), "{shown}: {html}");
    }
    // As a browser asks, which accepts HTML and no manifest.
    let path = format!("/ui/m/o/app@{}", signature.digest);
    let file = refshim
        .endpoint()
        .get_with(&path, &[("accept", "text/html,*/*;q=0.8")])
        .await;
    let file = file.expect_status(200);
    assert_eq!(file.body, signature.bytes);
    assert!(file.header("content-disposition").unwrap().starts_with("attachment"));

    let html = page(&refshim.endpoint(), "/ui/").await;
    assert!(html.contains("<a href=\"/ui/r/o/app\">o/app</a>"), "{html}");
    let found = refshim
        .endpoint()
        .get("/ui/?repository=o%2Fapp%3Av1")
        .await
        .expect_status(303);
    assert_eq!(found.header("location"), Some("/ui/r/o/app:v1"));
}

#[tokio::test]
async fn the_platforms_of_an_index_have_their_own_referrers() {
    let registry = Registry::v2().await;
    let at = registry.endpoint();
    let platform = at.push_image("o/app", "", "platform").await;
    let attestation = at.push_image("o/app", "", "attestation").await;
    let note =
        json!({"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": platform.digest});
    let both = index([platform.descriptor(), attestation.annotated(note)]);
    at.put_manifest("o/app", "multi", support::content::INDEX, &both).await;
    let refshim = with_ui(&registry.url()).await;
    let html = page(&refshim.endpoint(), "/ui/r/o/app").await;
    assert!(html.contains("aria-label=\"Attestation\""), "{html}");
    let html = page(&refshim.endpoint(), "/ui/r/o/app:multi").await;
    assert!(html.contains("found as buildkit"), "{html}");
    let listed = attestation.adopted(&platform, Some("application/vnd.docker.attestation.manifest.v1+json"));
    for (digest, times) in [(&listed.digest, 1), (&attestation.digest, 0)] {
        let link = format!("href=\"/ui/r/o/app@{digest}");
        assert_eq!(html.matches(&link).count(), times, "{digest}: {html}");
    }
}

#[tokio::test]
async fn whatever_a_registry_says_is_text() {
    let registry = Registry::v2().await;
    let image = hostile(&registry.endpoint()).await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    for path in [
        "/ui/r/o/app".to_owned(),
        "/ui/r/o/app:v1".to_owned(),
        format!("/ui/r/o/app@{}", image.digest),
    ] {
        is_harmless(&page(&at, &path).await);
    }
    let html = page(&at, "/ui/r/o/app:v1").await;
    assert!(
        html.contains("&lt;script&gt;") && html.contains("&lt;img src=x"),
        "{html}"
    );
    assert!(!html.contains('\u{1b}'));
    for typed in [SCRIPT, ATTRIBUTE, "..", "a//b", "Z"] {
        let typed = percent_encoding::utf8_percent_encode(typed, percent_encoding::NON_ALPHANUMERIC).to_string();
        is_harmless(&page(&at, &format!("/ui/?repository={typed}")).await);
        is_harmless(&page(&at, &format!("/ui/r/o/app?q={typed}&after={typed}")).await);
        let reply = at.get(&format!("/ui/r/{typed}")).await.expect_status(404);
        is_harmless(&reply.text());
    }
    // What the registry serves at the same origin acts as no page either.
    let blob = at.get(&format!("/v2/o/app/manifests/{}", image.digest)).await;
    assert_eq!(
        blob.header("content-security-policy"),
        Some("default-src 'none'; sandbox")
    );
    assert_eq!(blob.header("x-content-type-options"), Some("nosniff"));
}

#[track_caller]
fn is_protected(reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"),
        "{policy}"
    );
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("cache-control"), Some("private, no-cache"));
}

#[tokio::test]
async fn nobody_sees_more_than_the_registry_shows() {
    let registry = Registry::builder(Program::V2).users(&[("u", "p")]).start().await;
    registry.endpoint().push_image("o/app", "v1", "secret").await;
    let refshim = with_ui(&registry.url()).await;
    let known = refshim.endpoint().basic("u", "p");
    for path in ["/ui/", "/ui/r/o/app", "/ui/r/o/app:v1"] {
        let seen = known.get(path).await.expect_status(200);
        is_protected(&seen);
        // Warm caches change nothing.
        for stranger in [refshim.endpoint(), refshim.endpoint().basic("u", "wrong")] {
            let refused = stranger.get(path).await.expect_status(401);
            assert_eq!(
                refused.header("www-authenticate"),
                Some("Basic realm=\"tests\""),
                "{path}"
            );
            assert_eq!(refused.header("content-type"), Some("text/html; charset=utf-8"));
            is_protected(&refused);
            assert!(!refused.text().contains("href=\"/ui/r/"), "{}", refused.text());
        }
    }
    for (path, status) in [("/ui/r/o/none", 404), ("/ui/r/o/app:none", 404), ("/ui/nothing", 404)] {
        is_protected(&known.get(path).await.expect_status(status));
    }
    let posted = known.send(Method::POST, "/ui/", &[], "").await.expect_status(405);
    assert_eq!(posted.header("allow"), Some("GET, HEAD"));
}

#[tokio::test]
async fn answers_can_be_asked_for_again() {
    let registry = Registry::v2().await;
    let refshim = with_ui(&registry.url()).await;
    let at = refshim.endpoint();
    let style = at.get("/ui/style.css").await.expect_status(200);
    assert_eq!(style.header("content-type"), Some("text/css; charset=utf-8"));
    let etag = [("if-none-match", style.header("etag").unwrap())];
    at.get_with("/ui/style.css", &etag).await.expect_status(304);
    let head = at.send(Method::HEAD, "/ui/", &[], "").await.expect_status(200);
    assert!(head.body.is_empty());
}
