//! Listings that say less than there is: because they lag, because they are a cache's, or because the caller may not have them.

use std::collections::BTreeSet;

use refshim::testing::config::ListingKind;
use serde_json::Value;

use super::SPDX;
use super::fixtures::{INSIDER, by_names, front, lists, lists_as_insider, only};
use crate::support::content::{IMAGE, INDEX, bare_image, index};
use crate::support::fake::knobs::{Delete, Knobs, Native, Referrers, Rights, Shown};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Local, Pushed, Seen, advance};

fn lists_tags(seen: &Seen) -> bool {
    seen.path.contains("/tags/list")
}

fn signature(fake: &Fake, image: &Pushed, suffix: &str) -> Pushed {
    let tag = format!("sha256-{}{suffix}", image.hex());
    let stored = fake.put("app", &tag, IMAGE, &bare_image(suffix));
    stored.adopted_by_suffix(image, suffix)
}

/// What refshim acknowledged is found, though the registry's listing does not have it yet, or not even the repository.
#[tokio::test]
async fn what_was_pushed_is_found_before_a_listing_shows_it() {
    for unknown in [false, true] {
        let fake = Fake::start(Knobs {
            tags: lists(only(&[], false)),
            ..Knobs::default()
        })
        .await;
        if unknown {
            let trouble = Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry");
            fake.trouble(trouble, lists_tags);
        }
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        let image = through.push_image("app", "v1", "image").await;
        assert_eq!(
            through.referrers("app", &image.digest).await,
            [] as [Value; 0],
            "{unknown}"
        );
        let pushed = through.push_artifact("app", &image, SPDX, "sbom").await;
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            [&*pushed.digest],
            "{unknown}"
        );
        let signature = Pushed::of(IMAGE, &bare_image("signature"));
        let tag = format!("sha256-{}.sig", image.hex());
        through.put_bytes("app", &tag, &signature).await.expect_status(201);
        assert_eq!(through.referrers("app", &image.digest).await.len(), 2, "{unknown}");
        // Long after, the registry is asked for it by name.
        advance(300).await;
        assert_eq!(through.referrers("app", &image.digest).await.len(), 2, "{unknown}");
    }
}

#[tokio::test]
async fn what_was_pushed_and_deleted_straight_is_not_asked_for_again_and_again() {
    let fake = Fake::start(Knobs {
        tags: lists(Shown::All),
        delete: Delete::TagToo,
        ..Knobs::default()
    })
    .await;
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let signature = Pushed::of(IMAGE, &bare_image("signature"));
    let tag = format!("sha256-{}.sig", image.hex());
    through.put_bytes("app", &tag, &signature).await.expect_status(201);
    let path = format!("/v2/app/manifests/{tag}");
    fake.endpoint().delete(&path).await.expect_status(202);
    advance(60).await;
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    let of_tag = |seen: &Seen| seen.path.ends_with(&tag) && seen.method == http::Method::GET;
    assert!(fake.count(of_tag) >= 1);
    for _ in 0..3 {
        advance(60).await;
        assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    }
    // Once for whoever is known to be let read, before that perhaps once more, and once as a name that the listing may lack.
    assert!(fake.count(of_tag) <= 3, "{}", fake.count(of_tag));
}

/// Whoever is shown no repository is shown no push to it.
#[tokio::test]
async fn what_was_pushed_to_a_hidden_repository_stays_hidden() {
    let fake = Fake::start(Knobs {
        tags: lists(Shown::All),
        rights: Rights {
            insider: Some(INSIDER),
            hidden: true,
            ..Rights::default()
        },
        ..Knobs::default()
    })
    .await;
    let refshim = front(&fake).await;
    let insider = refshim.endpoint().authorization(INSIDER);
    let image = insider.push_image("app", "v1", "image").await;
    let pushed = insider.push_artifact("app", &image, SPDX, "sbom").await;
    assert_eq!(insider.referrer_digests("app", &image.digest).await, [pushed.digest]);
    let stranger = refshim.endpoint();
    assert_eq!(stranger.referrers("app", &image.digest).await, [] as [Value; 0]);
}

/// Registries lag with manifests, too: a tag that is listed should be there.
#[tokio::test]
async fn a_listed_tag_without_its_manifest_is_asked_for_again() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SPDX, "sbom");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let absent = || Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown");
    fake.trouble_times(1, absent(), |seen| seen.path.contains("/manifests/sha256-"));
    assert_eq!(through.referrer_digests("app", &image.digest).await, [&*sbom.digest]);

    // A none that rests on it is not remembered, until it has been so for as long as answers are fresh.
    let other = fake.image("app", "v2", "other");
    let late = fake.tagged_artifact("app", &other, SPDX, "late");
    advance(31).await;
    fake.trouble(absent(), |seen| seen.path.contains("/manifests/sha256-"));
    assert_eq!(through.referrers("app", &other.digest).await, [] as [Value; 0]);
    fake.heal();
    assert_eq!(through.referrer_digests("app", &other.digest).await, [late.digest]);
}

