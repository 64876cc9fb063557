//! Large repositories that are listed take nothing from each other, and nothing from anybody else.

use super::{TYPE, begins_a_listing, lists, registry};
use crate::support::fake::knobs::Referrers;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, eventually};

const LARGE: usize = 20;

/// Twenty repositories of 64 tags beside `app`, on pages of ten.
async fn registries() -> (Fake, Vec<Pushed>) {
    let (fake, images) = registry().await;
    for number in 0..LARGE {
        for tag in 0..64 {
            fake.image(&format!("big/{number}"), &format!("v{tag:02}"), &format!("image {tag}"));
        }
    }
    (fake, images)
}

#[tokio::test]
async fn twenty_walks_at_once_keep_nobody_else_waiting() {
    let (fake, images) = registries().await;
    fake.image("small", "v1", "image 1");
    let artifact = fake.tagged_artifact("small", &images[1], TYPE, "one");
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_LINKS__PATIENCE", "1h")
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1h")
        .start()
        .await;
    let is_half_way = |path: &str| path.starts_with("/v2/big/") && path.contains("last=v39");
    fake.trouble(Trouble::Silence, move |seen| is_half_way(&seen.path));
    let questions: Vec<_> = (0..LARGE)
        .map(|number| {
            let (endpoint, digest) = (refshim.endpoint(), images[5].digest.clone());
            tokio::spawn(async move { endpoint.try_get(&format!("/v2/big/{number}/referrers/{digest}")).await })
        })
        .collect();
    eventually("all are half-way", async || {
        (fake.count(|seen| is_half_way(&seen.path)) == LARGE).then_some(())
    })
    .await;
    let endpoint = refshim.endpoint();
    assert_eq!(
        endpoint.referrer_digests("small", &images[1].digest).await,
        [artifact.digest]
    );
    let alice = endpoint.clone().basic("alice", "a");
    assert_eq!(alice.referrers("small", &images[1].digest).await.len(), 1);
    for repository in ["small", "big/0"] {
        endpoint.manifest(repository, "v01").await;
        let tags = format!("/v2/{repository}/tags/list?n=10");
        endpoint.get(&tags).await.expect_status(200);
    }
    questions.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Where nobody knows yet whether the registry has an API of its own, that it still lists is seen from the first page.
#[tokio::test]
async fn a_registry_that_only_says_that_nothing_is_there_is_not_listed_anew_for_each_of_the_first_subjects() {
    let (fake, images) = registry().await;
    fake.turn(|knobs| knobs.referrers = Referrers::ManifestUnknown);
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .start()
        .await;
    let endpoint = refshim.endpoint();
    endpoint.referrers("app", &images[0].digest).await;
    let walked = fake.count(lists);
    for image in &images[1..4] {
        assert!(endpoint.referrers("app", &image.digest).await.is_empty());
    }
    assert!(fake.count(lists) <= walked + 3, "{:#?}", fake.take());
    assert!(fake.count(begins_a_listing) <= 2 + 3);
}
