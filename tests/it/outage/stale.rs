//! What was known, while the upstream cannot be asked or is asked behind the answer.

use serde_json::Value;

use super::{Setup, expect_failure};
use crate::support::{Endpoint, Fault};

#[tokio::test]
async fn what_was_known_is_served_with_its_age_but_none_never_is() {
    let mut setup = Setup::new(|builder| {
        let refresh = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        refresh.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
    })
    .await;
    setup.expect_both().await;
    let through: Endpoint = setup.refshim.endpoint();
    let none = through.referrers("app", &setup.by_digest.digest).await;
    assert_eq!(none, [] as [Value; 0]);
    setup.registry.kill();

    let stale = setup.ask().await.expect_status(200);
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(2));
    assert!(
        stale.header("age").is_some_and(|age| age.parse::<u64>().is_ok()),
        "{stale:?}"
    );
    assert!(
        stale
            .header("warning")
            .is_some_and(|warning| warning.starts_with("299 - \"refshim ")),
        "{stale:?}"
    );
    expect_failure(
        &through.referrers_reply("app", &setup.by_digest.digest).await,
        "a stale none",
    );

    setup.registry.restart().await;
    assert_eq!(setup.ask().await.expect_status(200).header("warning"), None);
}

#[tokio::test]
async fn every_answer_from_memory_says_how_old_it_is_and_a_stale_one_that_it_is() {
    let setup = Setup::new(|builder| builder.env("REFSHIM_CACHE__FRESH_FOR", "1h")).await;
    let asked = setup.ask().await.expect_status(200);
    assert_eq!((asked.header("age"), asked.header("warning")), (None, None));
    let fresh = setup.ask().await.expect_status(200);
    assert!(
        fresh.header("age").is_some() && fresh.header("warning").is_none(),
        "{fresh:?}"
    );

    let setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        builder.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "1h")
    })
    .await;
    setup.ask().await.expect_status(200);
    let digest = &setup.image.digest;
    for path in [
        format!("/v2/app/referrers/{digest}"),
        format!("/v2/app/_oras/artifacts/referrers?digest={digest}"),
        format!("/v2/app/manifests/{digest}/references"),
        format!("/v3/app/referrers/{digest}"),
    ] {
        let stale = setup.refshim.endpoint().get(&path).await.expect_status(200);
        assert!(stale.header("age").is_some(), "{stale:?}");
        assert!(
            stale
                .header("warning")
                .is_some_and(|text| text.starts_with("299 - \"refshim ")),
            "{stale:?}"
        );
    }
}

/// An ingress that has lost the registry answers 404 to everything.
#[tokio::test]
async fn a_404_that_is_not_the_registrys_never_means_none() {
    let setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        let builder = builder.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s");
        // Whether the caller may read is asked each time.
        builder.env("REFSHIM_CACHE__ACCESS_FOR", "0s")
    })
    .await;
    let alice = setup.refshim.endpoint().basic("alice", "a");
    alice.referrers("app", &setup.image.digest).await;
    setup.expect_both().await;
    let lost = Fault::answer(
        404,
        &[("content-type", "text/plain; charset=utf-8")],
        "404 page not found\n",
    );
    setup.link.fail(lost, |_| true);
    let stale = setup.ask().await.expect_status(200);
    assert_eq!(stale.json()["manifests"].as_array().map(Vec::len), Some(2));
    assert!(stale.header("warning").is_some(), "{stale:?}");
    let reply = alice.referrers_reply("app", &setup.image.digest).await;
    expect_failure(&reply, "a right that cannot be asked for");
}

#[tokio::test]
async fn beyond_its_limit_what_was_known_is_no_answer() {
    let mut setup = Setup::new(|builder| {
        let builder = builder.env("REFSHIM_CACHE__FRESH_FOR", "0s");
        let builder = builder.env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s");
        builder.env("REFSHIM_CACHE__STALE_IF_ERROR", "0s")
    })
    .await;
    setup.expect_both().await;
    setup.registry.kill();
    expect_failure(&setup.ask().await, "too old");
}
