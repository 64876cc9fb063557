//! Registries that list to each credential only what it may see: a listing is read with one credential from its first page to its
//! last, and its names are shown to that one alone.

use http::Method;
use refshim::testing::config::Config;
use serde_json::{Value, json};

use super::SPDX;
use super::fixtures::{INSIDER, by_names, lists_as_insider};
use crate::support::fake::knobs::{Knobs, TagPages};
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Local, Seen};

const STRANGER: &str = "Bearer stranger";
const READER: &str = "Bearer reader";

fn lists_tags(seen: &Seen) -> bool {
    seen.path.contains("/tags/list") && seen.method == Method::GET
}

fn lists_to(authorization: Option<&'static str>) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| lists_tags(seen) && seen.authorization() == authorization
}

fn listed(names: &[&str], link: &str) -> Trouble {
    let page = json!({"name": "app", "tags": names}).to_string();
    let headers = [("content-type", "application/json"), ("link", link)];
    let count = if link.is_empty() { 1 } else { 2 };
    Trouble::answer(200, &headers[..count], page)
}

async fn tags(endpoint: &Endpoint) -> Value {
    let listed = endpoint.get("/v2/app/tags/list").await.expect_status(200);
    listed.json()["tags"].clone()
}

/// The stranger's first page hides the link tag, and its second one fails: the reader, who asks next, reads both itself.
#[tokio::test]
async fn a_walk_that_stopped_for_one_is_not_gone_on_with_for_another() {
    for failure in [403, 500, 503] {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
        fake.image("app", "x1", "another");
        fake.trouble(Trouble::oci(failure, "DENIED", "not now"), |seen| {
            lists_to(Some(STRANGER))(seen) && seen.path.contains("last=")
        });
        let next = "</v2/app/tags/list?last=v1&n=1>; rel=\"next\"";
        fake.trouble(listed(&["v1"], next), lists_to(Some(STRANGER)));
        let refshim = Local::configured(&fake.url(), by_names).await;
        let (stranger, reader) = callers(&refshim);
        let failed = stranger.referrers_reply("app", &image.digest).await;
        assert_ne!(failed.status, 200, "{failed:?}");
        for _ in 0..2 {
            let found = reader.referrer_digests("app", &image.digest).await;
            assert_eq!(found, [&*referrer.digest], "{failure}");
        }
    }
}

/// The same the other way about, of names that are shown: whether the reader or the account walked first.
#[tokio::test]
async fn names_of_a_walk_that_stopped_are_not_shown_to_another() {
    for with_account in [false, true] {
        let fake = Fake::start(Knobs {
            tags: Some(TagPages {
                greatest_n: Some(1),
                ..TagPages::default()
            }),
            ..Knobs::default()
        })
        .await;
        let image = fake.image("app", "secret", "image");
        fake.image("app", "v1", "another");
        fake.trouble(challenge(), |seen| seen.path == "/v2/");
        fake.trouble(listed(&["v1"], ""), lists_to(Some(STRANGER)));
        fake.trouble(Trouble::oci(503, "UNAVAILABLE", "not now"), |seen| {
            lists_tags(seen) && seen.path.contains("last=")
        });
        let password = password();
        let configure = |config: &mut Config| {
            by_names(config);
            if with_account {
                lists_as_insider(config, password.path());
            }
        };
        let refshim = Local::configured(&fake.url(), configure).await;
        let (stranger, reader) = callers(&refshim);
        let failed = reader.referrers_reply("app", &image.digest).await;
        assert_ne!(failed.status, 200, "{failed:?}");
        let by = if with_account { INSIDER } else { READER };
        assert!(fake.count(lists_to(Some(by))) > 1, "{with_account}");
        assert_eq!(tags(&stranger).await, json!(["v1"]), "{with_account}");
    }
}

#[tokio::test]
async fn tags_listed_to_two_at_once_are_listed_to_each() {
    let fake = Fake::start(Knobs::default()).await;
    fake.image("app", "secret", "image");
    fake.image("app", "v1", "another");
    fake.trouble(listed(&["v1"], ""), lists_to(Some(STRANGER)));
    let link = CountingProxy::in_front_of(&fake.url()).await;
    let gate = link.hold(lists_to(Some(READER)));
    let refshim = Local::configured(link.url(), |_| ()).await;
    let (stranger, reader) = callers(&refshim);
    let ask = |endpoint: Endpoint| tokio::spawn(async move { tags(&endpoint).await });
    let all = ask(reader);
    gate.reached_by(1).await;
    let some = ask(stranger);
    // Meanwhile the stranger's question comes as far as it can.
    refshim.endpoint().get("/v2/").await.expect_status(200);
    gate.open();
    assert_eq!(all.await.unwrap(), json!(["secret", "v1"]));
    assert_eq!(some.await.unwrap(), json!(["v1"]));
}

/// The account may not list this repository, or is listed nothing: the reader's own listing decides, whatever a stranger without
/// credentials is being listed meanwhile.
#[tokio::test]
async fn what_the_account_is_not_listed_the_caller_is() {
    for nothing in [
        Trouble::oci(403, "DENIED", "denied"),
        Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry"),
        listed(&[], ""),
    ] {
        let name = format!("{nothing:?}");
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let other = fake.image("app", "v2", "another");
        let referrer = fake.tagged_artifact("app", &image, SPDX, "sbom");
        fake.trouble(challenge(), |seen| seen.path == "/v2/");
        fake.trouble(nothing, lists_to(Some(INSIDER)));
        fake.trouble(listed(&[], ""), lists_to(None));
        let link = CountingProxy::in_front_of(&fake.url()).await;
        let gate = link.hold(lists_to(None));
        let password = password();
        let refshim = Local::configured(link.url(), |config| {
            by_names(config);
            lists_as_insider(config, password.path());
        })
        .await;
        let (_, reader) = callers(&refshim);
        let ask = |endpoint: Endpoint, digest: &str| {
            let digest = digest.to_owned();
            tokio::spawn(async move { endpoint.referrer_digests("app", &digest).await })
        };
        let stranger = ask(refshim.endpoint(), &other.digest);
        gate.reached_by(1).await;
        let found = ask(reader.clone(), &image.digest);
        // Meanwhile the reader's question comes as far as it can.
        refshim.endpoint().get("/v2/").await.expect_status(401);
        gate.open();
        assert_eq!(found.await.unwrap(), [&*referrer.digest], "{name}");
        assert!(stranger.await.unwrap().is_empty(), "{name}");
        assert_eq!(
            reader.referrer_digests("app", &image.digest).await,
            [&*referrer.digest],
            "{name}"
        );
    }
}

fn callers(refshim: &Local) -> (Endpoint, Endpoint) {
    let through = |authorization| refshim.endpoint().authorization(authorization);
    (through(STRANGER), through(READER))
}

fn challenge() -> Trouble {
    Trouble::answer(401, &[("www-authenticate", "Basic realm=\"registry\"")], "")
}

/// The account's.
fn password() -> tempfile::NamedTempFile {
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "password").unwrap();
    password
}
