//! Registries that for a moment do not give what they name: that is asked for again, and no "none" that rests on it is remembered.

use std::collections::HashSet;
use std::sync::Mutex;

use http::Method;

use super::depth::{SBOM, refreshing};
use crate::support::content::{INDEX, index};
use crate::support::fake::knobs::{Knobs, Native, Referrers};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim};

fn absent() -> Trouble {
    Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown")
}

/// An image, what refers to it, and the path of what lags.
type Lagging = (Fake, Pushed, Pushed, String);

async fn behind_a_tag() -> Lagging {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.artifact("app", "zz", &image, SBOM, "sbom");
    (fake, image, sbom, "/v2/app/manifests/zz".to_owned())
}

async fn inside_an_index() -> Lagging {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
    let mut listed = sbom.descriptor();
    listed["artifactType"] = SBOM.into();
    fake.put("app", "zz", INDEX, &index([listed]));
    let path = format!("/v2/app/manifests/{}", sbom.digest);
    (fake, image, sbom, path)
}

async fn in_its_own_list() -> Lagging {
    let knobs = Knobs {
        referrers: Referrers::Native(Native::default()),
        ..Knobs::default()
    };
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
    let path = format!("/v2/app/manifests/{}", sbom.digest);
    (fake, image, sbom, path)
}

#[tokio::test]
async fn what_lags_for_a_moment_is_found_and_no_none_is_remembered() {
    for once in [true, false] {
        for (fake, image, sbom, path) in [behind_a_tag().await, inside_an_index().await, in_its_own_list().await] {
            let refshim = Refshim::in_front_of(&fake.url()).await;
            let through = refshim.endpoint();
            let asked = path.clone();
            match once {
                true => fake.trouble_times(1, absent(), move |seen| seen.path == asked),
                false => {
                    fake.trouble(absent(), move |seen| seen.path == asked);
                    through.referrers_reply("app", &image.digest).await.expect_status(200);
                    fake.heal();
                }
            }
            let found = through.referrer_digests("app", &image.digest).await;
            assert_eq!(found, [sbom.digest], "{path}, once: {once}");
        }
    }
}

#[tokio::test]
async fn a_tag_with_links_outlives_a_404_in_an_outgrown_repository() {
    let (fake, image, sbom, path) = behind_a_tag().await;
    let limits = [
        ("REFSHIM_LINKS__DEEP_LIMIT", "2"),
        ("REFSHIM_LINKS__DEEP_REFRESH", "0s"),
    ];
    let refshim = refreshing(&fake.url(), &limits).await;
    let through = refshim.endpoint();
    let expected = std::slice::from_ref(&sbom.digest);
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    fake.image("app", "v3", "another");
    fake.trouble(absent(), move |seen| seen.path == path);
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        expected,
        "it is listed"
    );
    fake.heal();
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
}

#[tokio::test]
async fn a_registry_that_fails_at_every_tag_it_is_asked_for_is_an_outage() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = refreshing(&fake.url(), &[]).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &image.digest).await.len(), 0);
    fake.artifact("app", "zz", &image, SBOM, "sbom");
    let fails = || Trouble::oci(500, "UNKNOWN", "unknown error");
    fake.trouble(fails(), |seen| seen.path.ends_with("/manifests/zz"));
    through.referrers_reply("app", &image.digest).await.expect_status(200);
    let is_by_tag = |tag: &str| ["/v1", "/zz"].iter().any(|end| tag.ends_with(end));
    fake.trouble(fails(), move |seen| {
        [Method::GET, Method::HEAD].contains(&seen.method) && seen.path.contains("/manifests/") && is_by_tag(&seen.path)
    });
    let reply = through.referrers_reply("app", &image.digest).await;
    assert!(reply.status >= 500, "{}", reply.status);
}

/// As many artifacts as one index lists, or the registry's own API, each of which is missing when it is first asked for: they are
/// asked for again, over as many questions as that takes, and no list is short of any.
#[tokio::test]
async fn however_many_lag_at_once_no_list_is_short_of_them() {
    for (many, native) in [(300, false), (300, true), (1200, true)] {
        let knobs = Knobs {
            referrers: match native {
                true => Referrers::Native(Native::default()),
                false => Referrers::default(),
            },
            ..Knobs::default()
        };
        let fake = Fake::start(knobs).await;
        let image = fake.image("app", "v1", "image");
        let artifacts: Vec<Pushed> = (0..many)
            .map(|number| fake.artifact("app", "", &image, SBOM, &number.to_string()))
            .collect();
        if !native {
            let listed = artifacts.iter().map(|artifact| {
                let mut listed = artifact.descriptor();
                listed["artifactType"] = SBOM.into();
                listed
            });
            fake.put("app", "all", INDEX, &index(listed));
        }
        let lagging: Mutex<HashSet<String>> = Mutex::new(
            artifacts
                .iter()
                .map(|artifact| format!("/v2/app/manifests/{}", artifact.digest))
                .collect(),
        );
        fake.trouble(absent(), move |seen| lagging.lock().unwrap().remove(&seen.path));
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let mut reply = refshim.endpoint().referrers_reply("app", &image.digest).await;
        for _ in 0..4 {
            if reply.status == 200 {
                break;
            }
            assert_eq!(
                (reply.status, reply.header("retry-after")),
                (503, Some("1")),
                "{reply:?}"
            );
            reply = refshim.endpoint().referrers_reply("app", &image.digest).await;
        }
        let listed = reply.expect_status(200).json()["manifests"].as_array().map(Vec::len);
        assert_eq!(listed, Some(many), "native: {native}");
    }
}