/// A proxy cache that lists what it holds: names are asked for where that was seen, or in the first question to a repository.
#[tokio::test]
async fn a_listing_that_lacks_what_is_there_is_looked_behind() {
    for known_by in [
        "the first question",
        "a tag that was pulled",
        "an empty listing",
        "configuration",
    ] {
        let shown = match known_by {
            "an empty listing" => only(&[], false),
            _ => only(&["v1"], false),
        };
        let fake = Fake::start(Knobs {
            tags: lists(shown),
            ..Knobs::default()
        })
        .await;
        let image = fake.image("app", "v1", "image");
        fake.image("app", "hidden", "hidden");
        let other = fake.image("app", "v2", "other");
        let refshim = Local::configured(&fake.url(), |config| {
            by_names(config);
            if known_by == "configuration" {
                config.upstreams[0].listing = ListingKind::Partial;
            }
        })
        .await;
        let through = refshim.endpoint();
        let mut expected = Vec::new();
        if known_by == "the first question" {
            expected.push(signature(&fake, &image, ".sig").digest);
        } else {
            assert_eq!(
                through.referrers("app", &image.digest).await,
                [] as [Value; 0],
                "{known_by}"
            );
        }
        if known_by == "a tag that was pulled" {
            through.manifest("app", "hidden").await.expect_status(200);
        }
        advance(31).await;
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            expected,
            "{known_by}"
        );
        // From now on, of every subject.
        let listed = fake.artifact("app", "", &other, SPDX, "listed");
        fake.put("app", &other.referrers_tag(), INDEX, &index([listed.descriptor()]));
        let attestation = signature(&fake, &other, ".att");
        let mut expected = vec![listed.digest, attestation.digest];
        expected.sort();
        assert_eq!(
            through.referrer_digests("app", &other.digest).await,
            expected,
            "{known_by}"
        );
    }
}

/// GitLab gives the subject by a tag that is named after it and is nowhere: that hides nothing.
#[tokio::test]
async fn a_tag_that_is_the_subject_itself_hides_nothing() {
    let fake = Fake::start(profiles::gitlab()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    through.manifest("app", &image.referrers_tag()).await;
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    advance(31).await;
    fake.take();
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    assert_eq!(fake.take().len(), 1, "the listing alone");
}

#[tokio::test]
async fn a_listing_that_is_whole_costs_nothing_more() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    through.manifest("app", "v1").await.expect_status(200);
    through.referrers("app", &image.digest).await;
    advance(31).await;
    fake.take();
    through.referrers("app", &image.digest).await;
    assert_eq!(fake.take().len(), 1, "the listing alone");
}

fn without_listing(status: u16, referrers: Referrers) -> Knobs {
    Knobs {
        tags: lists(Shown::All),
        referrers,
        rights: Rights {
            insider: Some(INSIDER),
            listing: Some(status),
            ..Rights::default()
        },
        ..Knobs::default()
    }
}

/// ACR's tokens with `pull` alone, ECR's pull-only policy.
#[tokio::test]
async fn who_may_not_list_gets_what_the_registry_itself_lists() {
    for status in [401, 403] {
        let fake = Fake::start(without_listing(status, Referrers::Native(Native::default()))).await;
        let image = fake.image("app", "v1", "image");
        let referrer = fake.artifact("app", "", &image, SPDX, "referrer");
        let signature = signature(&fake, &image, ".sig");
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        let expected = BTreeSet::from([referrer.digest, signature.digest]);
        let listed = through.referrer_digests("app", &image.digest).await;
        assert_eq!(BTreeSet::from_iter(listed), expected, "{status}");
        // Whoever may not pull either is refused, now that it is known.
        fake.turn(|knobs| knobs.rights.pulling = Some(status));
        let stranger = through.basic("stranger", "x");
        let refused = stranger.referrers_reply("app", &image.digest).await;
        assert_eq!(refused.status, status, "{refused:?}");
    }
}

#[tokio::test]
async fn who_may_not_list_is_told_so_where_nothing_else_lists() {
    for status in [401, 403] {
        let fake = Fake::start(without_listing(status, Referrers::PageNotFound)).await;
        let image = fake.image("app", "v1", "image");
        fake.tagged_artifact("app", &image, SPDX, "sbom");
        let refshim = front(&fake).await;
        let refused = refshim.endpoint().referrers_reply("app", &image.digest).await;
        assert_eq!(refused.status, status, "{refused:?}");
    }
}

/// `links.credentials`: an account lists, and every caller's own right to read is asked all the same.
#[tokio::test]
async fn an_account_lists_for_those_who_may_not() {
    let fake = Fake::start(without_listing(403, Referrers::PageNotFound)).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SPDX, "sbom");
    let challenge = [("www-authenticate", "Basic realm=\"registry\"")];
    fake.trouble(Trouble::answer(401, &challenge, ""), |seen| seen.path == "/v2/");
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "password").unwrap();
    let refshim = Local::configured(&fake.url(), |config| {
        by_names(config);
        lists_as_insider(config, password.path());
    })
    .await;
    let through = refshim.endpoint();
    assert_eq!(through.referrer_digests("app", &image.digest).await, [&*sbom.digest]);
    // The list of tags stays the registry's to give.
    assert_eq!(through.get("/v2/app/tags/list").await.status, 403);
    fake.turn(|knobs| knobs.rights.pulling = Some(403));
    let stranger = through.clone().basic("stranger", "x");
    assert_eq!(stranger.referrers_reply("app", &image.digest).await.status, 403);
}
