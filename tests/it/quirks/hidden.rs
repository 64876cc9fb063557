//! Manifests that the registry hides from one caller, behind a 404 that says that they are unknown, although it lists the same tags to
//! everybody: whoever is given them hears nothing of that.

use futures_util::future::join_all;

use super::SPDX;
use crate::support::content::{IMAGE, INDEX, SIGNATURE, bare_image, index};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, eventually};

const BARRED: &str = "Bearer barred";
const READER: &str = "Bearer reads";

/// How a referrer is linked: what that stores beside the image, and the end of the path that is hidden with it.
type Linked = fn(&Fake, &Pushed) -> (Pushed, String);

fn by_proposal_d(fake: &Fake, image: &Pushed) -> (Pushed, String) {
    let referrer = fake.tagged_artifact("app", image, SPDX, "sbom");
    let tag = referrer.proposal_d_tag(image, "sbom");
    (referrer, tag)
}

fn by_cosigns_tag(fake: &Fake, image: &Pushed) -> (Pushed, String) {
    let tag = format!("{}.sig", image.referrers_tag());
    let signature = fake.put("app", &tag, IMAGE, &bare_image("signature"));
    (signature.adopted(image, Some(SIGNATURE)), tag)
}

fn behind_an_ordinary_tag(fake: &Fake, image: &Pushed) -> (Pushed, String) {
    (fake.artifact("app", "zz", image, SPDX, "sbom"), "/zz".to_owned())
}

fn in_an_index(fake: &Fake, tag: &str, image: &Pushed) -> (Pushed, String) {
    let referrer = fake.artifact("app", "", image, SPDX, "sbom");
    let mut listed = referrer.descriptor();
    listed["artifactType"] = SPDX.into();
    fake.put("app", tag, INDEX, &index([listed]));
    let hidden = referrer.digest.clone();
    (referrer, hidden)
}

fn by_the_referrers_tag(fake: &Fake, image: &Pushed) -> (Pushed, String) {
    in_an_index(fake, &image.referrers_tag(), image)
}

fn in_an_index_behind_an_ordinary_tag(fake: &Fake, image: &Pushed) -> (Pushed, String) {
    in_an_index(fake, "bundle", image)
}

#[tokio::test]
async fn what_is_hidden_from_one_caller_is_listed_to_the_next() {
    let ways: [(&str, Linked); 5] = [
        ("Proposal D", by_proposal_d),
        ("cosign's tag", by_cosigns_tag),
        ("an ordinary tag", behind_an_ordinary_tag),
        ("the referrers tag", by_the_referrers_tag),
        ("an index", in_an_index_behind_an_ordinary_tag),
    ];
    join_all(ways.map(|(way, linked)| expect_hidden_from_one_alone(way, linked))).await;
}

async fn expect_hidden_from_one_alone(way: &str, linked: Linked) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let (referrer, tag) = linked(&fake, &image);
    let digest = referrer.digest.clone();
    fake.trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"), move |seen| {
        let is_hidden = [&tag, &digest].iter().any(|end| seen.path.ends_with(*end));
        seen.authorization() == Some(BARRED) && seen.path.contains("/manifests/") && is_hidden
    });
    let refshim = Refshim::builder(&fake.url()).env("REFSHIM_CACHE__FRESH_FOR", "2s");
    let refshim = refshim.start().await;
    let through = |authorization| refshim.endpoint().authorization(authorization);
    let (barred, reader) = (through(BARRED), through(READER));
    // For a while it may only lag.
    eventually("the barred caller's list is remembered", async || {
        let told = barred.referrers_reply("app", &image.digest).await.expect_status(200);
        assert!(!told.text().contains(&referrer.digest), "{way}: {told:?}");
        told.header("age").map(drop)
    })
    .await;
    let listed = reader.referrer_digests("app", &image.digest).await;
    assert_eq!(listed, [&*referrer.digest], "{way}");
}
