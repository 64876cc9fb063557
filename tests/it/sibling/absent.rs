//! A repository beside that is not there yet is a none, where the registry says so in words that mean it; and what that costs.

use super::stage::{APP, REFS, SBOM, Stage, has_account, keeps_beside, password};
use crate::support::fake::{Fake, Knobs, Trouble, profiles};
use crate::support::{Local, Seen};

#[tokio::test]
async fn none_costs_two_requests_beside_and_then_nothing() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 0);
    let asked = stage.asked_beside();
    assert_eq!(asked.len(), 2, "{asked:#?}");
    assert!(asked[0].starts_with(&format!("GET /v2/{REFS}/tags/list")), "{asked:#?}");
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 0);
    assert_eq!(stage.asked_beside(), [""; 0]);
}

#[tokio::test]
async fn known_links_cost_nothing_and_new_ones_one_request_each() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    stage.fake.tagged_artifact(REFS, &image, SBOM, "one");
    stage.fake.tagged_artifact(REFS, &image, SBOM, "two");
    let reader = stage.as_user("reader");
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 2);
    let asked = stage.asked_beside();
    let by_tag = format!("GET /v2/{REFS}/manifests/sha256-");
    assert_eq!(
        asked.iter().filter(|line| line.starts_with(&by_tag)).count(),
        2,
        "{asked:#?}"
    );
    // Once: is the repository there, how does its listing end and seek, is there an API of its own?
    assert!(asked.len() <= 10, "{asked:#?}");
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 2);
    assert_eq!(stage.asked_beside(), [""; 0]);
}

/// GitHub's token endpoint gives no token to pull from a package that is not there, and one to push to whoever may create it.
fn gives_no_token_to_pull(fake: &Fake) {
    let denied = Trouble::oci(403, "DENIED", "requested access to the resource is denied");
    fake.trouble(denied, |seen: &Seen| {
        let scope = seen.path.strip_prefix("/token").unwrap_or_default();
        scope.contains("app.refs") && !scope.contains("push")
    });
}

async fn in_front_of_ghcr(fake: &Fake) -> Local {
    let password = password();
    let refshim = Local::configured(&fake.url(), |config| {
        keeps_beside(config);
        has_account(config, password.path());
    })
    .await;
    // It is read with the first request.
    password.keep().unwrap();
    refshim
}

#[tokio::test]
async fn githubs_refusal_of_a_token_is_asked_about_once_more_with_the_right_to_push() {
    let fake = Fake::start(profiles::ghcr()).await;
    gives_no_token_to_pull(&fake);
    let image = fake.image(APP, "v1", "image");
    let refshim = in_front_of_ghcr(&fake).await;
    let reader = refshim.endpoint().authorization(&Fake::bearer(APP, "pull"));
    assert_eq!(reader.referrers(APP, &image.digest).await.len(), 0);
}

#[tokio::test]
async fn who_gets_no_token_to_push_either_is_told_of_no_none() {
    let fake = Fake::start(profiles::ghcr()).await;
    let image = fake.image(APP, "v1", "image");
    let denied = Trouble::oci(403, "DENIED", "requested access to the resource is denied");
    fake.trouble(denied, |seen: &Seen| {
        seen.path.starts_with("/token") && seen.path.contains("app.refs")
    });
    let refshim = in_front_of_ghcr(&fake).await;
    let reader = refshim.endpoint().authorization(&Fake::bearer(APP, "pull"));
    let reply = reader.referrers_reply(APP, &image.digest).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(reply.text().contains(REFS), "{reply:?}");
}
