//! Whatever a registry's tag pages look like, the referrers that they announce are the same.

use crate::support::content::{IMAGE, INDEX, bare_image, index};
use crate::support::fake::knobs::{Auth, Last, Link, Order, TagPages, TooMany};
use crate::support::fake::{Fake, Knobs, profiles};
use crate::support::{Endpoint, Pushed, Refshim};
use serde_json::json;

const REPOSITORY: &str = "team/app";
const SPDX: &str = "application/spdx+json";

/// A repository with more ordinary tags than a page, or than deep reading goes through; link tags are among them.
struct Shelf {
    fake: Fake,
    subjects: Vec<Pushed>,
    /// The sorted digests of each subject's referrers.
    expected: Vec<Vec<String>>,
}

async fn shelf(knobs: Knobs) -> Shelf {
    let fake = Fake::start(knobs).await;
    let other = fake.image(REPOSITORY, "latest", "something else");
    let ordinary = async |numbers: std::ops::Range<usize>| {
        for number in numbers {
            fake.put_pushed(REPOSITORY, &format!("Build-{:04}", (number * 389) % 1200), &other);
        }
    };
    let mut subjects = Vec::new();
    let mut expected = Vec::new();
    for number in 0..4 {
        ordinary(number * 300..number * 300 + 150).await;
        let subject = fake.image(REPOSITORY, &format!("v{number}"), &format!("subject {number}"));
        // The last one has none.
        expected.push(if number == 3 {
            Vec::new()
        } else {
            refer(&fake, &subject, number)
        });
        subjects.push(subject);
        ordinary(number * 300 + 150..(number + 1) * 300).await;
    }
    Shelf {
        fake,
        subjects,
        expected,
    }
}

/// Three links to `subject`: by Proposal D's tag, by cosign's, by the referrers tag.
fn refer(fake: &Fake, subject: &Pushed, number: usize) -> Vec<String> {
    let sbom = fake.tagged_artifact(REPOSITORY, subject, SPDX, &format!("sbom {number}"));
    let signature = bare_image(&format!("signature {number}"));
    let signature = fake.put(
        REPOSITORY,
        &format!("{}.sig", subject.referrers_tag()),
        IMAGE,
        &signature,
    );
    let bundle = fake.artifact(
        REPOSITORY,
        "",
        subject,
        "application/x-bundle",
        &format!("bundle {number}"),
    );
    let listed = index([bundle.annotated(json!({}))]);
    fake.put(REPOSITORY, &subject.referrers_tag(), INDEX, &listed);
    let signature = signature.adopted_by_suffix(subject, ".sig");
    let mut digests = vec![sbom.digest, signature.digest, bundle.digest];
    digests.sort();
    digests
}

/// Nothing is remembered for longer than a question takes.
async fn front(fake: &Fake) -> Refshim {
    Refshim::builder(&fake.url())
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .start()
        .await
}

fn allowed(endpoint: Endpoint, knobs: &Knobs) -> Endpoint {
    match &knobs.auth {
        Auth::None => endpoint,
        Auth::Bearer(_) => endpoint.authorization(&Fake::bearer(REPOSITORY, "pull")),
        Auth::Aws { password, .. } => endpoint.basic("AWS", password),
    }
}

async fn same_answer(name: &str, knobs: Knobs) {
    let shelf = shelf(knobs.clone()).await;
    let refshim = front(&shelf.fake).await;
    let endpoint = allowed(refshim.endpoint(), &knobs);
    // Twice: the second time, refshim has learned whether the registry seeks.
    for round in ["first", "second"] {
        for (subject, expected) in shelf.subjects.iter().zip(&shelf.expected) {
            let listed = endpoint.referrer_digests(REPOSITORY, &subject.digest).await;
            assert_eq!(&listed, expected, "{name}, {round} round, {}", subject.digest);
        }
    }
}

macro_rules! same_answer {
    ($($name:ident: $knobs:expr;)*) => {$(
        #[tokio::test]
        async fn $name() {
            same_answer(stringify!($name), $knobs).await;
        }
    )*};
}

same_answer! {
    ghcr: profiles::ghcr();
    ghcr_where_an_unknown_last_starts_over: {
        let mut knobs = profiles::ghcr();
        knobs.tags.as_mut().unwrap().last = Last::Place { unknown_starts: true };
        knobs
    };
    ecr: profiles::ecr();
    distribution_2_8: Knobs::default();
    distribution_3_0_0: profiles::distribution_3_0_0();
    distribution_3_1_0: profiles::distribution_3_1(TooMany::Invalid);
    distribution_3_1_1: profiles::distribution_3_1(TooMany::Clamped);
    harbor: profiles::harbor();
    quay: profiles::quay(false);
    older_quay: profiles::quay(true);
    gitea: profiles::gitea();
    acr: profiles::acr();
    artifactory: profiles::artifactory();
    nexus: profiles::nexus();
    zot: profiles::zot();
    gar: profiles::gar();
    // go-containerregistry's: exactly n names, and no Link.
    crane: profiles::tags(TagPages { link: Link::None, ..TagPages::default() });
    pages_cut_without_a_word: profiles::tags(TagPages {
        page: Some(100),
        greatest_n: Some(100),
        link: Link::None,
        ..TagPages::default()
    });
    pages_cut_without_a_word_or_an_n: profiles::tags(TagPages {
        page: Some(150),
        greatest_n: None,
        link: Link::None,
        ..TagPages::default()
    });
    pages_cut_in_an_order_of_its_own: profiles::tags(TagPages {
        order: Order::OldestFirst,
        page: Some(100),
        greatest_n: Some(100),
        last: Last::Place { unknown_starts: true },
        link: Link::None,
        ..TagPages::default()
    });
    // `crane registry serve`.
    go_containerregistry: profiles::tags(TagPages {
        last: Last::SeeksOrStartsOver,
        link: Link::None,
        ..TagPages::default()
    });
    // Nobody is known to do this, and nothing forbids it.
    small_pages_in_no_order: profiles::tags(TagPages {
        order: Order::Scrambled,
        page: Some(1),
        greatest_n: Some(37),
        last: Last::Token,
        link: Link::Absolute,
        ..TagPages::default()
    });
}

#[tokio::test]
async fn a_repository_whose_tags_are_gone_has_no_referrers() {
    for null in [true, false] {
        let fake = Fake::start(profiles::tags(TagPages {
            null,
            ..TagPages::default()
        }))
        .await;
        let subject = fake.image(REPOSITORY, "v1", "subject");
        let deleted = fake
            .endpoint()
            .delete(&format!("/v2/{REPOSITORY}/manifests/{}", subject.digest))
            .await;
        deleted.expect_status(202);
        let refshim = front(&fake).await;
        let listed = refshim.endpoint().referrers(REPOSITORY, &subject.digest).await;
        assert_eq!(listed, [json!(null); 0]);
    }
}
