//! The registry's own referrers API: what one answer hides, and what it takes to believe that there is none.

use std::time::Duration;

use refshim::testing::config::Config;
use serde_json::{Value, json};

use super::{SPDX, asks_native};
use crate::support::fake::knobs::{Knobs, Native, Pushes, Referrers};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Endpoint, Local, Pushed, Seen};

const PAGE: &str = "404 page not found\n";

fn with_api() -> Knobs {
    Knobs {
        referrers: Referrers::Native(Native::default()),
        ..Knobs::default()
    }
}

/// An image and a referrer that only the registry's own API lists.
fn untagged(fake: &Fake, repository: &str) -> (Pushed, Pushed) {
    let image = fake.image(repository, "v1", repository);
    let referrer = fake.artifact(repository, "", &image, SPDX, "referrer");
    (image, referrer)
}

fn asks_about_x(seen: &Seen) -> bool {
    seen.path.starts_with("/v2/x/referrers/")
}

/// Nothing is fresh for longer than a moment, so that every question is asked.
async fn front(fake: &Fake) -> Local {
    Local::configured(&fake.url(), unremembered).await
}

fn unremembered(config: &mut Config) {
    config.cache.fresh_for = Duration::ZERO;
    config.cache.stale_while_revalidate = Duration::ZERO;
    config.cache.stale_if_error = Duration::ZERO;
    for upstream in &mut config.upstreams {
        upstream.retries = 0;
    }
}

async fn status(endpoint: &Endpoint, repository: &str, subject: &str) -> u16 {
    endpoint.referrers_reply(repository, subject).await.status
}

fn missing_routes() -> [Trouble; 6] {
    [
        Trouble::answer(404, &[("content-type", "text/plain")], PAGE),
        Trouble::html(404),
        Trouble::html(403),
        Trouble::answer(302, &[("location", "/login")], ""),
        Trouble::oci(405, "UNSUPPORTED", "no"),
        Trouble::oci(501, "UNSUPPORTED", "no"),
    ]
}

fn failures() -> [Trouble; 9] {
    [
        Trouble::oci(500, "UNKNOWN", "no"),
        Trouble::html(200),
        Trouble::answer(200, &[("content-type", "application/json")], "{}"),
        Trouble::oci(404, "DENIED", "no"),
        Trouble::oci(404, "BLOB_UNKNOWN", "no"),
        Trouble::answer(404, &[("content-type", "application/json")], "{}"),
        Trouble::oci(400, "UNSUPPORTED", "no"),
        Trouble::answer(406, &[], ""),
        Trouble::answer(204, &[], ""),
    ]
}

