//! Who leads, who follows, and whose credential an answer goes with.

use http::HeaderValue;

use super::*;
use crate::cache::{Ends, Epoch, RepositoryKey};
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::oci::RepositoryName;
use crate::registry::Caller;

/// Nobody listens there, and nothing here asks.
fn upstream() -> Upstream {
    let config = UpstreamConfig::new("http://127.0.0.1:9".parse().unwrap());
    Upstream::new(&config, &LimitsConfig::default()).unwrap()
}

fn context(authorization: &'static str) -> RepositoryContext {
    RepositoryContext {
        repository: RepositoryName::parse("r").unwrap(),
        repository_key: RepositoryKey::new("u", "r"),
        epoch: Epoch::outside(),
        base: None,
        caller: Caller::with(Some(HeaderValue::from_static(authorization))),
    }
}

#[tokio::test]
async fn what_a_leaders_answer_is_to_others() {
    let (upstream, asks, searches) = (upstream(), context("Basic YQ=="), context("Basic YQ==").searching());
    for (led_by, scope, context, expected) in [
        (LedBy::Itself, AnswerScope::HeldBack, &searches, FollowerVerdict::Take),
        (
            LedBy::SameCredential,
            AnswerScope::Credential,
            &searches,
            FollowerVerdict::Take,
        ),
        (
            LedBy::SameCredential,
            AnswerScope::ToldNoMore,
            &searches,
            FollowerVerdict::Take,
        ),
        (
            LedBy::SameCredential,
            AnswerScope::HeldBack,
            &searches,
            FollowerVerdict::Again,
        ),
        (
            LedBy::SameCredential,
            AnswerScope::HeldBack,
            &asks,
            FollowerVerdict::Take,
        ),
        (LedBy::Another, AnswerScope::Everybody, &searches, FollowerVerdict::Take),
        (
            LedBy::Another,
            AnswerScope::ToldNoMore,
            &searches,
            FollowerVerdict::Check,
        ),
        (
            LedBy::Another,
            AnswerScope::Credential,
            &searches,
            FollowerVerdict::Again,
        ),
        (LedBy::Another, AnswerScope::HeldBack, &searches, FollowerVerdict::Again),
        (LedBy::Another, AnswerScope::HeldBack, &asks, FollowerVerdict::Again),
    ] {
        assert_eq!(
            led_by.verdict(scope, &upstream, context),
            expected,
            "{led_by:?} {scope:?}"
        );
    }
}

/// Neither sends an `Authorization` of its own.
#[tokio::test]
async fn the_account_that_lists_for_others_is_nobody_without_credentials() {
    let work = SharedWork::new(Duration::from_secs(9), || "lost");
    let nobody = RepositoryContext {
        caller: Caller::anonymous(),
        ..context("")
    };
    let account = RepositoryContext {
        caller: nobody.caller.listing_account(),
        ..nobody.clone()
    };
    let join = |context| {
        let begin = || {
            Ok(async {
                tokio::task::yield_now().await;
                "listed"
            })
        };
        work.join((), context, Ends::WithLastWaiter, begin)
    };
    let (leader, follower, same) = tokio::join!(join(&nobody), join(&account), join(&nobody));
    assert_eq!(leader.unwrap().1, LedBy::Itself);
    assert_eq!(follower.unwrap().1, LedBy::Another);
    assert_eq!(same.unwrap().1, LedBy::SameCredential);
}

/// What the first may not have, the second is given by asking itself; the third, who is the first once more, is not.
#[tokio::test]
async fn whoever_is_not_answered_by_the_leader_leads_next() {
    let (upstream, work) = (upstream(), SharedWork::new(Duration::from_secs(9), || "lost"));
    let (one, two) = (context("Basic YQ=="), context("Basic Yg=="));
    let scope = |found: &&str| match *found {
        "refused" => AnswerScope::Credential,
        _ => AnswerScope::Everybody,
    };
    let ask = |context, answer: &'static str| {
        let begin = move || {
            Ok(async move {
                tokio::task::yield_now().await;
                answer
            })
        };
        work.share(((), &upstream, context, Ends::WithLastWaiter), begin, scope, |_| {
            Box::pin(std::future::ready(Ok(false)))
        })
    };
    let (first, second, third) = tokio::join!(ask(&one, "refused"), ask(&two, "found"), ask(&one, "asked again"));
    assert_eq!(first.unwrap(), Some("refused"));
    assert_eq!(second.unwrap(), Some("found"));
    assert_eq!(third.unwrap(), Some("refused"));
}
