//! What the registry withholds from one caller behind an ordinary tag is that caller's loss alone, and for that answer alone.

use serde_json::json;

use super::counted;
use super::depth::{SBOM, refreshing};
use crate::support::content::{BUILDKIT, INDEX, index};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, Seen};

const BARRED: &str = "Bearer barred";
const READER: &str = "Bearer reads";
/// How registries say that a policy, or a right, keeps somebody from a manifest.
const WITHHELD: [(u16, &str); 5] = [
    (412, "PROJECTPOLICYVIOLATION"),
    (451, "DENIED"),
    (401, "UNAUTHORIZED"),
    (403, "DENIED"),
    (404, "DENIED"),
];

/// An image, and an artifact that nothing but an index behind an ordinary tag lists.
struct Setup {
    fake: Fake,
    image: Pushed,
    sbom: Pushed,
}

impl Setup {
    async fn new() -> Self {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
        let mut listed = sbom.descriptor();
        listed["artifactType"] = SBOM.into();
        fake.put("app", "bundle", INDEX, &index([listed]));
        Self { fake, image, sbom }
    }

    fn withhold(&self, (status, code): (u16, &str), place: &str) {
        let place = place.to_owned();
        self.fake.trouble(Trouble::oci(status, code, "no"), move |seen: &Seen| {
            seen.authorization() == Some(BARRED) && seen.path.ends_with(&place)
        });
    }

    async fn listed(&self, refshim: &Refshim, caller: &str) -> Vec<String> {
        let endpoint = refshim.endpoint().authorization(caller);
        endpoint.referrer_digests("app", &self.image.digest).await
    }
}

#[tokio::test]
async fn what_is_withheld_from_one_caller_is_found_for_the_next() {
    for refusal in WITHHELD {
        for inside in [false, true] {
            let setup = Setup::new().await;
            let place = match inside {
                true => setup.sbom.digest.as_str(),
                false => "/bundle",
            };
            setup.withhold(refusal, place);
            let refshim = Refshim::in_front_of(&setup.fake.url()).await;
            let case = format!("{refusal:?} {place}");
            assert_eq!(setup.listed(&refshim, BARRED).await, [] as [&str; 0], "{case}");
            assert_eq!(counted(&refshim, "refshim_depth_cuts_total").await, 1.0, "{case}");
            assert_eq!(
                setup.listed(&refshim, READER).await,
                std::slice::from_ref(&setup.sbom.digest),
                "{case}"
            );
            // Nor is it remembered for the same caller.
            setup.fake.heal();
            assert_eq!(
                setup.listed(&refshim, BARRED).await,
                std::slice::from_ref(&setup.sbom.digest),
                "{case}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_known_of_a_tag_that_is_withheld_now_stays() {
    for refusal in WITHHELD {
        let setup = Setup::new().await;
        let refshim = refreshing(&setup.fake.url(), &[("REFSHIM_LINKS__DEEP_REFRESH", "0s")]).await;
        for withheld in [false, true] {
            if withheld {
                setup.withhold(refusal, "/bundle");
            }
            assert_eq!(
                setup.listed(&refshim, BARRED).await,
                std::slice::from_ref(&setup.sbom.digest),
                "{refusal:?} withheld: {withheld}"
            );
        }
    }
}

/// The search for one caller is joined by the other while it is under way.
#[tokio::test]
async fn who_joins_the_search_of_a_caller_from_whom_something_is_withheld_finds_it() {
    let setup = Setup::new().await;
    setup.withhold((403, "DENIED"), "/bundle");
    let refshim = Refshim::in_front_of(&setup.fake.url()).await;
    let (barred, reader) = tokio::join!(setup.listed(&refshim, BARRED), setup.listed(&refshim, READER));
    assert_eq!(reader, std::slice::from_ref(&setup.sbom.digest));
    // Whoever of them came first led the search.
    assert!(barred.is_empty() || barred == reader, "{barred:?}");
}

/// A token that ends in the middle of a search, or a right that is withdrawn, must not look as if there were nothing.
#[tokio::test]
async fn a_caller_whose_right_ends_is_refused() {
    for refusal in [(401, "UNAUTHORIZED"), (403, "DENIED")] {
        let setup = Setup::new().await;
        let refshim = Refshim::in_front_of(&setup.fake.url()).await;
        let endpoint = refshim.endpoint().authorization(BARRED);
        endpoint.manifest("app", &setup.image.digest).await.expect_status(200);
        for place in [
            "/v1",
            "/bundle",
            setup.sbom.digest.as_str(),
            setup.image.digest.as_str(),
        ] {
            setup.withhold(refusal, place);
        }
        let path = format!("/v2/app/referrers/{}", setup.image.digest);
        endpoint.get(&path).await.expect_status(refusal.0);
    }
}

#[tokio::test]
async fn links_are_kept_however_short_rights_are_remembered() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "", "image");
    let attestation = fake.image("app", "", "attestation");
    let annotations = json!({"vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest});
    let both = index([image.descriptor(), attestation.annotated(annotations)]);
    fake.put("app", "latest", INDEX, &both);
    let attestation = attestation.adopted(&image, Some(BUILDKIT));
    let settings = [
        ("REFSHIM_CACHE__ACCESS_FOR", "0s"),
        ("REFSHIM_LINKS__DEEP_LIMIT", "2"),
        ("REFSHIM_LINKS__DEEP_REFRESH", "0s"),
    ];
    let refshim = refreshing(&fake.url(), &settings).await;
    for number in 0..2 {
        let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
        assert_eq!(listed, std::slice::from_ref(&attestation.digest), "{number}");
        for junk in 0..3 {
            fake.image("app", &format!("junk{junk}"), &format!("junk {junk}"));
        }
    }
}