/// Whoever asks, about whatever, takes nothing from others: neither in other repositories nor, with a digest that nobody pushed, in
/// the same one.
#[tokio::test]
async fn no_answer_about_one_repository_hides_what_others_list() {
    for trouble in missing_routes().into_iter().chain(failures()) {
        for made_up in [false, true] {
            let name = format!("{trouble:?}, made up: {made_up}");
            let fake = Fake::start(with_api()).await;
            let ((image, referrer), (of_x, referrer_of_x)) = (untagged(&fake, "a"), untagged(&fake, "x"));
            let refshim = front(&fake).await;
            let through = refshim.endpoint();
            fake.trouble(trouble.clone(), asks_about_x);
            let asked = match made_up {
                true => format!("sha256:{}", "ab".repeat(32)),
                false => of_x.digest.clone(),
            };
            for _ in 0..3 {
                status(&through, "x", &asked).await;
            }
            fake.heal();
            assert_eq!(
                through.referrer_digests("a", &image.digest).await,
                [referrer.digest],
                "{name}"
            );
            if made_up {
                assert_eq!(
                    through.referrer_digests("x", &of_x.digest).await,
                    [referrer_of_x.digest],
                    "{name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_sign_of_a_missing_route_is_an_error() {
    for trouble in failures() {
        let fake = Fake::start(with_api()).await;
        let (image, referrer) = untagged(&fake, "x");
        let refshim = front(&fake).await;
        fake.trouble(trouble.clone(), asks_about_x);
        assert_eq!(
            status(&refshim.endpoint(), "x", &image.digest).await,
            502,
            "{trouble:?}"
        );
        fake.heal();
        let listed = refshim.endpoint().referrer_digests("x", &image.digest).await;
        assert_eq!(listed, [referrer.digest], "{trouble:?}");
    }
}

/// A deployment, an ingress that restarts: one such answer is not believed.
#[tokio::test]
async fn a_missing_route_is_asked_for_twice() {
    for trouble in missing_routes() {
        let fake = Fake::start(with_api()).await;
        let (image, referrer) = untagged(&fake, "x");
        let refshim = front(&fake).await;
        fake.trouble_times(1, trouble.clone(), asks_about_x);
        let listed = refshim.endpoint().referrer_digests("x", &image.digest).await;
        assert_eq!(listed, [referrer.digest], "{trouble:?}");
    }
}

#[tokio::test]
async fn where_the_api_has_answered_a_missing_route_is_a_failure() {
    for trouble in missing_routes() {
        let fake = Fake::start(with_api()).await;
        let (image, referrer) = untagged(&fake, "x");
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        assert_eq!(through.referrer_digests("x", &image.digest).await, [&*referrer.digest]);
        fake.trouble(trouble.clone(), asks_about_x);
        for _ in 0..3 {
            assert_eq!(status(&through, "x", &image.digest).await, 502, "{trouble:?}");
        }
    }
}

/// Two questions, once per repository and ten minutes, and one of an upstream where three repositories lack the API.
#[tokio::test]
async fn a_proven_absence_is_remembered() {
    for knobs in [
        Knobs::default(),
        Knobs {
            referrers: Referrers::WebPage,
            ..Knobs::default()
        },
    ] {
        let name = format!("{:?}", knobs.referrers);
        let fake = Fake::start(knobs).await;
        let refshim = front(&fake).await;
        let through = refshim.endpoint();
        let mut asked = Vec::new();
        for repository in ["a", "b", "c", "d"] {
            for tag in ["v1", "v2"] {
                let image = fake.image(repository, tag, tag);
                fake.take();
                assert_eq!(through.referrers(repository, &image.digest).await, [] as [Value; 0]);
                asked.push(fake.count(asks_native));
            }
        }
        assert_eq!(asked, [2, 0, 2, 0, 2, 0, 1, 0], "{name}");
    }
}

/// GHCR: an API that only lags says the same about a subject, until it has indexed it.
#[tokio::test]
async fn nothing_about_a_subject_is_a_missing_route_once_three_subjects_say_so() {
    let fake = Fake::start(Knobs {
        referrers: Referrers::ManifestUnknown,
        ..Knobs::default()
    })
    .await;
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let mut asked = Vec::new();
    for tag in ["v1", "v1", "v2", "v3", "v4", "v1"] {
        let image = fake.image("app", tag, tag);
        fake.take();
        assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
        asked.push(fake.count(asks_native));
    }
    assert_eq!(asked, [2, 2, 2, 2, 0, 0]);
}

#[tokio::test]
async fn a_subject_that_the_api_has_not_indexed_yet_hides_nothing() {
    let fake = Fake::start(with_api()).await;
    let (image, referrer) = untagged(&fake, "x");
    let other = fake.image("x", "v2", "other");
    let of_other = fake.artifact("x", "", &other, SPDX, "of other");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let digest = image.digest.clone();
    fake.trouble(Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"), move |seen| {
        asks_native(seen) && seen.path.contains(&digest)
    });
    for _ in 0..3 {
        assert_eq!(through.referrers("x", &image.digest).await, [] as [Value; 0]);
    }
    fake.heal();
    assert_eq!(through.referrer_digests("x", &image.digest).await, [referrer.digest]);
    assert_eq!(through.referrer_digests("x", &other.digest).await, [of_other.digest]);
}

/// Artifactory and Nexus: repositories of both kinds behind one host.
#[tokio::test]
async fn repositories_of_one_host_are_judged_one_by_one() {
    let fake = Fake::start(with_api()).await;
    let (image, referrer) = untagged(&fake, "with");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrer_digests("with", &image.digest).await, [referrer.digest]);
    for repository in ["a", "b", "c"] {
        fake.turn(|knobs| {
            knobs.referrers_in.insert(repository, Referrers::PageNotFound);
        });
        let image = fake.image(repository, "v1", "image");
        assert_eq!(through.referrers(repository, &image.digest).await, [] as [Value; 0]);
    }
    let (image, referrer) = untagged(&fake, "also");
    assert_eq!(through.referrer_digests("also", &image.digest).await, [referrer.digest]);
}

/// The same, where those without the API are asked first.
#[tokio::test]
async fn repositories_without_the_api_hide_none_that_has_it() {
    let fake = Fake::start(with_api()).await;
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    for repository in ["a", "b", "c"] {
        fake.turn(|knobs| {
            knobs.referrers_in.insert(repository, Referrers::PageNotFound);
        });
        let image = fake.image(repository, "v1", "image");
        assert_eq!(through.referrers(repository, &image.digest).await, [] as [Value; 0]);
    }
    let (image, referrer) = untagged(&fake, "with");
    for made_up in [true, false] {
        let made_up_digest = format!("sha256:{}", "ab".repeat(32));
        let (subject, listed) = match made_up {
            true => (&made_up_digest, vec![]),
            false => (&image.digest, vec![referrer.digest.clone()]),
        };
        assert_eq!(through.referrer_digests("with", subject).await, listed);
    }
}

/// zot is silent about a repository that it does not have. Whoever stands between may be silent about any.
#[tokio::test]
async fn a_404_without_a_word_is_believed_where_there_is_no_such_repository() {
    let fake = Fake::start(with_api()).await;
    let (image, referrer) = untagged(&fake, "x");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrer_digests("x", &image.digest).await, [referrer.digest]);
    fake.trouble(Trouble::answer(404, &[], ""), asks_about_x);
    assert_eq!(status(&through, "x", &image.digest).await, 502);
    let of_another_algorithm = format!("sha512:{}", "ab".repeat(64));
    assert_eq!(status(&through, "x", &of_another_algorithm).await, 200);
}

#[tokio::test]
async fn what_is_not_there_has_no_referrers_whatever_was_learned_elsewhere() {
    let empty_404 = Native {
        unknown_is_empty_404: true,
        ..Native::default()
    };
    for (name, knobs) in [
        ("none", Knobs::default()),
        ("own", with_api()),
        (
            "GHCR",
            Knobs {
                referrers: Referrers::ManifestUnknown,
                ..Knobs::default()
            },
        ),
        (
            "web page",
            Knobs {
                referrers: Referrers::WebPage,
                ..Knobs::default()
            },
        ),
        (
            "login page",
            Knobs {
                referrers: Referrers::LoginPage,
                ..Knobs::default()
            },
        ),
        (
            "zot",
            Knobs {
                referrers: Referrers::Native(empty_404),
                ..Knobs::default()
            },
        ),
        ("Quay", profiles::quay(false)),
    ] {
        for learned in [false, true] {
            let fake = Fake::start(knobs.clone()).await;
            let (image, _) = untagged(&fake, "known");
            let refshim = front(&fake).await;
            let through = refshim.endpoint();
            if learned {
                status(&through, "known", &image.digest).await;
            }
            let (zero, made_up) = (
                format!("sha256:{}", "0".repeat(64)),
                format!("sha256:{}", "ab".repeat(32)),
            );
            for (repository, subject) in [
                ("unknown", &made_up),
                ("unknown", &zero),
                ("known", &made_up),
                ("known", &zero),
            ] {
                let reply = through.referrers_reply(repository, subject).await;
                assert_eq!(reply.status, 200, "{name} {learned} {repository} {subject}: {reply:?}");
                assert_eq!(
                    reply.json()["manifests"],
                    json!([]),
                    "{name} {learned} {repository} {subject}"
                );
            }
        }
    }
}

/// A push is durable by the registry's list only where that was seen to work in this very repository.
#[tokio::test]
async fn a_list_that_works_in_another_repository_makes_no_push_durable() {
    let fake = Fake::start(Knobs {
        pushes: Pushes {
            says_subject: true,
            ..Pushes::default()
        },
        ..with_api()
    })
    .await;
    let (known, _) = untagged(&fake, "known");
    let image = fake.image("other", "v1", "image");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    through.referrers("known", &known.digest).await;
    let pushed = through.push_artifact("other", &image, SPDX, "pushed").await;
    fake.turn(|knobs| knobs.referrers = Referrers::PageNotFound);
    assert_eq!(through.referrer_digests("other", &image.digest).await, [pushed.digest]);
}
