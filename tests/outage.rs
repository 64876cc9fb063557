//! When the upstream fails: a clear error or an answer that says how old it is. Never an empty list, never a hang.

mod support;

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use support::content::{INDEX, index};
use support::refshim::Builder;
use support::{CountingProxy, Endpoint, Fault, Pushed, Refshim, Registry, Reply, Seen, within};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A subject with one referrer of each kind of reading: by tag, and by digest out of a stored index.
struct Setup {
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
    by_digest: Pushed,
}

impl Setup {
    async fn new(configure: impl FnOnce(Builder) -> Builder) -> Self {
        let registry = Registry::v2().await;
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let refshim = configure(Refshim::builder(link.url())).start().await;
        let straight = registry.endpoint();
        let image = straight.push_image("app", "v1", "image").await;
        straight.attach("app", &image, TYPE, "tagged").await;
        let by_digest = straight.push_artifact("app", &image, TYPE, "by digest").await;
        let stored = index([by_digest.descriptor()]);
        straight
            .put_manifest("app", &image.referrers_tag(), INDEX, &stored)
            .await;
        Self {
            registry,
            link,
            refshim,
            image,
            by_digest,
        }
    }

    async fn ask(&self) -> Reply {
        self.refshim.endpoint().referrers_reply("app", &self.image.digest).await
    }

    async fn expect_both(&self) {
        let listed = self.refshim.endpoint().referrers("app", &self.image.digest).await;
        assert_eq!(listed.len(), 2, "{listed:?}");
    }
}

/// An error that a client cannot take for "none": no success, no 404, and an OCI body.
#[track_caller]
fn expect_failure(reply: &Reply, case: &str) {
    assert!(matches!(reply.status, 429 | 500 | 502 | 503 | 504), "{case}: {reply:?}");
    reply.error_code();
    assert!(
        reply
            .header("content-type")
            .is_some_and(|t| t.starts_with("application/json")),
        "{case}: {reply:?}"
    );
}

