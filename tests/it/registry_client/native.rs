//! The upstream's own referrers API: what it answers is understood, or a failure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use refshim::testing::http::body::Body;
use refshim::testing::oci::Digest;
use refshim::testing::oci::media_type::OCI_IMAGE_INDEX;
use refshim::testing::registry::{Native, Upstream, UpstreamError};

use crate::registry_client::scripted::{Scripted, oci_error, reply};
use crate::registry_client::{alice, digest, repository, upstream, upstream_with};
use crate::support::{Program, Registry};

/// What a server says to everybody.
type Answer = fn() -> Response<Body>;

fn list(entries: &[&str]) -> String {
    let manifests: Vec<_> = entries
        .iter()
        .map(|name| serde_json::json!({"mediaType": "a/b", "digest": digest(name), "size": 1}))
        .collect();
    serde_json::json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": manifests}).to_string()
}

fn index(entries: &[&str], headers: &[(&str, &str)]) -> Response<Body> {
    reply(
        200,
        &[headers, &[("content-type", OCI_IMAGE_INDEX)]].concat(),
        list(entries),
    )
}

async fn ask(upstream: &Upstream) -> Result<Native, UpstreamError> {
    upstream
        .native_referrers(&repository(), &digest("subject"), &alice())
        .await
}

/// Answers each request with the next of `replies`, and the last ones for ever.
async fn server(replies: Vec<Answer>) -> Scripted {
    let next = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |_| replies[next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1)]()).await
}

/// What becomes of an answer to a question about `subject`.
async fn judged(answer: Answer, subject: &Digest) -> Result<Native, UpstreamError> {
    let server = server(vec![answer]).await;
    let upstream = upstream_with(&server.url(), |config, _| config.retries = 0);
    upstream.native_referrers(&repository(), subject, &alice()).await
}

#[tokio::test]
async fn an_index_is_read_page_by_page() {
    let server = server(vec![|| index(&["a"], &[("link", "<?page=2>; rel=next")]), || {
        index(&["b"], &[])
    }])
    .await;
    let upstream = upstream(&server.url());
    let Ok(Native::Entries(entries)) = ask(&upstream).await else {
        panic!("no entries")
    };
    assert_eq!(
        entries.iter().map(|d| d.digest.clone()).collect::<Vec<_>>(),
        [digest("a"), digest("b")]
    );
    let lines = server.lines();
    assert_eq!(lines[0], format!("GET /v2/team/app/referrers/{}", digest("subject")));
    assert_eq!(
        lines[1],
        format!("GET /v2/team/app/referrers/{}?page=2", digest("subject"))
    );
}

#[tokio::test]
async fn an_image_index_counts_whatever_its_content_type() {
    let answers: [Answer; 4] = [
        || reply(200, &[("content-type", "application/json")], list(&["a"])),
        || {
            let with_parameter = format!("{OCI_IMAGE_INDEX}; charset=utf-8");
            reply(200, &[("content-type", &with_parameter)], list(&["a"]))
        },
        || reply(200, &[], list(&["a"])),
        || reply(200, &[("content-type", "text/plain")], list(&["a"])),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let judged = judged(answer, &digest("subject")).await;
        assert!(
            matches!(&judged, Ok(Native::Entries(list)) if list.len() == 1),
            "{number}: {judged:?}"
        );
    }
}

#[tokio::test]
async fn a_missing_route_is_told_by_what_registries_without_the_api_say() {
    let answers: [Answer; 8] = [
        || {
            reply(
                404,
                &[("content-type", "text/plain; charset=utf-8")],
                "404 page not found\n",
            )
        },
        || reply(404, &[("content-type", "text/html")], "<html>"),
        || reply(404, &[], "not found"),
        || reply(303, &[("location", "http://127.0.0.2:1/web/page")], ""),
        || reply(302, &[("location", "/login")], ""),
        || reply(405, &[], ""),
        || oci_error(405, "UNSUPPORTED"),
        || oci_error(501, "UNSUPPORTED"),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let judged = judged(answer, &digest("subject")).await;
        assert!(matches!(judged, Ok(Native::NoRoute(_))), "{number}: {judged:?}");
    }
}

