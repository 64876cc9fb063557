//! "No referrers" is what both registries state.

use std::time::Duration;

use http::Method;

use super::super::stage::{APP, REFS, SBOM};
use super::stage::TwoRegistries;
use crate::support::content::{IMAGE, bare_image};
use crate::support::fake::{Knobs, Trouble};
use crate::support::{Pushed, Seen};

fn all(_: &Seen) -> bool {
    true
}

#[tokio::test]
async fn what_the_other_registry_does_not_say_is_an_error() {
    for trouble in [
        Trouble::oci(403, "DENIED", "denied"),
        Trouble::oci(401, "UNAUTHORIZED", "no"),
        Trouble::oci(500, "UNKNOWN", "failed"),
        Trouble::oci(404, "PAGE_UNKNOWN", "what is that"),
        Trouble::html(404),
        Trouble::html(200),
        Trouble::answer(404, &[], ""),
        Trouble::answer(204, &[], ""),
        Trouble::answer(200, &[("content-type", "application/json")], "{}"),
        Trouble::oci(429, "TOOMANYREQUESTS", "slower"),
        Trouble::Close,
    ] {
        let stage = TwoRegistries::new().await;
        let image = stage.image();
        stage.images.tagged_artifact(APP, &image, SBOM, "here");
        stage.links.tagged_artifact(REFS, &image, SBOM, "elsewhere");
        stage.links.heal();
        stage.links.trouble(trouble.clone(), all);
        let reader = stage.as_user("reader");
        for path in [
            format!("/v2/{APP}/referrers/{}", image.digest),
            format!("/v2/{APP}/manifests/{}", image.referrers_tag()),
            format!("/v2/{APP}/manifests/sha256-{}.sig", image.hex()),
        ] {
            let reply = reader.get_with(&path, &[("accept", "*/*")]).await;
            assert!(
                reply.status >= 500 || reply.status == 429,
                "{trouble:?} {path}: {reply:?}"
            );
            assert!(!reply.text().contains("keeper"), "{reply:?}");
        }
        stage.nothing_leaked();
    }
}

#[tokio::test]
async fn a_registry_that_is_gone_is_an_error_and_links_that_were_known_stay() {
    let stage = TwoRegistries::configured(Knobs::default(), |config| {
        config.cache.fresh_for = Duration::ZERO;
        config.cache.stale_while_revalidate = Duration::ZERO;
    })
    .await;
    let (image, other) = (stage.image(), stage.images.image(APP, "v2", "other"));
    let sbom = stage.links.tagged_artifact(REFS, &image, SBOM, "elsewhere");
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    assert_eq!(reader.referrers(APP, &other.digest).await.len(), 0);
    stage.links.heal();
    stage.links.trouble(Trouble::Close, all);
    assert_eq!(reader.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    // A none of a while ago is none.
    let reply = reader.referrers_reply(APP, &other.digest).await;
    assert!(reply.status >= 500, "{reply:?}");
}

#[tokio::test]
async fn what_was_not_pushed_yet_is_a_none_by_two_requests() {
    let stage = TwoRegistries::new().await;
    let image = stage.image();
    let reader = stage.as_user("reader");
    for _ in 0..2 {
        assert_eq!(reader.referrers(APP, &image.digest).await.len(), 0);
    }
    let asked = stage.links.take();
    let asked: Vec<_> = asked.iter().filter(|line| line.contains(REFS)).collect();
    assert_eq!(asked.len(), 2, "{asked:#?}");
}

/// Who is not known to may read the images is told of no links, nor that there are none.
#[tokio::test]
async fn without_a_proof_of_the_right_to_the_images_nothing_is_said() {
    let stage = TwoRegistries::new().await;
    let gone = Pushed::of(IMAGE, &bare_image("never pushed"));
    let sbom = stage.links.tagged_artifact(REFS, &gone, SBOM, "elsewhere");
    let tag = format!("sha256-{}.sig", gone.hex());
    stage.links.image(REFS, &tag, "signature");
    for user in ["reader", "stranger"] {
        let caller = stage.as_user(user);
        for path in [
            format!("/v2/{APP}/referrers/{}", gone.digest),
            format!("/v2/{APP}/manifests/{}", gone.referrers_tag()),
            format!("/v2/{APP}/manifests/{tag}"),
        ] {
            let reply = caller.get_with(&path, &[("accept", "*/*")]).await;
            assert_eq!(
                (reply.status, reply.error_code()),
                (403, "DENIED".into()),
                "{user} {path}: {reply:?}"
            );
        }
        let read = caller.manifest(APP, &sbom.digest).await;
        assert!(matches!(read.status, 403 | 404), "{user}: {read:?}");
    }
    assert_eq!(stage.links.count(|seen| seen.path.contains(REFS)), 0);
    // A new image can be pushed all the same: clients ask by HEADs what they must push.
    let writer = stage.as_user("writer");
    let path = format!("/v2/{APP}/manifests/{tag}");
    assert_eq!(
        writer.send(Method::HEAD, &path, &[("accept", "*/*")], "").await.status,
        404
    );
    let image = writer.push_image(APP, "v1", "image").await;
    assert_eq!(writer.referrers(APP, &image.digest).await.len(), 0);
}