type Part = (&'static str, fn(&Seen) -> bool);

/// The requests without which a list may lack something.
const PARTS: [Part; 3] = [
    ("tag list", |seen| seen.path.contains("/tags/list")),
    ("tag", |seen| seen.path.contains("/manifests/sha256-")),
    ("manifest", |seen| seen.path.contains("/manifests/sha256:")),
];

#[tokio::test]
async fn no_part_of_a_scan_may_fail_unnoticed() {
    let faults = [
        ("closed", Fault::Close),
        ("500", Fault::status(500)),
        ("503", Fault::answer(503, &[("retry-after", "1")], "")),
        (
            "504",
            Fault::answer(504, &[("content-type", "text/html")], "<html>gateway timeout</html>"),
        ),
        ("cut", Fault::CutBody(10)),
    ];
    let setup = Setup::new(|builder| builder).await;
    for (part, matches) in PARTS {
        for (name, fault) in &faults {
            setup.link.fail(fault.clone(), matches);
            expect_failure(&setup.ask().await, &format!("{part} {name}"));
            setup.link.heal();
        }
    }
    setup.expect_both().await;
}

#[tokio::test]
async fn a_tag_list_that_is_none_is_a_failure() {
    let json = [("content-type", "application/json")];
    let bodies = [
        Fault::answer(200, &[("content-type", "text/html")], "<html>Sign in</html>"),
        Fault::answer(200, &json, ""),
        Fault::answer(200, &json, "{}"),
        Fault::answer(200, &json, r#"{"name":"app","tags":"none"}"#),
        Fault::answer(200, &json, r#"{"name":"app","tags":["v1""#),
        Fault::answer(404, &[("content-type", "text/html")], "<html>no such host</html>"),
        Fault::answer(302, &[("location", "/v2/app/tags/list")], ""),
    ];
    let setup = Setup::new(|builder| builder).await;
    for fault in bodies {
        let case = match &fault {
            Fault::Answer { status, body, .. } => format!("{status} {body:?}"),
            _ => unreachable!("all are answers"),
        };
        setup.link.fail(fault, |seen| seen.path.contains("/tags/list"));
        expect_failure(&setup.ask().await, &case);
        setup.link.heal();
    }
    setup.expect_both().await;
}

#[tokio::test]
async fn a_page_of_tags_that_fails_is_a_failure() {
    let setup = Setup::new(|builder| builder).await;
    let first = r#"{"name":"app","tags":["v1"]}"#;
    let headers = [
        ("content-type", "application/json"),
        ("link", "</v2/app/tags/list?last=v1&n=1>; rel=\"next\""),
    ];
    setup
        .link
        .fail(Fault::status(500), |seen| seen.path.contains("last=v1"));
    setup.link.fail(Fault::answer(200, &headers, first), |seen| {
        seen.path.contains("/tags/list")
    });
    expect_failure(&setup.ask().await, "second page");
}

#[tokio::test]
async fn a_busy_upstream_says_when_to_come_back() {
    let setup = Setup::new(|builder| builder).await;
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#;
    let headers = [("retry-after", "86400"), ("content-type", "application/json")];
    setup.link.fail(Fault::answer(429, &headers, body), |seen| {
        seen.path.contains("/tags/list")
    });
    let reply = setup.ask().await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("86400")));
    assert_eq!(reply.error_code(), "TOOMANYREQUESTS");
}

#[tokio::test]
async fn one_failure_is_retried_unseen() {
    for fault in [Fault::Close, Fault::status(503)] {
        for (_, matches) in PARTS {
            let setup = Setup::new(|builder| builder).await;
            setup.link.fail_times(1, fault.clone(), matches);
            setup.expect_both().await;
        }
    }
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_a_scan() {
    for (part, matches) in PARTS {
        let mut setup = Setup::new(|builder| builder).await;
        let gate = setup.link.hold(matches);
        let (through, digest) = (setup.refshim.endpoint(), setup.image.digest.clone());
        let asked = tokio::spawn(async move { through.referrers_reply("app", &digest).await });
        gate.reached_by(1).await;
        setup.registry.kill();
        gate.open();
        expect_failure(&within(part, asked).await.unwrap(), part);

        setup.registry.restart().await;
        setup.expect_both().await;
    }
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_given_up() {
    let setup = Setup::new(|b| b.env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "200ms")).await;
    setup.registry.freeze();
    expect_failure(&setup.ask().await, "referrers");
    let manifest = setup.refshim.endpoint().manifest("app", "v1").await;
    expect_failure(&manifest, "pass-through");
    setup.registry.thaw();
    setup.expect_both().await;
}

#[tokio::test]
async fn pass_through_without_an_upstream_is_a_clear_error() {
    let mut setup = Setup::new(|builder| builder).await;
    setup.registry.kill();
    let through = setup.refshim.endpoint();
    let blob = format!("/v2/app/blobs/{}", setup.image.digest);
    let manifest = format!("/v2/app/manifests/{}", setup.image.digest);
    for path in ["/v2/", "/v2/_catalog", "/v2/app/tags/list", &blob, &manifest] {
        expect_failure(&through.get(path).await, path);
    }
    let upload = through
        .send(Method::POST, "/v2/app/blobs/uploads/", &[], Bytes::new())
        .await;
    expect_failure(&upload, "upload");
    assert_eq!(through.head(&manifest).await.body.len(), 0);
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_a_download() {
    for http2 in [false, true] {
        let mut setup = Setup::new(|builder| builder).await;
        let size = 64 << 20;
        let digest = setup.registry.endpoint().push_blob("app", vec![7; size]).await;
        let through = setup.refshim.endpoint();
        let through = if http2 { through.h2c() } else { through };
        let mut body = through
            .open(&format!("/v2/app/blobs/{digest}"))
            .await
            .unwrap()
            .into_body();
        body.frame().await.expect("a first frame").unwrap();
        setup.registry.kill();
        // More than the sockets between hold: the end must show as an error, not as a short blob.
        let end = within("the download ends", support::exchange::read(body)).await;
        assert!(end.is_err(), "http2 {http2}: a cut blob looked complete");
    }
}

#[tokio::test]
async fn the_upstream_dies_in_the_middle_of_an_upload() {
    let mut setup = Setup::new(|builder| builder).await;
    let through = setup.refshim.endpoint();
    let started = through
        .send(Method::POST, "/v2/app/blobs/uploads/", &[], Bytes::new())
        .await;
    let location = started
        .expect_status(202)
        .header("location")
        .expect("a Location")
        .to_owned();
    let (sender, body) = support::exchange::channel();
    let headers = [("content-type", "application/octet-stream")];
    let request = through
        .request(Method::PATCH, &location, &headers, Bytes::new())
        .map(|_| body);
    let answer = tokio::spawn(support::exchange::send_body(request));
    sender.send(Bytes::from(vec![7; 1 << 20])).await.unwrap();
    setup.link.saw("the upload", |seen| seen.method == Method::PATCH).await;
    setup.registry.kill();
    // Until refshim stops reading: what it was sent can go nowhere.
    let pushing = async { while sender.send(Bytes::from(vec![7; 1 << 20])).await.is_ok() {} };
    within("the upload stops", pushing).await;
    match within("the upload is answered", answer).await.unwrap() {
        Ok(reply) => expect_failure(&reply, "upload"),
        // The connection may break while the caller still sends.
        Err(error) => assert!(!error.to_string().contains("nothing happened"), "{error}"),
    }
}

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
            .is_some_and(|warning| warning.starts_with("110 ")),
        "{stale:?}"
    );
    expect_failure(
        &through.referrers_reply("app", &setup.by_digest.digest).await,
        "a stale none",
    );

    setup.registry.restart().await;
    assert_eq!(setup.ask().await.expect_status(200).header("warning"), None);
}
