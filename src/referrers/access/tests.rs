//! Rights are one credential's, and end.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;

use super::*;
use crate::cache::Epoch;
use crate::registry::Caller;

fn context(authorization: Option<&str>) -> RepositoryContext {
    RepositoryContext {
        repository: crate::oci::RepositoryName::parse("r").unwrap(),
        repository_key: RepositoryKey::new("u", "r"),
        epoch: Epoch::unknown(),
        base: None,
        caller: Caller::with(authorization.map(|a| HeaderValue::from_str(a).unwrap())),
    }
}

#[tokio::test(start_paused = true)]
async fn permission_is_the_credentials_own_and_ends() {
    let list = AccessList::new(Duration::from_secs(60), Duration::ZERO);
    list.allow(&context(Some("Basic YQ==")));
    assert!(list.is_allowed(&context(Some("Basic YQ=="))));
    assert!(!list.is_allowed(&context(Some("Basic Yg=="))));
    assert!(!list.is_allowed(&context(None)));
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(!list.is_allowed(&context(Some("Basic YQ=="))));
}

#[tokio::test(start_paused = true)]
async fn a_right_to_list_is_no_right_to_read() {
    let list = AccessList::new(Duration::from_secs(60), Duration::ZERO);
    list.allow_listing(&context(None));
    assert!(list.may_list(&context(None)) && !list.is_allowed(&context(None)));
    assert!(!list.anyone_was_allowed(&context(None), Duration::from_secs(60)));
    list.allow(&context(None));
    list.forget(&context(None));
    assert!(!list.may_list(&context(None)) && !list.is_allowed(&context(None)));
}

#[tokio::test(start_paused = true)]
async fn a_proof_counts_from_when_it_was_given_and_not_beyond_a_refusal() {
    let list = AccessList::new(Duration::from_secs(60), Duration::ZERO);
    let proven = list.now();
    tokio::time::advance(Duration::from_secs(50)).await;
    list.allow_as_of(&context(None), proven);
    assert!(list.is_allowed(&context(None)));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(!list.is_allowed(&context(None)));
    list.forget(&context(None));
    list.allow_as_of(&context(None), proven);
    assert!(!list.was_proven(&context(None), Duration::from_secs(600)));
    tokio::time::advance(Duration::from_secs(1)).await;
    list.allow_as_of(&context(None), list.now());
    assert!(list.is_allowed(&context(None)));
}

#[test]
fn what_is_probed_is_the_subject_and_three_tags() {
    let subject = Digest::sha256(b"x");
    let names: TagNames = ["a", "b", "c", "d", "e"].iter().collect();
    let probed = |names| {
        probable(Some(&subject), names)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(probed(Some(&names)), [subject.as_str(), "a", "c", "e"]);
    assert_eq!(probed(None), [subject.as_str()]);
    let zeros = Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap();
    assert!(probable(Some(&zeros), None).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_never_outlived() {
    let list = AccessList::new(Duration::from_secs(60), Duration::ZERO);
    let end = list.clock.now() + Duration::from_secs(5);
    let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, end.as_secs()));
    let token = context(Some(&format!("Bearer x.{claims}.y")));
    list.allow(&token);
    assert!(list.is_allowed(&token));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(!list.is_allowed(&token));
}

#[tokio::test(start_paused = true)]
async fn only_anonymous_callers_get_grace() {
    let list = AccessList::new(Duration::from_secs(60), Duration::ZERO);
    list.allow(&context(None));
    list.allow(&context(Some("Basic YQ==")));
    tokio::time::advance(Duration::from_secs(90)).await;
    let window = Duration::from_secs(3600);
    assert!(list.anyone_was_allowed(&context(None), window));
    assert!(!list.anyone_was_allowed(&context(Some("Basic YQ==")), window));
}
