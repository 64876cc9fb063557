//! What the registry does not show to one caller, it may show to another: nobody is told less because somebody else asked first.

use refshim::testing::config::Depth;
use refshim::testing::oci::LinkSource;
use serde_json::json;

use super::{SPDX, asks_native};
use crate::support::fake::knobs::{Knobs, Last, Native, Order, Referrers, TagPages};
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Local, Pushed, Seen};

const STRANGER: &str = "Bearer stranger";
const READER: &str = "Bearer reader";

fn is_strangers(seen: &Seen) -> bool {
    seen.authorization() == Some(STRANGER)
}

fn hide_manifests(fake: &Fake) {
    fake.trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"), |seen| {
        is_strangers(seen) && seen.path.contains("/manifests/")
    });
}

fn list_nothing(fake: &Fake) {
    let empty = json!({"name": "app", "tags": []}).to_string();
    let json = [("content-type", "application/json")];
    fake.trouble(Trouble::answer(200, &json, empty), |seen| {
        is_strangers(seen) && seen.path.contains("/tags/list")
    });
}

fn with_api() -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native::default()),
        ..Knobs::default()
    }
}

async fn callers(fake: &Fake) -> (Local, Endpoint, Endpoint) {
    let refshim = Local::configured(&fake.url(), |_| ()).await;
    let through = |authorization| refshim.endpoint().authorization(authorization);
    let (stranger, reader) = (through(STRANGER), through(READER));
    (refshim, stranger, reader)
}

/// Asked by the stranger, then by the reader, of whom the first learns nothing and the second everything.
async fn expect_hidden_from_the_stranger_alone(fake: &Fake, image: &Pushed, referrer: &Pushed) {
    let (_refshim, stranger, reader) = callers(fake).await;
    let told = stranger.referrers_reply("app", &image.digest).await;
    assert!(!told.text().contains(&referrer.digest), "{told:?}");
    let listed = reader.referrer_digests("app", &image.digest).await;
    assert_eq!(listed, [&*referrer.digest]);
}

#[tokio::test]
async fn a_strangers_empty_listing_is_nobody_elses() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
    hide_manifests(&fake);
    list_nothing(&fake);
    expect_hidden_from_the_stranger_alone(&fake, &image, &referrer).await;
}

#[tokio::test]
async fn manifests_that_are_hidden_from_a_stranger_are_there() {
    for (knobs, tag) in [(with_api(), ""), (Knobs::default(), "zz")] {
        let fake = Fake::start(knobs).await;
        let image = fake.image("app", "v1", "image");
        let referrer = fake.artifact("app", tag, &image, SPDX, "sbom");
        hide_manifests(&fake);
        expect_hidden_from_the_stranger_alone(&fake, &image, &referrer).await;
    }
}

#[tokio::test]
async fn an_api_that_is_missing_to_one_is_missing_to_no_one_else() {
    for stranger in [None, Some(STRANGER)] {
        for trouble in [
            Trouble::html(403),
            Trouble::answer(404, &[("content-type", "text/plain")], "404 page not found\n"),
            Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        ] {
            let name = format!("{stranger:?} {trouble:?}");
            let fake = Fake::start(with_api()).await;
            let image = fake.image("app", "v1", "image");
            let referrer = fake.artifact("app", "", &image, SPDX, "sbom");
            fake.trouble(trouble, move |seen| {
                asks_native(seen) && seen.authorization() == stranger
            });
            let (refshim, by_name, reader) = callers(&fake).await;
            let stranger = match stranger {
                Some(_) => by_name,
                None => refshim.endpoint(),
            };
            for asked in [2, 0] {
                fake.take();
                assert!(
                    stranger.referrer_digests("app", &image.digest).await.is_empty(),
                    "{name}"
                );
                assert_eq!(fake.count(asks_native), asked, "{name}");
            }
            let listed = reader.referrer_digests("app", &image.digest).await;
            assert_eq!(listed, [referrer.digest], "{name}");
        }
    }
}

/// Some registries list to each credential only what it may see.
#[tokio::test]
async fn a_listing_that_shows_a_stranger_less_is_nobody_elses() {
    for (depth, tag) in [(Depth::Names, ""), (Depth::Manifests, "zz")] {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let referrer = match tag {
            "" => fake.tagged_artifact("app", &image, SPDX, "sbom"),
            tag => fake.artifact("app", tag, &image, SPDX, "sbom"),
        };
        list_only_v1(&fake);
        let refshim = Local::configured(&fake.url(), |config| config.links.depth = depth).await;
        let (stranger, reader) = (
            refshim.endpoint().authorization(STRANGER),
            refshim.endpoint().authorization(READER),
        );
        for round in 0..2 {
            let listed = reader_after(&stranger, &reader, &image).await;
            assert_eq!(listed, [&*referrer.digest], "{depth:?} {round}");
        }
        let tags = stranger.get("/v2/app/tags/list").await.expect_status(200).json();
        assert_eq!(tags["tags"], json!(["v1"]), "{depth:?}");
    }
}

fn list_only_v1(fake: &Fake) {
    let one = json!({"name": "app", "tags": ["v1"]}).to_string();
    fake.trouble(
        Trouble::answer(200, &[("content-type", "application/json")], one),
        |seen| is_strangers(seen) && seen.path.contains("/tags/list"),
    );
}

