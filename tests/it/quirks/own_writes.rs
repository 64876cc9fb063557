//! Tags that were written through refshim and that a listing lacks: what they cost, and what an odd answer about one does.

use http::Method;
use serde_json::Value;

use super::SPDX;
use super::fixtures::{by_names, front, lists_only};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Local, Pushed, Seen, advance};

/// More than are asked for at once.
const MANY: usize = 40;
/// Requests of one search at once.
const PARALLEL: usize = 16;

fn reads_written(seen: &Seen) -> bool {
    seen.path.contains("/manifests/t") && seen.method == Method::GET
}

async fn push_many(through: &Endpoint) -> Pushed {
    let image = through.push_image("app", "v1", "image").await;
    for number in 0..MANY {
        through
            .put_bytes("app", &format!("t{number}"), &image)
            .await
            .expect_status(201);
    }
    image
}

async fn tags(through: &Endpoint) -> Vec<String> {
    let reply = through.get("/v2/app/tags/list").await.expect_status(200);
    let names = reply.json()["tags"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[tokio::test]
async fn written_tags_are_asked_for_at_once_and_once_while_that_is_fresh() {
    let fake = lists_only(&["v1"]).await;
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let refshim = Local::configured(link.url(), by_names).await;
    let through = refshim.endpoint();
    let image = push_many(&through).await;
    let other = fake.image("app", "v2", "other");
    advance(60).await;
    let gate = link.hold(reads_written);
    let asked = {
        let (through, digest) = (through.clone(), image.digest.clone());
        tokio::spawn(async move { through.referrers("app", &digest).await })
    };
    gate.reached_by(PARALLEL).await;
    gate.open();
    assert_eq!(asked.await.unwrap(), [] as [Value; 0]);
    through.referrers("app", &other.digest).await;
    assert_eq!(tags(&through).await.len(), MANY + 1);
    assert_eq!(fake.count(reads_written), MANY);
    advance(31).await;
    through.referrers("app", &image.digest).await;
    assert_eq!(fake.count(reads_written), 2 * MANY);
}

#[tokio::test]
async fn an_odd_answer_about_a_written_tag_fails_nobody_else() {
    let odd = [
        Trouble::html(502),
        Trouble::oci(404, "UNKNOWN", "who knows"),
        Trouble::Gzip,
        Trouble::Close,
    ];
    for trouble in odd {
        let fake = lists_only(&["v1"]).await;
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        let image = push_many(&through).await;
        let sbom = through.push_artifact("app", &image, SPDX, "sbom").await;
        let what = format!("{trouble:?}");
        fake.trouble(trouble, |seen| seen.path.ends_with("/manifests/t7"));
        advance(120).await;
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [sbom.digest], "{what}");
        assert!(tags(&through).await.contains(&"t7".to_owned()), "{what}");
    }
}

/// One that may be the subject's only link is no none.
#[tokio::test]
async fn an_odd_answer_about_a_written_link_is_an_error() {
    let fake = lists_only(&["v1"]).await;
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    through.push_artifact("app", &image, SPDX, "sbom").await;
    fake.trouble(Trouble::html(502), |seen| seen.path.contains("/manifests/sha256-"));
    advance(120).await;
    let reply = through.referrers_reply("app", &image.digest).await;
    assert!(reply.status >= 500, "{reply:?}");
}

/// A listing that is suddenly not there is not all that refshim itself wrote.
#[tokio::test]
async fn what_was_written_is_no_listing_of_a_repository_that_had_more() {
    for known_by in ["tags/list", "a question"] {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        match known_by {
            "tags/list" => assert_eq!(tags(&through).await, ["v1"]),
            _ => assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]),
        }
        through.put_bytes("app", "mine", &image).await.expect_status(201);
        through.manifest("app", "mine").await.expect_status(200);
        let unknown = Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry");
        fake.trouble(unknown, |seen| seen.path.contains("/tags/list"));
        through.get("/v2/app/tags/list").await.expect_status(404);
        fake.heal();
        assert_eq!(tags(&through).await, ["mine", "v1"], "{known_by}");
    }
}

/// Its tags cannot be computed, so a listing that is suddenly not there is no proof that a subject which is still given has none.
#[tokio::test]
async fn a_listing_that_vanishes_is_no_none_for_what_is_still_given() {
    for vanished_at_once in [true, false] {
        let fake = Fake::start(Knobs::default()).await;
        let (image, other) = (fake.image("app", "v1", "image"), fake.image("app", "v2", "other"));
        let sbom = fake.tagged_artifact("app", &image, SPDX, "sbom");
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        assert_eq!(through.referrers("app", &other.digest).await, [] as [Value; 0]);
        let unknown = || Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry");
        fake.trouble(unknown(), |seen| seen.path.contains("/tags/list"));
        if vanished_at_once {
            advance(31).await;
            let reply = through.referrers_reply("app", &image.digest).await;
            assert_eq!(reply.status, 502, "{reply:?}");
            fake.heal();
            assert_eq!(through.referrer_digests("app", &image.digest).await, [sbom.digest]);
        } else {
            // An hour later it may be that the tags were deleted, and only the manifest is left.
            advance(3700).await;
            assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
        }
    }
}
