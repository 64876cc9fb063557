//! Promise: a repository with many tags on a registry that lists slowly is walked once. What is pushed then shows at once, and
//! whoever does not wait for the walk is told how far it is, which is not lost.

mod own_pages;
mod refreshing;
mod seeking;
mod sharing;

use crate::support::fake::knobs::{Knobs, Last, Order, TagPages};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, Seen, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A registry as GHCR is, but for ten names a page, with 64 tags.
pub(crate) async fn registry() -> (Fake, Vec<Pushed>) {
    registry_in(Order::OldestFirst).await
}

async fn registry_in(order: Order) -> (Fake, Vec<Pushed>) {
    let pages = TagPages {
        order,
        page: Some(10),
        greatest_n: Some(10),
        last: Last::Place { unknown_starts: false },
        ..TagPages::default()
    };
    let fake = Fake::start(Knobs {
        tags: Some(pages),
        ..Knobs::default()
    })
    .await;
    let images = (0..64).map(|n| fake.image("app", &format!("v{n:02}"), &format!("image {n}")));
    let images = images.collect();
    (fake, images)
}

/// The answer to `question`, for which the pages of the listing of [`registry`] must be asked for many at once: one does not answer at first,
/// beyond which a walk would not get. Whoever asks must not wait for it long.
pub(crate) async fn by_its_pages<T>(fake: &Fake, question: impl Future<Output = T>) -> T {
    const PAGES: usize = 7;
    fake.trouble(Trouble::Silence, |seen| seen.path.contains("last=v29"));
    fake.take();
    let later_page = eventually("a page behind it is asked for", async || {
        (fake.count(|seen| seen.path.contains("last=v49")) > 0).then(|| fake.heal())
    });
    let (answer, ()) = tokio::join!(question, later_page);
    // Two prove that these are all, and one had to be asked for again.
    let asked = fake.count(lists);
    assert!(asked <= PAGES + 2 + 1, "{asked}: {:#?}", fake.take());
    answer
}

fn lists(seen: &Seen) -> bool {
    seen.path.contains("/tags/list")
}

fn begins_a_listing(seen: &Seen) -> bool {
    lists(seen) && !seen.path.contains("last=") && !seen.path.ends_with("n=1")
}

#[tokio::test]
async fn a_push_costs_no_listing() {
    let (fake, images) = registry().await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .start()
        .await;
    let endpoint = refshim.endpoint();
    for image in &images[..4] {
        assert!(endpoint.referrers("app", &image.digest).await.is_empty());
    }
    assert_eq!(fake.count(begins_a_listing), 2, "walked, and the first page to be sure");
    let listed = fake.count(lists);
    for number in 0..3 {
        let image = &images[10 + number];
        let pushed = endpoint.attach("app", image, TYPE, "one").await;
        assert_eq!(endpoint.referrer_digests("app", &image.digest).await, [pushed.digest]);
        assert!(endpoint.referrers("app", &images[20 + number].digest).await.is_empty());
    }
    assert_eq!(fake.count(lists), listed, "{:#?}", fake.take());
}

#[tokio::test]
async fn what_is_pushed_and_deleted_straight_at_the_registry_shows_when_the_listing_is_no_longer_fresh() {
    let (fake, images) = registry().await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .start()
        .await;
    let endpoint = refshim.endpoint();
    for image in &images[..4] {
        endpoint.referrers("app", &image.digest).await;
    }
    let artifact = fake.tagged_artifact("app", &images[5], TYPE, "one");
    fake.take();
    assert_eq!(
        endpoint.referrer_digests("app", &images[5].digest).await,
        std::slice::from_ref(&artifact.digest)
    );
    let asked = fake.take();
    let pages = asked.iter().filter(|line| line.contains("/tags/list")).count();
    assert_eq!(pages, 7 + 2, "{asked:#?}");
    let tag = artifact.proposal_d_tag(&images[5], "sbom");
    fake.endpoint().delete(&format!("/v2/app/manifests/{tag}")).await;
    fake.endpoint()
        .delete(&format!("/v2/app/manifests/{}", artifact.digest))
        .await
        .expect_status(202);
    assert!(endpoint.referrers("app", &images[5].digest).await.is_empty());
}

