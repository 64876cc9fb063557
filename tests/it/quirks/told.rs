//! What the registry tells one caller, in words or without: what stays known, what ends, and what is relayed.

use http::Method;

use crate::support::Refshim;
use crate::support::content::{ANY, IMAGE, bare_image};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Seen, eventually};

fn of_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

fn is_head(seen: &Seen) -> bool {
    of_manifest(seen) && seen.method == Method::HEAD
}

fn is_get(seen: &Seen) -> bool {
    of_manifest(seen) && seen.method == Method::GET
}

/// A cache in front of a registry, before anybody pulled: it lists nothing, and fails at HEADs of what it would give.
async fn cache_with_a_signature() -> (Fake, Refshim, Pushed, Pushed) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let signature = fake.put(
        "app",
        &format!("{}.sig", image.referrers_tag()),
        IMAGE,
        &bare_image("signature"),
    );
    let unknown = Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry");
    fake.trouble(unknown, |seen| seen.path.contains("/tags/list"));
    fake.trouble(Trouble::oci(404, "UNKNOWN", "not cached"), is_head);
    let refshim = Refshim::builder(&fake.url()).env("REFSHIM_CACHE__ACCESS_FOR", "0s");
    let adopted = signature.adopted_by_suffix(&image, ".sig");
    (fake, refshim.start().await, image, adopted)
}

#[tokio::test]
async fn heads_that_fail_hide_no_signature_from_the_second_caller() {
    let (_fake, refshim, image, signature) = cache_with_a_signature().await;
    for caller in ["Bearer a", "Bearer b", "Bearer a"] {
        let endpoint = refshim.endpoint().authorization(caller);
        let listed = endpoint.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [signature.digest.as_str()], "{caller}");
    }
}

#[tokio::test]
async fn a_registry_that_fails_at_every_manifest_does_not_say_that_there_is_none() {
    let (fake, refshim, image, signature) = cache_with_a_signature().await;
    let endpoint = refshim.endpoint().authorization("Bearer a");
    let listed = endpoint.referrer_digests("app", &image.digest).await;
    assert_eq!(listed, [signature.digest.as_str()]);
    fake.trouble(Trouble::html(500), of_manifest);
    let reply = endpoint.referrers_reply("app", &image.digest).await;
    assert_ne!(reply.status, 200, "{reply:?}");
}

#[tokio::test]
async fn a_head_of_a_tag_is_relayed_where_the_manifest_cannot_be_read() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    fake.trouble(Trouble::oci(429, "TOOMANYREQUESTS", "slow down"), is_get);
    let reply = refshim
        .endpoint()
        .head_with("/v2/app/manifests/v1", &[("accept", ANY)])
        .await
        .expect_status(200);
    assert_eq!(reply.header("docker-content-digest"), Some(image.digest.as_str()));
}

#[tokio::test]
async fn where_pulls_are_counted_a_head_of_a_tag_costs_none() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    fake.trouble(Trouble::header("ratelimit-limit", "100;w=21600"), of_manifest);
    refshim
        .endpoint()
        .head_with("/v2/app/manifests/v1", &[("accept", ANY)])
        .await
        .expect_status(200);
    assert_eq!(fake.count(is_get), 0);
}

#[tokio::test]
async fn a_404_ends_what_an_outage_would_still_give() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::builder(&fake.url()).env("REFSHIM_CACHE__ACCESS_FOR", "0s");
    let refshim = refshim.start().await;
    let path = format!("/v2/app/manifests/{}", image.digest);
    refshim
        .endpoint()
        .get_with(&path, &[("accept", ANY)])
        .await
        .expect_status(200);
    let down = || Trouble::oci(503, "UNAVAILABLE", "down");
    fake.trouble(down(), of_manifest);
    eventually("an outage is outlasted by what is remembered", async || {
        let reply = refshim.endpoint().get_with(&path, &[("accept", ANY)]).await;
        (reply.status == 200).then_some(())
    })
    .await;
    fake.heal();
    fake.trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"), of_manifest);
    refshim
        .endpoint()
        .get_with(&path, &[("accept", ANY)])
        .await
        .expect_status(404);
    fake.heal();
    fake.trouble(down(), of_manifest);
    refshim
        .endpoint()
        .get_with(&path, &[("accept", ANY)])
        .await
        .expect_status(503);
}

#[tokio::test]
async fn a_refused_deletion_of_what_cannot_be_read_deletes_nothing() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let bytes = fake
        .endpoint()
        .get_with("/v2/app/manifests/v1", &[("accept", ANY)])
        .await
        .expect_status(200);
    fake.blob("app", bytes.body.clone());
    let refshim = Refshim::in_front_of(&fake.url()).await;
    fake.trouble(Trouble::oci(500, "UNKNOWN", "unknown error"), |seen| {
        of_manifest(seen) && seen.path.contains("sha256:") && seen.method != Method::DELETE
    });
    let is_delete = |seen: &Seen| seen.method == Method::DELETE;
    fake.trouble(Trouble::oci(405, "UNSUPPORTED", "unsupported"), is_delete);
    let path = format!("/v2/app/manifests/{}", image.digest);
    refshim.endpoint().delete(&path).await.expect_status(405);
    assert_eq!(fake.count(|seen| is_delete(seen) && !of_manifest(seen)), 0);
}
