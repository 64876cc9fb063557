//! The upstream's own referrers API is believed only when it is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use refshim::body::Body;
use refshim::oci::Digest;
use refshim::oci::media_type::OCI_IMAGE_INDEX;
use refshim::upstream::{Native, Upstream, UpstreamError};

use crate::scripted::{Scripted, oci_error, reply};
use crate::support::{Program, Registry};
use crate::{alice, digest, repository, upstream};

/// What a server says to everybody.
type Answer = fn() -> Response<Body>;

fn index(entries: &[&str], headers: &[(&str, &str)]) -> Response<Body> {
    let manifests: Vec<_> = entries
        .iter()
        .map(|name| serde_json::json!({"mediaType": "a/b", "digest": digest(name), "size": 1}))
        .collect();
    let body = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX, "manifests": manifests});
    reply(
        200,
        &[headers, &[("content-type", OCI_IMAGE_INDEX)]].concat(),
        body.to_string(),
    )
}

async fn ask(upstream: &Upstream) -> Result<Native, UpstreamError> {
    upstream
        .native_referrers(&repository(), &digest("subject"), &alice())
        .await
}

/// Answers each request with the next of `replies`, and the last ones for ever.
async fn server(replies: Vec<fn() -> Response<Body>>) -> Scripted {
    let next = Arc::new(AtomicUsize::new(0));
    Scripted::start(move |_| replies[next.fetch_add(1, Ordering::SeqCst).min(replies.len() - 1)]()).await
}

#[tokio::test]
async fn an_index_is_read_page_by_page() {
    let server = server(vec![|| index(&["a"], &[("link", "<?page=2>; rel=next")]), || {
        index(&["b"], &[])
    }])
    .await;
    let upstream = upstream(&server.url());
    let Ok(Native::Supported(entries)) = ask(&upstream).await else {
        panic!("not supported")
    };
    assert_eq!(
        entries.iter().map(|d| d.digest.clone()).collect::<Vec<_>>(),
        [digest("a"), digest("b")]
    );
    assert_eq!(upstream.native(), Some(true));
    let lines = server.lines();
    assert_eq!(lines[0], format!("GET /v2/team/app/referrers/{}", digest("subject")));
    assert_eq!(
        lines[1],
        format!("GET /v2/team/app/referrers/{}?page=2", digest("subject"))
    );
}

#[tokio::test]
async fn everything_else_is_unsupported() {
    let others: [fn() -> Response<Body>; 11] = [
        || reply(404, &[("content-type", "text/plain")], "404 page not found"),
        || oci_error(404, "MANIFEST_UNKNOWN"),
        || oci_error(400, "UNSUPPORTED"),
        || reply(405, &[], ""),
        || reply(406, &[], ""),
        || reply(500, &[], ""),
        || reply(501, &[], ""),
        || reply(303, &[("location", "http://127.0.0.2:1/web/page")], ""),
        || reply(200, &[("content-type", "text/html")], "<html>"),
        || reply(200, &[("content-type", "application/json")], r#"{"manifests":[]}"#),
        || reply(200, &[("content-type", OCI_IMAGE_INDEX)], "{}"),
    ];
    for (number, other) in others.into_iter().enumerate() {
        let server = server(vec![other]).await;
        let upstream = upstream(&server.url());
        let answer = ask(&upstream).await;
        assert!(matches!(answer, Ok(Native::Unsupported)), "{number}: {answer:?}");
        assert_eq!(upstream.native(), Some(false), "{number}");
    }
}

#[tokio::test]
async fn real_registries_have_none() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        assert!(matches!(ask(&upstream(&registry.url())).await, Ok(Native::Unsupported)));
    }
}

#[tokio::test]
async fn refusals_and_failures_are_neither() {
    for status in [401, 403] {
        let server = Scripted::start(move |_| reply(status, &[], "")).await;
        let upstream = upstream(&server.url());
        assert!(matches!(ask(&upstream).await, Ok(Native::Refused(refusal)) if refusal.status == status));
        assert_eq!(upstream.native(), None);
    }
    for status in [429, 502, 503, 504] {
        let server = Scripted::start(move |_| reply(status, &[("retry-after", "9")], "")).await;
        let upstream = upstream(&server.url());
        assert!(ask(&upstream).await.is_err());
        assert_eq!(upstream.native(), None);
    }
}

#[tokio::test]
async fn an_api_that_is_known_may_fail_or_know_nothing() {
    let server = server(vec![
        || index(&["a"], &[]),
        || oci_error(404, "NAME_UNKNOWN"),
        || oci_error(400, "MANIFEST_INVALID"),
        || reply(500, &[], ""),
    ])
    .await;
    let upstream = upstream(&server.url());
    assert!(matches!(ask(&upstream).await, Ok(Native::Supported(entries)) if entries.len() == 1));
    for _ in 0..2 {
        assert!(matches!(ask(&upstream).await, Ok(Native::Supported(entries)) if entries.is_empty()));
    }
    assert!(ask(&upstream).await.is_err(), "no fewer referrers because of a failure");
}

/// Anybody may ask anything: what one question is answered must not hide what others would find.
#[tokio::test]
async fn no_question_turns_the_api_off_for_others() {
    let odd = Digest::parse("foo:bar").unwrap();
    let about =
        async |upstream: &Upstream, subject: &Digest| upstream.native_referrers(&repository(), subject, &alice()).await;
    let others: [(Answer, &Digest); 4] = [
        (|| reply(400, &[], ""), &odd),
        (
            || reply(404, &[("content-type", "text/plain")], "404 page not found"),
            &odd,
        ),
        (|| reply(500, &[], ""), &odd),
        (|| reply(404, &[], ""), &digest("gone")),
    ];
    for (number, (other, subject)) in others.into_iter().enumerate() {
        let server = server(vec![other]).await;
        let unknown = upstream(&server.url());
        let answer = about(&unknown, subject).await;
        assert!(matches!(answer, Ok(Native::Unsupported)) || answer.is_err(), "{number}");
        assert_eq!(unknown.native(), None, "{number}");
    }
    let known: [(Answer, &Digest, bool); 4] = [
        (|| reply(400, &[], ""), &odd, true),
        (|| reply(404, &[], ""), &digest("gone"), true),
        (
            || reply(200, &[("content-type", "text/html")], "log in"),
            &digest("a"),
            false,
        ),
        (
            || reply(404, &[("content-type", "text/plain")], "404 page not found"),
            &digest("a"),
            false,
        ),
    ];
    for (number, (other, subject, is_answer)) in known.into_iter().enumerate() {
        let server = server(vec![|| index(&["a"], &[]), other]).await;
        let upstream = upstream(&server.url());
        assert!(ask(&upstream).await.is_ok());
        let answer = about(&upstream, subject).await;
        match is_answer {
            true => assert!(
                matches!(&answer, Ok(Native::Supported(list)) if list.is_empty()),
                "{number}: {answer:?}"
            ),
            false => assert!(answer.is_err(), "{number}: {answer:?}"),
        }
        assert_eq!(upstream.native(), Some(true), "{number}");
    }
}

#[tokio::test]
async fn half_a_list_is_an_error() {
    let server = server(vec![|| index(&["a"], &[("link", "<?page=2>; rel=next")]), || {
        oci_error(404, "X")
    }])
    .await;
    assert!(ask(&upstream(&server.url())).await.is_err());
    let endless = Scripted::start(|_| index(&["a"], &[("link", "<?again>; rel=next")])).await;
    assert!(ask(&upstream(&endless.url())).await.is_err());
}
