//! An upstream that breaks, lies or never ends: the caller gets an error with an OCI body, or a list without what cannot be
//! believed. Never an empty list instead of an answer, never a hang.

use std::time::Duration;

use crate::support::content::{IMAGE, INDEX, bare_image, index};
use crate::support::fake::knobs::{Knobs, Last, Link, Referrers, TagPages};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Endpoint, Pushed, Refshim, Reply, Seen, within};
use futures_util::future::join_all;
use serde_json::json;

const SPDX: &str = "application/spdx+json";
/// More than any limit on nesting, less than any on bytes.
const DEEP: usize = 100_000;

/// Short patience, nothing remembered, small limits.
async fn front(fake: &Fake) -> Refshim {
    Refshim::builder(&fake.url())
        .env("REFSHIM_UPSTREAM__0__CONNECT_TIMEOUT", "1s")
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "1s")
        .env("REFSHIM_UPSTREAM__0__IDLE_TIMEOUT", "1s")
        .env("REFSHIM_UPSTREAM__0__RETRIES", "0")
        .env("REFSHIM_LIMITS__TAG_LIST_BYTES", "1000000")
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .env("REFSHIM_CACHE__STALE_IF_ERROR", "0s")
        .start()
        .await
}

/// A subject with two referrers, one of which the trouble is about.
struct Case {
    name: &'static str,
    repository: String,
    subject: Pushed,
    whole: Pushed,
    hurt: Pushed,
}

fn case(fake: &Fake, name: &'static str) -> Case {
    let repository = name.replace(' ', "-");
    let subject = fake.image(&repository, "v1", name);
    let whole = fake.tagged_artifact(&repository, &subject, SPDX, "whole");
    // By the referrers tag, so that one is read by its tag and the other by its digest.
    let hurt = fake.artifact(&repository, "", &subject, "application/x-hurt", "hurt");
    fake.put(
        &repository,
        &subject.referrers_tag(),
        INDEX,
        &index([hurt.descriptor()]),
    );
    Case {
        name,
        repository,
        subject,
        whole,
        hurt,
    }
}

impl Case {
    async fn ask(&self, endpoint: &Endpoint) -> Reply {
        let asked = endpoint.referrers_reply(&self.repository, &self.subject.digest);
        within(self.name, asked).await
    }

    async fn listed(&self, endpoint: &Endpoint) -> Vec<String> {
        within(
            self.name,
            endpoint.referrer_digests(&self.repository, &self.subject.digest),
        )
        .await
    }

    /// Both referrers, as when nothing is wrong.
    async fn recovers(&self, endpoint: &Endpoint) {
        let mut all = vec![self.whole.digest.clone(), self.hurt.digest.clone()];
        all.sort();
        assert_eq!(self.listed(endpoint).await, all, "{}, afterwards", self.name);
    }
}

/// An error of the gateway's, in the form in which registries give errors.
fn assert_error(name: &str, reply: &Reply) {
    assert!(matches!(reply.status, 429 | 502 | 503 | 504), "{name}: {reply:?}");
    assert_eq!(reply.header("content-type"), Some("application/json"), "{name}");
    assert!(reply.json()["errors"][0]["code"].is_string(), "{name}: {reply:?}");
}

fn json_answer(body: impl Into<bytes::Bytes>) -> Trouble {
    Trouble::answer(200, &[("content-type", "application/json")], body)
}

