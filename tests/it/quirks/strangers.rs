//! What the registry does not show to one caller, it may show to another: nobody is told less because somebody else asked first.

use serde_json::json;

use super::{SPDX, asks_native};
use crate::support::fake::knobs::{Knobs, Native, Referrers};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Local, Pushed, Seen};

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
async fn a_page_that_forbids_the_api_to_nobody_in_particular_forbids_it_to_no_one_else() {
    let fake = Fake::start(with_api()).await;
    let image = fake.image("app", "v1", "image");
    let referrer = fake.artifact("app", "", &image, SPDX, "sbom");
    fake.trouble(Trouble::html(403), |seen| {
        asks_native(seen) && seen.authorization().is_none()
    });
    let (refshim, _, reader) = callers(&fake).await;
    let anonymous = refshim.endpoint();
    for asked in [2, 0] {
        fake.take();
        assert!(anonymous.referrer_digests("app", &image.digest).await.is_empty());
        assert_eq!(fake.count(asks_native), asked);
    }
    let listed = reader.referrer_digests("app", &image.digest).await;
    assert_eq!(listed, [referrer.digest]);
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
