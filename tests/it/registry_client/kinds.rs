//! Every kind of registry that is known: what its listing gives, and whether it may be asked to seek.

use base64::Engine as _;
use refshim::testing::oci::Digest;
use refshim::testing::registry::{Answer, Caller, Native, TagNames, Upstream, UpstreamError};

use crate::registry_client::{anyone, digest, found, reference, repository, upstream};
use crate::support::fake::knobs::{Auth, Knobs, Link, TagPages, TooMany};
use crate::support::fake::{Fake, profiles};

const TAGS: usize = 250;

/// Many tags, pushed in no order that any registry sorts by.
async fn stocked(knobs: Knobs) -> (Fake, TagNames) {
    let fake = Fake::start(knobs).await;
    let image = fake.image("team/app", "latest", "one");
    let mut names = vec!["latest".to_owned()];
    for number in 0..TAGS {
        let kind = ["v", "B", "_x", "sha256-"][number % 4];
        names.push(format!("{kind}{}", (number * 7919) % 1009));
    }
    for name in &names {
        fake.put_pushed("team/app", name, &image);
    }
    (fake, names.iter().collect())
}

/// The same with no more than a hundred tags on a page.
fn paged(mut knobs: Knobs) -> Knobs {
    if let Some(pages) = &mut knobs.tags {
        pages.greatest_n = Some(100);
    }
    knobs
}

/// The listing, and what it teaches about seeking.
async fn calibrated(fake: &Fake, caller: &Caller) -> (TagNames, Option<bool>, Upstream) {
    let upstream = upstream(&fake.url());
    let all = found(upstream.tags(&repository(), caller).await);
    let seeks = upstream.calibrate(&repository(), &all, caller).await.unwrap();
    (all, seeks, upstream)
}

#[tokio::test]
async fn each_lists_all_its_tags_and_only_some_seek() {
    let aws = base64::engine::general_purpose::STANDARD.encode("AWS:ecr-token");
    let aws = Caller::with(Some(format!("Basic {aws}").parse().unwrap()));
    let bearer = Caller::with(Some(Fake::bearer("team/app", "pull").parse().unwrap()));
    for (name, knobs, caller, seeks) in [
        ("GHCR", profiles::ghcr(), bearer, false),
        ("ECR", profiles::ecr(), aws, false),
        ("Distribution 3.0.0", profiles::distribution_3_0_0(), anyone(), false),
        (
            "Distribution 3.1.0",
            profiles::distribution_3_1(TooMany::Invalid),
            anyone(),
            true,
        ),
        (
            "Distribution 3.1.1",
            profiles::distribution_3_1(TooMany::Clamped),
            anyone(),
            true,
        ),
        ("zot", profiles::zot(), anyone(), false),
        ("Quay", profiles::quay(false), anyone(), false),
        ("older Quay", profiles::quay(true), anyone(), false),
        ("Harbor", profiles::harbor(), anyone(), true),
        ("Gitea", profiles::gitea(), anyone(), true),
        ("ACR", profiles::acr(), anyone(), true),
        // Their links lead nowhere but for the query.
        ("Artifactory", paged(profiles::artifactory()), anyone(), false),
        ("Nexus", paged(profiles::nexus()), anyone(), true),
    ] {
        let (fake, expected) = stocked(knobs).await;
        let (all, learned, _) = calibrated(&fake, &caller).await;
        assert_eq!(all, expected, "{name}");
        assert_eq!(learned, Some(seeks), "{name}");
    }
}

#[tokio::test]
async fn listings_that_cannot_be_read_to_their_end_are_never_shorter_ones() {
    let linked = |link| {
        profiles::tags(TagPages {
            page: Some(100),
            greatest_n: Some(100),
            link,
            ..TagPages::default()
        })
    };
    for (name, knobs) in [
        ("loop", linked(Link::Loop)),
        ("elsewhere", linked(Link::Elsewhere)),
        ("endless", linked(Link::Endless)),
    ] {
        let (fake, _) = stocked(knobs).await;
        let answer = upstream(&fake.url()).tags(&repository(), &anyone()).await;
        assert!(
            !matches!(answer, Ok(Answer::Found(_) | Answer::Absent)),
            "{name}: {answer:?}"
        );
        assert!(fake.requests_elsewhere().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn native_lists_are_found_where_they_are() {
    for (name, knobs, native) in [
        ("GAR", profiles::gar(), false),
        (
            "GHCR",
            Knobs {
                auth: Auth::None,
                ..profiles::ghcr()
            },
            false,
        ),
        ("Harbor 2.9.1", profiles::harbor(), true),
        ("Quay", profiles::quay(false), true),
        ("Distribution", profiles::distribution_3_0_0(), false),
    ] {
        let fake = Fake::start(knobs).await;
        let image = fake.image("team/app", "latest", "one");
        let artifact = fake.artifact("team/app", "", &image, "a/b", "artifact");
        let upstream = upstream(&fake.url());
        let ask = async |subject: &Digest| {
            let asked = upstream.native_referrers(&repository(), subject, &anyone()).await;
            asked.unwrap()
        };
        let answer = ask(&image.digest.parse().unwrap()).await;
        match (native, &answer) {
            (true, Native::Entries(listed)) => assert_eq!(listed[0].digest.as_str(), artifact.digest, "{name}"),
            (false, Native::Nothing | Native::NoRoute(_)) => {}
            _ => panic!("{name}: {answer:?}"),
        }
        // Quay refuses it as MANIFEST_INVALID: nothing refers to what is not there.
        let unknown = ask(&digest("no")).await;
        let lists_nothing = matches!(&unknown, Native::Entries(listed) if listed.is_empty());
        assert!(
            lists_nothing || !matches!(unknown, Native::Entries(_)),
            "{name}: {unknown:?}"
        );
    }
}

#[tokio::test]
async fn blobs_elsewhere_need_a_host_that_is_listed() {
    let (fake, _) = stocked(profiles::ghcr()).await;
    let caller = Caller::with(Some(Fake::bearer("team/app", "pull").parse().unwrap()));
    let refused = upstream(&fake.url())
        .blob(&repository(), &digest("{}"), 9, &caller)
        .await;
    assert!(matches!(refused, Err(UpstreamError::Invalid(_))), "{refused:?}");
    let listed = crate::registry_client::upstream_with(&fake.url(), |config, _| {
        config.redirect_hosts.insert("127.0.0.2".into());
    });
    assert_eq!(found(listed.blob(&repository(), &digest("{}"), 9, &caller).await), "{}");
    assert!(
        fake.requests_elsewhere()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );
    found(listed.manifest(&repository(), &reference("latest"), &caller).await);
}
