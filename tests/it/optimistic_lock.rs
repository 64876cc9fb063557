//! Promise: who keeps a referrers tag with others loses none of their entries where the registry checks conditions, and is not held up
//! where it checks them wrongly.

use crate::support::content::{IMAGE, artifact};
use crate::support::fake::knobs::{Conditions, Knobs, Pushes};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, Reply, Seen};
use futures_util::future::join_all;
use http::Method;

const REPOSITORY: &str = "team/app";
const SBOM: &str = "application/spdx+json";

struct Set {
    fake: Fake,
    image: Pushed,
}

async fn set(conditions: Conditions) -> Set {
    let pushes = Pushes {
        conditions,
        ..Pushes::default()
    };
    let fake = Fake::start(Knobs {
        pushes,
        ..Knobs::default()
    })
    .await;
    Set {
        image: fake.image(REPOSITORY, "v1", "image"),
        fake,
    }
}

impl Set {
    async fn refshim(&self) -> Refshim {
        Refshim::builder(&self.fake.url())
            .env("REFSHIM_WRITING__LINKS", "referrers-tag")
            .start()
            .await
    }

    async fn push(&self, refshim: &Refshim, name: &str) -> (Reply, String) {
        let sbom = Pushed::of(IMAGE, &artifact(&self.image, SBOM, name));
        let reply = refshim.endpoint().put_bytes(REPOSITORY, "", &sbom).await;
        (reply, sbom.digest)
    }

    fn writes_tag(&self) -> impl Fn(&Seen) -> bool + Send + use<> {
        let path = format!("/v2/{REPOSITORY}/manifests/{}", self.image.referrers_tag());
        move |seen| seen.method == Method::PUT && seen.path == path
    }

    /// The conditions of all writes of the tag so far, forgotten here.
    fn conditions(&self) -> Vec<String> {
        let is_write = self.writes_tag();
        let seen = self.fake.requests();
        self.fake.take();
        let condition = |seen: &Seen| {
            let header = |name| Some(format!("{name}: {}", seen.headers.get(name)?.to_str().ok()?));
            header("if-match")
                .or_else(|| header("if-none-match"))
                .unwrap_or_default()
        };
        seen.iter().filter(|seen| is_write(seen)).map(condition).collect()
    }

    async fn stored(&self) -> (Vec<String>, String) {
        let tag = self.image.referrers_tag();
        let stored = self.fake.endpoint().manifest(REPOSITORY, &tag).await.expect_status(200);
        let json = stored.json();
        let entries = json["manifests"].as_array().unwrap().iter();
        let mut digests: Vec<String> = entries
            .map(|entry| entry["digest"].as_str().unwrap().to_owned())
            .collect();
        digests.sort();
        (digests, stored.header("docker-content-digest").unwrap().to_owned())
    }
}

#[tokio::test]
async fn two_processes_that_write_one_tag_lose_nothing() {
    let set = set(Conditions::Checked).await;
    let refshims = [set.refshim().await, set.refshim().await];
    let names: Vec<String> = (0..24).map(|number| number.to_string()).collect();
    let pushes = names
        .iter()
        .enumerate()
        .map(|(number, name)| set.push(&refshims[number % 2], name));
    let mut pushed = Vec::new();
    for (reply, digest) in join_all(pushes).await {
        reply.expect_status(201);
        pushed.push(digest);
    }
    pushed.sort();
    assert_eq!(set.stored().await.0, pushed);
}

#[tokio::test]
async fn what_was_read_is_the_condition_of_a_write() {
    let set = set(Conditions::Checked).await;
    let refshim = set.refshim().await;
    set.push(&refshim, "one").await.0.expect_status(201);
    assert_eq!(set.conditions(), ["if-none-match: *"]);
    let before = format!("if-match: \"{}\"", set.stored().await.1);
    // Somebody was faster.
    set.fake.take();
    set.fake
        .trouble_times(1, Trouble::oci(412, "PRECONDITION", "moved"), set.writes_tag());
    let (reply, _) = set.push(&refshim, "two").await;
    reply.expect_status(201);
    assert_eq!(set.conditions(), [&*before, &*before]);
    assert_eq!(set.stored().await.0.len(), 2);
}

/// The registry's `ETag` is another than what its conditions compare.
#[tokio::test]
async fn conditions_that_fail_over_unchanged_content_are_left_out() {
    let set = set(Conditions::Fail).await;
    let refshim = set.refshim().await;
    set.push(&refshim, "one").await.0.expect_status(201);
    assert_eq!(set.conditions(), ["if-none-match: *", "if-none-match: *", ""]);
    set.push(&refshim, "two").await.0.expect_status(201);
    assert_eq!(set.conditions(), [""], "learned");
    assert_eq!(set.stored().await.0.len(), 2);
}

/// Harbor answers 412 for an immutable tag, whatever the condition.
#[tokio::test]
async fn a_tag_that_is_locked_with_412_is_no_lost_race() {
    let set = set(Conditions::Ignored).await;
    let refshim = set.refshim().await;
    set.fake.trouble(
        Trouble::oci(412, "PRECONDITION", "configured as immutable"),
        set.writes_tag(),
    );
    let (refused, _) = set.push(&refshim, "one").await;
    let message = refused.expect_status(412).text();
    assert!(message.contains("configured as immutable"), "{message}");
    set.fake.heal();
    set.conditions();
    set.push(&refshim, "two").await.0.expect_status(201);
    assert_eq!(
        set.conditions(),
        ["if-none-match: *"],
        "nothing was learned of conditions"
    );
}