/// Each trouble with what matches it, all at once, each in a repository of its own.
async fn each(
    troubles: Vec<(&'static str, Trouble)>,
    about: impl Fn(&Case) -> String,
    expect: impl AsyncFn(&Case, &Endpoint),
) {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let cases: Vec<Case> = troubles
        .into_iter()
        .map(|(name, trouble)| {
            let case = case(&fake, name);
            let path = about(&case);
            fake.trouble(trouble, move |seen: &Seen| seen.path.starts_with(&path));
            case
        })
        .collect();
    let endpoint = refshim.endpoint();
    join_all(cases.iter().map(|case| expect(case, &endpoint))).await;
    fake.heal();
    join_all(cases.iter().map(|case| case.recovers(&endpoint))).await;
}

#[tokio::test]
async fn a_tag_listing_that_cannot_be_read_is_an_error() {
    let troubles = vec![
        ("tags closed", Trouble::Close),
        ("tags silent", Trouble::Silence),
        ("tags cut", Trouble::Cut(20)),
        ("tags stalled", Trouble::Stall(20)),
        ("tags endless", Trouble::Endless("\"made-up\",")),
        (
            "tags endless from the start",
            Trouble::Endless("{\"tags\":[\"a\"],\"x\":["),
        ),
        ("tags html", Trouble::html(200)),
        ("tags html 404", Trouble::html(404)),
        (
            "tags plain 404",
            Trouble::answer(404, &[("content-type", "text/plain")], "404 page not found\n"),
        ),
        ("tags empty 404", Trouble::answer(404, &[], "")),
        ("tags 500", Trouble::html(500)),
        ("tags 502", Trouble::html(502)),
        ("tags 429", Trouble::html(429)),
        ("tags missing", json_answer(r#"{"name":"x"}"#)),
        ("tags of another type", json_answer(r#"{"name":"x","tags":{"a":1}}"#)),
        ("tags that are numbers", json_answer(r#"{"tags":["a",1]}"#)),
        ("tags as an error", json_answer(r#"{"errors":[{"code":"UNKNOWN"}]}"#)),
        ("tags twice", json_answer(r#"{"tags":["a"]}{"tags":[]}"#)),
        ("tags nested", json_answer(format!("{{\"x\":{}", "[".repeat(DEEP)))),
        ("tags empty body", json_answer("")),
        ("tags no content", Trouble::answer(204, &[], "")),
        ("tags redirected", Trouble::answer(302, &[("location", "/v2/")], "")),
        (
            "tags redirected inside",
            Trouble::answer(307, &[("location", "http://169.254.169.254/x")], ""),
        ),
        ("tags redirected nowhere", Trouble::answer(307, &[], "")),
    ];
    let about = |case: &Case| format!("/v2/{}/tags/list", case.repository);
    each(troubles, about, async |case, endpoint| {
        assert_error(case.name, &case.ask(endpoint).await);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_an_error() {
    let troubles = vec![
        ("manifest closed", Trouble::Close),
        ("manifest silent", Trouble::Silence),
        ("manifest cut", Trouble::Cut(20)),
        ("manifest stalled", Trouble::Stall(20)),
        ("manifest 500", Trouble::html(500)),
        ("manifest 429", Trouble::oci(429, "TOOMANYREQUESTS", "slow down")),
        ("manifest html 404", Trouble::html(404)),
        ("manifest empty 404", Trouble::answer(404, &[], "")),
        (
            "manifest redirected inside",
            Trouble::answer(307, &[("location", "http://169.254.169.254/x")], ""),
        ),
    ];
    let about = |case: &Case| format!("/v2/{}/manifests/{}", case.repository, case.hurt.digest);
    each(troubles, about, async |case, endpoint| {
        assert_error(case.name, &case.ask(endpoint).await);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_that_cannot_be_believed_is_left_out() {
    let other = bare_image("another").to_string();
    let troubles = vec![
        (
            "manifest gone",
            Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        ),
        ("manifest swapped", Trouble::Body(other.into())),
        ("manifest garbage", Trouble::Body("garbage".into())),
        ("manifest empty", Trouble::Body("".into())),
        ("manifest endless", Trouble::Endless("{\"schemaVersion\":2,")),
        ("manifest nested", Trouble::Body("[".repeat(DEEP).into())),
    ];
    let about = |case: &Case| format!("/v2/{}/manifests/{}", case.repository, case.hurt.digest);
    each(troubles, about, async |case, endpoint| {
        assert_eq!(
            case.listed(endpoint).await,
            std::slice::from_ref(&case.whole.digest),
            "{}",
            case.name
        );
    })
    .await;
}

/// An index under the referrers tag lists many: without it, the list would be a wrong one.
#[tokio::test]
async fn a_referrers_tag_that_cannot_be_believed_is_an_error() {
    let too_large = format!(
        "{{\"manifests\":[],\"annotations\":{{\"a\":\"{}\"}}}}",
        "x".repeat(5 << 20)
    );
    let troubles = vec![
        ("index endless", Trouble::Endless("{\"schemaVersion\":2,")),
        ("index too large", Trouble::Body(too_large.into())),
        ("index garbage", Trouble::Body("garbage".into())),
        ("index empty", Trouble::Body("".into())),
        ("index nested", Trouble::Body("[".repeat(DEEP).into())),
    ];
    let about = |case: &Case| format!("/v2/{}/manifests/{}", case.repository, case.subject.referrers_tag());
    each(troubles, about, async |case, endpoint| {
        assert_error(case.name, &case.ask(endpoint).await);
    })
    .await;
}

/// The manifest is what was asked for, to the byte; only its head lies.
#[tokio::test]
async fn a_digest_in_a_header_is_not_believed() {
    let lie = format!("sha256:{}", "0".repeat(64));
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let case = case(&fake, "lying header");
    fake.trouble(Trouble::header("docker-content-digest", &lie), |seen| {
        seen.path.contains("/manifests/")
    });
    let reply = case.ask(&refshim.endpoint()).await;
    if reply.status == 200 {
        let listed = case.listed(&refshim.endpoint()).await;
        assert!(
            !listed.contains(&lie) && listed.contains(&case.hurt.digest),
            "{listed:?}"
        );
    } else {
        assert_error(case.name, &reply);
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_relayed() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let case = case(&fake, "denied");
    let hurt = case.hurt.digest.clone();
    fake.trouble(Trouble::oci(403, "DENIED", "not this one"), move |seen| {
        seen.path.ends_with(&hurt)
    });
    let reply = case.ask(&refshim.endpoint()).await.expect_status(403);
    assert_eq!(reply.json()["errors"][0]["message"], "not this one");
}

/// Half a listing may lack the half with the signatures.
#[tokio::test]
async fn tag_pages_that_lead_astray_are_an_error() {
    for (name, link) in [
        ("loop", Link::Loop),
        ("endless", Link::Endless),
        ("elsewhere", Link::Elsewhere),
    ] {
        let pages = TagPages {
            page: Some(2),
            greatest_n: None,
            last: Last::Seeks,
            link,
            ..TagPages::default()
        };
        let fake = Fake::start(profiles::tags(pages)).await;
        let refshim = front(&fake).await;
        let case = case(&fake, name);
        let endpoint = refshim.endpoint().authorization("Bearer secret");
        assert_error(name, &case.ask(&endpoint).await);
        assert!(fake.requests_elsewhere().is_empty(), "{name}");
        fake.turn(|knobs| knobs.tags.as_mut().unwrap().link = Link::Relative);
        case.recovers(&endpoint).await;
    }
}

#[tokio::test]
async fn a_page_that_breaks_after_a_good_one_is_an_error() {
    let fake = Fake::start(profiles::tags(TagPages {
        page: Some(2),
        greatest_n: None,
        ..TagPages::default()
    }))
    .await;
    let refshim = front(&fake).await;
    let case = case(&fake, "second page");
    for trouble in [
        Trouble::Close,
        Trouble::html(200),
        Trouble::html(400),
        Trouble::oci(404, "NAME_UNKNOWN", "repository name not known to registry"),
        Trouble::Cut(5),
    ] {
        let name = format!("{trouble:?}");
        fake.trouble(trouble, |seen| seen.path.contains("last="));
        assert_error(&name, &case.ask(&refshim.endpoint()).await);
        fake.heal();
    }
    case.recovers(&refshim.endpoint()).await;
}

#[tokio::test]
async fn a_list_of_the_upstreams_own_that_breaks_is_an_error() {
    for (name, trouble) in [
        ("own closed", Trouble::Close),
        ("own silent", Trouble::Silence),
        ("own cut", Trouble::Cut(20)),
        ("own stalled", Trouble::Stall(20)),
        ("own endless", Trouble::Endless("{\"manifests\":[],")),
        ("own 503", Trouble::html(503)),
        ("own 502", Trouble::html(502)),
    ] {
        let fake = Fake::start(Knobs {
            referrers: Referrers::Native(Default::default()),
            ..Knobs::default()
        })
        .await;
        let refshim = front(&fake).await;
        let case = case(&fake, name);
        fake.trouble(trouble, |seen| seen.path.contains("/referrers/"));
        assert_error(name, &case.ask(&refshim.endpoint()).await);
        fake.heal();
        case.recovers(&refshim.endpoint()).await;
    }
}

/// Its entries are hints like any other.
#[tokio::test]
async fn what_the_upstreams_own_list_makes_up_is_left_out() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let case = case(&fake, "made up");
    let gone = Pushed::of(IMAGE, &bare_image("gone"));
    let list = index([gone.descriptor(), case.subject.descriptor()]);
    let answer = Trouble::answer(200, &[("content-type", INDEX)], list.to_string());
    fake.trouble(answer, |seen| seen.path.contains("/referrers/"));
    case.recovers(&refshim.endpoint()).await;
}

/// Whoever answers for the registry from a store of its own may have taken one question for another.
#[tokio::test]
async fn a_list_of_what_refers_to_something_else_is_an_error() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let case = case(&fake, "another subject");
    let other = fake.image(&case.repository, "v2", "other");
    let foreign = fake.artifact(&case.repository, "", &other, SPDX, "foreign");
    let list = |entries: &[&Pushed]| {
        let entries = entries.iter().map(|entry| entry.descriptor());
        Trouble::answer(200, &[("content-type", INDEX)], index(entries).to_string())
    };
    fake.trouble(list(&[&foreign]), |seen| seen.path.contains("/referrers/"));
    case.ask(&refshim.endpoint()).await.expect_status(502);
    // One that lists too much lists what it should as well.
    fake.heal();
    fake.trouble(list(&[&foreign, &case.hurt]), |seen| seen.path.contains("/referrers/"));
    case.recovers(&refshim.endpoint()).await;
}

/// It may be a signature's.
#[tokio::test]
async fn an_entry_of_the_upstreams_own_list_that_cannot_be_read_is_an_error() {
    for odd in [json!({"digest": "../../etc/passwd"}), json!(7), json!({"size": 1})] {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = front(&fake).await;
        let case = case(&fake, "odd entry");
        let answer = Trouble::answer(200, &[("content-type", INDEX)], index([odd]).to_string());
        fake.trouble(answer, |seen| seen.path.contains("/referrers/"));
        case.ask(&refshim.endpoint()).await.expect_status(502);
    }
}

#[tokio::test]
async fn a_slow_upstream_is_waited_for_as_long_as_something_comes() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = front(&fake).await;
    let case = case(&fake, "slow");
    fake.trouble(Trouble::Trickle(Duration::from_millis(2)), |seen| {
        seen.path.contains("/tags/list")
    });
    case.recovers(&refshim.endpoint()).await;
}

/// Docker aborts a pull on an HTML answer to `/referrers`.
#[tokio::test]
async fn a_web_page_never_reaches_the_caller_as_an_answer_about_referrers() {
    for status in [200, 302, 400, 404, 405, 410, 429, 500, 503] {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = front(&fake).await;
        let case = case(&fake, "web page");
        fake.trouble(Trouble::html(status), |_| true);
        let reply = case.ask(&refshim.endpoint()).await;
        assert_ne!(reply.status, 200, "{status}");
        assert_eq!(
            reply.header("content-type"),
            Some("application/json"),
            "{status}: {reply:?}"
        );
        assert!(reply.json()["errors"][0]["code"].is_string(), "{status}: {reply:?}");
    }
}