async fn reader_after(stranger: &Endpoint, reader: &Endpoint, image: &Pushed) -> Vec<String> {
    stranger.referrers_reply("app", &image.digest).await.expect_status(200);
    reader.referrer_digests("app", &image.digest).await
}

/// What a listing lacks is not told by who was refused it once, for whatever reason.
#[tokio::test]
async fn a_first_page_that_is_refused_once_does_not_make_a_strangers_listing_the_readers() {
    for refusal in [
        Trouble::html(403),
        Trouble::oci(401, "UNAUTHORIZED", "no"),
        Trouble::oci(404, "DENIED", "no"),
        Trouble::oci(405, "UNSUPPORTED", "no"),
        Trouble::oci(451, "DENIED", "no"),
    ] {
        let name = format!("{refusal:?}");
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
        list_only_v1(&fake);
        let refshim = Local::configured(&fake.url(), |config| {
            config.links.sources.remove(&LinkSource::Native);
        })
        .await;
        let through = |authorization| refshim.endpoint().authorization(authorization);
        fake.trouble_times(1, refusal, |seen| !is_strangers(seen) && lists_tags(seen));
        let listed = reader_after(&through(STRANGER), &through(READER), &image).await;
        assert_eq!(listed, [&*referrer.digest], "{name}");
    }
}

/// Both at once, so that they share one search.
#[tokio::test]
async fn a_search_that_a_stranger_leads_is_not_the_readers() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
    list_only_v1(&fake);
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let gate = link.hold(|seen| is_strangers(seen) && seen.path.contains("/tags/list"));
    let refshim = Local::configured(link.url(), |_| ()).await;
    let ask = |authorization| {
        let (endpoint, digest) = (refshim.endpoint().authorization(authorization), image.digest.clone());
        tokio::spawn(async move { endpoint.referrer_digests("app", &digest).await })
    };
    let stranger = ask(STRANGER);
    gate.reached_by(1).await;
    let reader = ask(READER);
    // Meanwhile the reader's question most probably joins the search.
    refshim.endpoint().get("/v2/").await.expect_status(200);
    gate.open();
    assert_eq!(reader.await.unwrap(), [referrer.digest]);
    stranger.await.unwrap();
}

/// Hundreds of callers with tokens of their own do not each read all pages.
#[tokio::test]
async fn whoever_is_listed_the_same_first_page_reads_no_others() {
    let fake = Fake::start(in_pages()).await;
    let image = fake.image("app", "v1", "image");
    let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
    let refshim = Local::configured(&fake.url(), |config| config.links.depth = Depth::Names).await;
    push_tags(&fake, 30);
    for number in 0..5 {
        fake.take();
        let caller = refshim.endpoint().authorization(&format!("Bearer {number}"));
        let listed = caller.referrer_digests("app", &image.digest).await;
        assert_eq!(listed, [&*referrer.digest]);
        if number > 2 {
            assert_eq!(fake.count(lists_tags), 1, "{number}");
        }
        fake.take();
        caller.referrer_digests("app", &image.digest).await;
        assert_eq!(fake.count(|_| true), 0, "{number}");
    }
}

/// Those who wait for a listing that turns out to be refused to whoever reads it wait for the next who reads it.
#[tokio::test]
async fn a_listing_that_is_refused_to_one_is_read_once_for_all_others() {
    let fake = Fake::start(in_pages()).await;
    fake.image("app", "v1", "image");
    push_tags(&fake, 30);
    fake.trouble(Trouble::oci(403, "DENIED", "denied"), |seen| {
        is_strangers(seen) && lists_tags(seen)
    });
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let gate = link.hold(|seen| is_strangers(seen) && lists_tags(seen));
    let refshim = Local::configured(link.url(), |_| ()).await;
    let ask = |authorization: &str| {
        let endpoint = refshim.endpoint().authorization(authorization);
        tokio::spawn(async move { endpoint.get("/v2/app/tags/list").await.status })
    };
    let stranger = ask(STRANGER);
    gate.reached_by(1).await;
    let readers: Vec<_> = (0..8).map(|_| ask(READER)).collect();
    // Meanwhile their questions most probably wait for the listing.
    refshim.endpoint().get("/v2/").await.expect_status(200);
    gate.open();
    assert_eq!(stranger.await.unwrap(), 403);
    for reader in readers {
        assert_eq!(reader.await.unwrap(), 200);
    }
    let pages = fake.count(|seen| !is_strangers(seen) && lists_tags(seen));
    assert!(pages <= 8, "{pages}");
}

/// Pages of ten, by `Link`.
fn in_pages() -> Knobs {
    Knobs {
        tags: Some(TagPages {
            greatest_n: Some(10),
            order: Order::OldestFirst,
            last: Last::Token,
            ..TagPages::default()
        }),
        ..Knobs::default()
    }
}

fn push_tags(fake: &Fake, count: usize) {
    for number in 0..count {
        fake.image("app", &format!("build-{number}"), "image");
    }
}

fn lists_tags(seen: &Seen) -> bool {
    seen.path.contains("/tags/list")
}

#[tokio::test]
async fn a_stranger_is_not_listed_what_others_pushed() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    hide_manifests(&fake);
    list_nothing(&fake);
    let (_refshim, stranger, reader) = callers(&fake).await;
    reader.push_artifact("app", &image, SPDX, "pushed").await;
    let listed = stranger.get("/v2/app/tags/list").await.expect_status(200);
    assert_eq!(listed.json()["tags"], json!([]));
}
