//! Listings that lack what is there, where the questions that would show it fail, are refused or come too early.

use serde_json::Value;

use super::SPDX;
use super::fixtures::{front, lists_only};
use crate::support::content::{IMAGE, bare_image};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Seen, advance};

const NONE: [Value; 0] = [];

fn cosign_tag(image: &Pushed, suffix: &str) -> String {
    format!("sha256-{}{suffix}", image.hex())
}

/// As it is listed.
fn signed(fake: &Fake, image: &Pushed, suffix: &str) -> Pushed {
    let stored = fake.put("app", &cosign_tag(image, suffix), IMAGE, &bare_image(suffix));
    stored.adopted_by_suffix(image, suffix)
}

fn by(reference: String) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.path.ends_with(&format!("/manifests/{reference}"))
}

fn absent() -> Trouble {
    Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown")
}

#[tokio::test]
async fn a_probe_that_failed_is_made_again() {
    let fake = lists_only(&["v1"]).await;
    let image = fake.image("app", "v1", "image");
    let signature = signed(&fake, &image, ".sig");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    fake.trouble(Trouble::oci(500, "UNKNOWN", "broken"), by(cosign_tag(&image, ".sig")));
    let failed = through.referrers_reply("app", &image.digest).await;
    assert_eq!(failed.status, 502, "{failed:?}");
    fake.heal();
    advance(31).await;
    assert_eq!(through.referrer_digests("app", &image.digest).await, [signature.digest]);
}

/// Of the tags that were seen, those that are gone since or fail hide none of the others.
#[tokio::test]
async fn every_tag_that_was_seen_is_asked_for_until_it_answers() {
    let fake = lists_only(&["v1"]).await;
    let image = fake.image("app", "v1", "image");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &image.digest).await, NONE);
    let attestation = signed(&fake, &image, ".att");
    for tag in ["b0", "b1", "b2", "v2"] {
        fake.image("app", tag, tag);
        through.manifest("app", tag).await.expect_status(200);
    }
    for tag in ["b0", "b1", "b2"] {
        fake.trouble(absent(), by(tag.to_owned()));
    }
    advance(31).await;
    fake.trouble_times(10, Trouble::oci(500, "UNKNOWN", "broken"), by("v2".to_owned()));
    assert_eq!(through.referrers_reply("app", &image.digest).await.status, 502);
    fake.heal();
    advance(31).await;
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        [attestation.digest]
    );
}

#[tokio::test]
async fn an_empty_listing_is_not_believed_where_the_subject_is_not_shown() {
    for status in [500, 412, 451, 403] {
        let fake = lists_only(&[]).await;
        let image = fake.image("app", "v1", "image");
        let signature = signed(&fake, &image, ".sig");
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        fake.trouble(Trouble::oci(status, "DENIED", "not this one"), by(image.digest.clone()));
        let reply = through.referrers_reply("app", &image.digest).await;
        match status {
            500 => assert_eq!(reply.status, 502, "{reply:?}"),
            _ => {
                let listed = through.referrer_digests("app", &image.digest).await;
                // Without its subject it is listed as it is.
                assert_eq!(listed, [Pushed::of(IMAGE, &bare_image(".sig")).digest], "{status}");
            }
        }
        fake.heal();
        advance(31).await;
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [signature.digest], "{status}");
    }
}

/// What dangled once, and was not listed since, gets its second question when it is written again.
#[tokio::test]
async fn a_tag_that_was_missing_before_is_asked_for_again() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let signature = signed(&fake, &image, ".sig");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let tag = cosign_tag(&image, ".sig");
    fake.trouble(absent(), by(tag.clone()));
    assert_eq!(through.referrers("app", &image.digest).await, NONE);
    fake.heal();
    advance(601).await;
    fake.trouble_times(1, absent(), by(tag));
    assert_eq!(through.referrer_digests("app", &image.digest).await, [signature.digest]);
}