#[tokio::test]
async fn whoever_does_not_wait_for_the_walk_is_told_how_far_it_is_and_the_walk_goes_on() {
    let (fake, images) = registry().await;
    let artifact = fake.tagged_artifact("app", &images[5], TYPE, "one");
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_LINKS__PATIENCE", "300ms")
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "500ms")
        .start()
        .await;
    fake.trouble(Trouble::Silence, |seen| seen.path.contains("last=v39"));
    let endpoint = refshim.endpoint();
    // On a busy machine the first who asks may be told of fewer.
    let reply = eventually("it is told how far the walk is", async || {
        let reply = endpoint.referrers_reply("app", &images[5].digest).await;
        (reply.status == 503 && reply.text().contains("40 so far")).then_some(reply)
    })
    .await;
    assert_eq!(reply.header("retry-after"), Some("5"), "{reply:?}");
    fake.heal();
    let listed = eventually("the list", async || {
        let reply = endpoint.referrers_reply("app", &images[5].digest).await;
        (reply.status == 200).then(|| reply.json())
    })
    .await;
    assert_eq!(listed["manifests"][0]["digest"], artifact.digest);
    let asked = fake.take();
    let went_on = asked.iter().position(|line| line.contains("last=v49")).unwrap();
    let begun = asked[..went_on].iter().filter(|line| line.contains("last=v09"));
    assert_eq!(begun.count(), 1, "{asked:#?}");
}

/// What was read before a walk was left may be long ago: all pages are asked for again.
#[tokio::test]
async fn what_is_pushed_onto_a_page_that_was_read_before_the_walk_was_left_is_seen() {
    let (fake, images) = registry_in(Order::Bytewise).await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .start()
        .await;
    fake.trouble(Trouble::oci(500, "UNKNOWN", "no"), |seen| {
        seen.path.contains("last=v39")
    });
    let endpoint = refshim.endpoint();
    let reply = endpoint.referrers_reply("app", &images[5].digest).await;
    assert_ne!(reply.status, 200);
    // Its tag comes before all others.
    let artifact = fake.tagged_artifact("app", &images[5], TYPE, "one");
    fake.heal();
    let listed = eventually("the list", async || {
        let reply = endpoint.referrers_reply("app", &images[5].digest).await;
        (reply.status == 200).then(|| reply.json())
    })
    .await;
    assert_eq!(listed["manifests"][0]["digest"], artifact.digest);
    let begun = fake.take().into_iter().filter(|line| line.contains("last=v09"));
    assert_eq!(begun.count(), 2, "walked once, and asked for again");
}

#[tokio::test]
async fn a_listing_that_is_asked_about_again_and_again_is_renewed_before_anybody_waits_for_it() {
    let (fake, images) = registry().await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_CACHE__FRESH_FOR", "2s")
        .env("REFSHIM_UPSTREAM__0__BACKGROUND_RATE", "100")
        .start()
        .await;
    for image in &images[..2] {
        refshim.endpoint().referrers("app", &image.digest).await;
    }
    let walked = fake.count(lists);
    eventually("it is asked for by its pages, twice", async || {
        (fake.count(lists) >= walked + 18).then_some(())
    })
    .await;
    assert_eq!(refshim.endpoint().referrers("app", &images[3].digest).await.len(), 0);
}

#[tokio::test]
async fn whoever_asks_after_a_push_joins_the_walk_that_began_before_it() {
    let (fake, images) = registry().await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_LINKS__PATIENCE", "300ms")
        .start()
        .await;
    fake.trouble(Trouble::Silence, |seen| seen.path.contains("last=v39"));
    let endpoint = refshim.endpoint();
    endpoint
        .referrers_reply("app", &images[0].digest)
        .await
        .expect_status(503);
    endpoint.attach("app", &images[1], TYPE, "one").await;
    endpoint
        .referrers_reply("app", &images[1].digest)
        .await
        .expect_status(503);
    assert_eq!(fake.count(begins_a_listing), 1, "{:#?}", fake.take());
}