#[tokio::test]
async fn nothing_is_told_by_its_code() {
    let odd = Digest::parse("foo:bar").unwrap();
    let common = digest("subject");
    let answers: [(Answer, &Digest); 7] = [
        (|| oci_error(404, "NAME_UNKNOWN"), &common),
        (|| oci_error(404, "MANIFEST_UNKNOWN"), &common),
        (|| oci_error(404, "NOT_FOUND"), &common),
        (|| oci_error(400, "MANIFEST_INVALID"), &common),
        (|| reply(404, &[], ""), &odd),
        (|| oci_error(400, "DIGEST_INVALID"), &odd),
        (|| oci_error(400, "UNSUPPORTED"), &odd),
    ];
    for (number, (answer, subject)) in answers.into_iter().enumerate() {
        let judged = judged(answer, subject).await;
        assert!(matches!(judged, Ok(Native::Nothing)), "{number}: {judged:?}");
    }
    let silent = judged(|| reply(404, &[], ""), &common).await;
    assert!(
        matches!(&silent, Ok(Native::Silence(seen)) if seen.contains("404")),
        "{silent:?}"
    );
    let null = || reply(200, &[], r#"{"schemaVersion":2,"manifests":null}"#);
    let empty = judged(null, &common).await;
    assert!(
        matches!(&empty, Ok(Native::Entries(list)) if list.is_empty()),
        "{empty:?}"
    );
}

#[tokio::test]
async fn whatever_else_comes_is_a_failure_that_says_what() {
    let answers: [(Answer, &str); 27] = [
        (|| oci_error(404, "DENIED"), "DENIED"),
        (|| oci_error(404, "BLOB_UNKNOWN"), "BLOB_UNKNOWN"),
        (|| oci_error(404, "UNAVAILABLE"), "UNAVAILABLE"),
        (|| reply(404, &[("content-type", "application/json")], "{}"), "404"),
        (
            || {
                reply(
                    404,
                    &[("content-type", "text/plain")],
                    r#"{"errors":[{"message":"x"}]}"#,
                )
            },
            "404",
        ),
        (|| oci_error(400, "UNSUPPORTED"), "UNSUPPORTED"),
        (|| oci_error(400, "DIGEST_INVALID"), "DIGEST_INVALID"),
        (|| reply(400, &[("content-type", "text/plain")], "bad"), "400"),
        (|| reply(406, &[], ""), "406"),
        (|| reply(410, &[("content-type", "text/html")], "<html>"), "410"),
        (|| reply(418, &[], ""), "418"),
        (|| reply(302, &[], ""), "302"),
        (|| reply(204, &[], ""), "204"),
        (|| reply(203, &[("content-type", OCI_IMAGE_INDEX)], list(&[])), "203"),
        (|| reply(206, &[("content-type", OCI_IMAGE_INDEX)], list(&[])), "206"),
        (|| reply(200, &[("content-type", "text/html")], "<html>"), "text/html"),
        (
            || reply(200, &[("content-type", OCI_IMAGE_INDEX)], "{}"),
            OCI_IMAGE_INDEX,
        ),
        (|| index(&["a"], &[("link", "<?page=2>; rel=last")]), "Link"),
        (
            || index(&["a"], &[("link", "<?page=2>; rel=\"https://r.example/next\"")]),
            "Link",
        ),
        (|| reply(200, &[], r#"{"manifests":[{"size":1}]}"#), "digest"),
        (|| reply(200, &[], r#"{"manifests":[{"digest":"x:"}]}"#), "digest"),
        (|| reply(200, &[("content-type", OCI_IMAGE_INDEX)], ""), "200"),
        (|| reply(500, &[], ""), "500"),
        (
            || reply(200, &[], r#"{"manifests":[],"errors":[{"code":"UNAVAILABLE"}]}"#),
            "UNAVAILABLE",
        ),
        // What is left out was not asked to be.
        (
            || index(&["a"], &[("oci-filters-applied", "artifactType")]),
            "artifactType",
        ),
        (
            || {
                let filtered = r#"{"org.opencontainers.referrers.filtersApplied":"artifactType"}"#;
                reply(200, &[], format!(r#"{{"manifests":[],"annotations":{filtered}}}"#))
            },
            "artifactType",
        ),
        (
            || {
                let filtered = r#"{"org.opencontainers.references.filtersApplied":"artifactType"}"#;
                reply(200, &[], format!(r#"{{"manifests":[],"annotations":{filtered}}}"#))
            },
            "artifactType",
        ),
    ];
    for (number, (answer, said)) in answers.into_iter().enumerate() {
        match judged(answer, &digest("subject")).await {
            Err(error) => assert!(error.to_string().contains(said), "{number}: {error}"),
            judged => panic!("{number}: {judged:?}"),
        }
    }
}

#[tokio::test]
async fn a_page_that_forbids_is_told_apart_from_a_missing_route() {
    let page: Answer = || reply(403, &[("content-type", "text/html")], "<html>");
    let judged = judged(page, &digest("subject")).await;
    assert!(matches!(judged, Ok(Native::Barred(_))), "{judged:?}");
}

#[tokio::test]
async fn real_registries_have_none() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        assert!(matches!(ask(&upstream(&registry.url())).await, Ok(Native::NoRoute(_))));
    }
}

#[tokio::test]
async fn refusals_are_relayed_and_limits_are_failures() {
    let refusals: [Answer; 5] = [
        || reply(401, &[], ""),
        || reply(401, &[("content-type", "text/html")], "<html>"),
        || reply(403, &[], ""),
        || oci_error(403, "DENIED"),
        || oci_error(400, "DENIED"),
    ];
    for (number, answer) in refusals.into_iter().enumerate() {
        let judged = judged(answer, &digest("subject")).await;
        assert!(matches!(judged, Ok(Native::Refused(_))), "{number}: {judged:?}");
    }
    for status in [429, 502, 503, 504, 507] {
        let server = Scripted::start(move |_| reply(status, &[("retry-after", "9")], "")).await;
        assert!(ask(&upstream(&server.url())).await.is_err(), "{status}");
    }
}

/// Redirects every question to `elsewhere`.
async fn redirecting_to(elsewhere: &Scripted) -> Scripted {
    let target = format!("{}/v2/mirror/referrers/{}", elsewhere.url(), digest("subject"));
    Scripted::start(move |_| reply(307, &[("location", &target)], "")).await
}

/// An upstream that may redirect to 127.0.0.2.
fn trusting_elsewhere(server: &Scripted) -> Upstream {
    upstream_with(&server.url(), |config, _| {
        config.redirect_hosts.insert("127.0.0.2".into());
    })
}

#[tokio::test]
async fn the_api_may_be_elsewhere() {
    let entries = || index(&["a"], &[]);
    let elsewhere = Scripted::start_at("127.0.0.2", move |_| entries()).await;
    let server = redirecting_to(&elsewhere).await;
    let judged = ask(&trusting_elsewhere(&server)).await;
    assert!(
        matches!(&judged, Ok(Native::Entries(list)) if list.len() == 1),
        "{judged:?}"
    );
    let asked = elsewhere.take();
    assert!(asked.len() == 1 && asked[0].header("authorization").is_none());
    // A host inside that nobody named is not asked, and what it would say is not taken for nothing.
    assert!(ask(&upstream(&server.url())).await.is_err());
}

#[tokio::test]
async fn pages_elsewhere_link_to_where_they_are() {
    let elsewhere = Scripted::start_at("127.0.0.2", |request| match request.uri().query() {
        None => {
            let host = request.headers()["host"].to_str().unwrap_or_default();
            let link = format!("<http://{host}{}?page=2>; rel=next", request.uri().path());
            index(&["a"], &[("link", &link)])
        }
        Some(_) => index(&["b"], &[]),
    })
    .await;
    let server = redirecting_to(&elsewhere).await;
    let judged = ask(&trusting_elsewhere(&server)).await;
    assert!(
        matches!(&judged, Ok(Native::Entries(list)) if list.len() == 2),
        "{judged:?}"
    );
}

#[tokio::test]
async fn a_list_is_bounded_by_its_bytes() {
    let server = Scripted::start(|request| {
        let page: u32 = request.uri().query().map_or(0, |query| query.parse().unwrap_or(0));
        index(&["a"], &[("link", &format!("<?{}>; rel=next", page + 1))])
    })
    .await;
    let bounded = upstream_with(&server.url(), |_, limits| limits.tag_list_bytes = 1000);
    assert!(ask(&bounded).await.is_err());
    let asked = server.lines().len();
    assert!(asked < 10, "{asked}");
}

#[tokio::test]
async fn half_a_list_is_an_error() {
    let second: [Answer; 4] = [
        || oci_error(404, "X"),
        || oci_error(404, "MANIFEST_UNKNOWN"),
        || reply(404, &[("content-type", "text/plain")], "404 page not found"),
        || reply(405, &[], ""),
    ];
    for second in second {
        let server = server(vec![|| index(&["a"], &[("link", "<?page=2>; rel=next")]), second]).await;
        assert!(ask(&upstream(&server.url())).await.is_err());
    }
    let endless = Scripted::start(|_| index(&["a"], &[("link", "<?again>; rel=next")])).await;
    assert!(ask(&upstream(&endless.url())).await.is_err());
}