/// A new repository, which the registry does not list yet.
#[tokio::test]
async fn an_acknowledged_push_is_found_in_a_repository_that_lags() {
    for lags in [true, false] {
        let fake = lists_only(&[]).await;
        let unknown = Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry");
        fake.trouble(unknown, |seen| seen.path.contains("/tags/list"));
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        let mut image = Pushed::of(IMAGE, &bare_image("image"));
        for tag in ["0.1", "0.2", "0.3"] {
            image = through.push_image("app", tag, tag).await;
            fake.trouble(absent(), by(tag.to_owned()));
        }
        let pushed = through.push_artifact("app", &image, SPDX, "sbom").await;
        if lags {
            // Once, by HEAD and by GET.
            let read = |seen: &Seen| seen.path.contains("/manifests/sha256-") && seen.method != http::Method::PUT;
            fake.trouble_times(2, absent(), read);
        }
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [pushed.digest], "lags: {lags}");
    }
}

fn asks_computed(seen: &Seen) -> bool {
    seen.path.contains("/manifests/sha256-")
}

/// A cache answers HEADs of what it does not hold yet with 404, and fetches what it is asked for by GET.
#[tokio::test]
async fn that_a_computed_name_is_absent_is_not_believed_of_a_head() {
    let fake = lists_only(&["v1"]).await;
    let image = fake.image("app", "v1", "image");
    let signature = signed(&fake, &image, ".sig");
    fake.trouble(Trouble::answer(404, &[], ""), |seen| {
        asks_computed(seen) && seen.method == http::Method::HEAD
    });
    let refshim = front(&fake).await;
    let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
    assert_eq!(listed, [signature.digest]);
}

#[tokio::test]
async fn an_unsigned_image_hides_no_signature_of_another() {
    let fake = lists_only(&["v1"]).await;
    let unsigned = fake.image("app", "v1", "unsigned");
    let image = fake.image("app", "v2", "image");
    let signature = signed(&fake, &image, ".sig");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &unsigned.digest).await, NONE);
    for _ in 0..2 {
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [&*signature.digest]);
        advance(31).await;
    }
}

/// Where one repository of a registry lists less than there is, no number of unsigned images vouches for another.
#[tokio::test]
async fn no_listing_of_a_registry_with_a_cache_is_taken_for_whole() {
    let fake = lists_only(&["v1"]).await;
    let cached = fake.image("cache", "v1", "cached");
    let signature = fake.put("cache", &cosign_tag(&cached, ".sig"), IMAGE, &bare_image("first"));
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(
        through.referrer_digests("cache", &cached.digest).await,
        [signature.adopted_by_suffix(&cached, ".sig").digest]
    );
    for tag in ["v1", "v2", "v3", "v4"] {
        let unsigned = fake.image("app", tag, tag);
        assert_eq!(through.referrers("app", &unsigned.digest).await, NONE);
    }
    let image = fake.image("app", "v5", "image");
    let signature = signed(&fake, &image, ".sig");
    assert_eq!(through.referrer_digests("app", &image.digest).await, [signature.digest]);
}

/// Two names of each of three subjects, once an hour; of a fourth, none.
#[tokio::test]
async fn a_listing_is_tried_by_three_subjects() {
    let fake = Fake::start(Knobs::default()).await;
    let images: Vec<Pushed> = ["v1", "v2", "v3", "v4"].map(|tag| fake.image("app", tag, tag)).into();
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    for _ in 0..2 {
        through.referrers("app", &images[0].digest).await;
        advance(31).await;
    }
    assert_eq!(fake.count(asks_computed), 2, "once a subject");
    for image in &images[1..] {
        through.referrers("app", &image.digest).await;
    }
    assert_eq!(fake.count(asks_computed), 6);
    advance(3601).await;
    through.referrers("app", &images[3].digest).await;
    assert_eq!(fake.count(asks_computed), 8);
}

/// What was signed after the listing that is remembered is found, and the next listing shows that the registry lists it.
#[tokio::test]
async fn a_signature_younger_than_the_listing_makes_no_cache_of_a_registry() {
    let fake = Fake::start(Knobs::default()).await;
    let (unsigned, image) = (fake.image("app", "v1", "unsigned"), fake.image("app", "v2", "image"));
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &unsigned.digest).await, NONE);
    let signature = signed(&fake, &image, ".sig");
    let expected = std::slice::from_ref(&signature.digest);
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    advance(31).await;
    through.referrer_digests("app", &image.digest).await;
    advance(31).await;
    fake.take();
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    let cost = fake.take();
    assert_eq!(cost.len(), 2, "the listing, and a HEAD of the signature: {cost:?}");
}
