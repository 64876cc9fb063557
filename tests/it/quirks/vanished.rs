//! Names that a listing had and the next one lacks, because they moved while its pages were read: no none rests on that.

use refshim::testing::config::{Config, Depth};
use serde_json::Value;

use super::SPDX;
use super::fixtures::{by_names, lists};
use crate::support::fake::knobs::{Delete, Knobs, Shown};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Local, Pushed, advance};

/// An image with an artifact, which a listing can be made to lack.
struct Signed {
    fake: Fake,
    image: Pushed,
    artifact: Pushed,
    tag: String,
    refshim: Local,
}

impl Signed {
    async fn start(config: impl FnOnce(&mut Config)) -> Self {
        let fake = Fake::start(Knobs {
            tags: lists(Shown::All),
            delete: Delete::TagToo,
            ..Knobs::default()
        })
        .await;
        let image = fake.image("app", "v1", "image");
        let artifact = fake.tagged_artifact("app", &image, SPDX, "sbom");
        let tag = artifact.proposal_d_tag(&image, "sbom");
        let refshim = Local::configured(&fake.url(), config).await;
        Self {
            fake,
            image,
            artifact,
            tag,
            refshim,
        }
    }

    /// The registry lists it no longer, and refshim lists anew with the next question.
    async fn vanishes(&self, tag: &str) {
        let hidden = Shown::Except([tag.to_owned()].into());
        self.fake.turn(|knobs| knobs.tags = lists(hidden));
        advance(60).await;
    }

    async fn is_found(&self) {
        let found = self
            .refshim
            .endpoint()
            .referrer_digests("app", &self.image.digest)
            .await;
        assert_eq!(found, [&*self.artifact.digest]);
    }
}

/// What a listing had and the next one lacks is asked for by name, as long as the registry gives it.
#[tokio::test]
async fn what_vanishes_from_the_listing_is_found_until_the_registry_says_that_it_is_gone() {
    let signed = Signed::start(by_names).await;
    signed.is_found().await;
    for _ in 0..3 {
        signed.vanishes(&signed.tag).await;
        signed.is_found().await;
    }
    let path = format!("/v2/app/manifests/{}", signed.tag);
    signed.fake.endpoint().delete(&path).await.expect_status(202);
    signed.fake.take();
    for _ in 0..3 {
        advance(60).await;
        let through = signed.refshim.endpoint();
        assert_eq!(through.referrers("app", &signed.image.digest).await, [] as [Value; 0]);
    }
    let asked = signed.fake.take().into_iter().filter(|line| line.contains(&signed.tag));
    assert!(asked.count() <= 2, "asked once, by HEAD and GET");
}

/// A deletion says nothing of what was pushed again later.
#[tokio::test]
async fn what_came_back_after_a_deletion_and_vanishes_from_the_listing_is_found() {
    let signed = Signed::start(by_names).await;
    let path = format!("/v2/app/manifests/{}", signed.tag);
    signed.refshim.endpoint().delete(&path).await.expect_status(202);
    advance(60).await;
    signed.fake.put_pushed("app", &signed.tag, &signed.artifact);
    signed.is_found().await;
    signed.vanishes(&signed.tag).await;
    signed.is_found().await;
}

/// To the credential to which it was listed, that is no absence.
#[tokio::test]
async fn what_vanishes_from_the_listing_and_is_refused_is_no_none() {
    for (status, code) in [(401, "UNAUTHORIZED"), (403, "DENIED")] {
        let signed = Signed::start(by_names).await;
        signed.is_found().await;
        let tag = signed.tag.clone();
        let refused = Trouble::oci(status, code, "not for you");
        signed.fake.trouble(refused, move |seen| seen.path.contains(&tag));
        for _ in 0..3 {
            signed.vanishes(&signed.tag).await;
            let through = signed.refshim.endpoint();
            let reply = through.referrers_reply("app", &signed.image.digest).await;
            assert!(
                reply.status >= 400 || reply.text().contains(&signed.artifact.digest),
                "{status}: {reply:?}"
            );
        }
    }
}

/// An ordinary tag behind which there were links is asked for likewise.
#[tokio::test]
async fn an_ordinary_tag_that_vanishes_from_the_listing_is_read_behind() {
    let signed = Signed::start(|config| {
        by_names(config);
        config.links.depth = Depth::Manifests;
    })
    .await;
    let link = format!("/v2/app/manifests/{}", signed.tag);
    signed.fake.endpoint().delete(&link).await.expect_status(202);
    signed.fake.put_pushed("app", "mine", &signed.artifact);
    signed.is_found().await;
    for _ in 0..3 {
        signed.vanishes("mine").await;
        signed.is_found().await;
    }
    let path = "/v2/app/manifests/mine";
    signed.fake.endpoint().delete(path).await.expect_status(202);
    advance(60).await;
    let through = signed.refshim.endpoint();
    assert_eq!(through.referrers("app", &signed.image.digest).await, [] as [Value; 0]);
}
