//! Manifests and blobs: believed only when they are what they claim to be.

use refshim::testing::oci::media_type::{ACCEPT_MANIFESTS, OCI_IMAGE_MANIFEST};
use refshim::testing::registry::{Answer, HeadOutcome, RequestKind, RequestOutcome, UpstreamError};

use crate::registry_client::scripted::{Scripted, oci_error, reply};
use crate::registry_client::{alice, anyone, digest, found, invalid, reference, repository, upstream, upstream_with};
use crate::support::{CountingProxy, Fault, Program, Registry};

#[tokio::test]
async fn real_registries_give_manifests_heads_and_blobs() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let image = registry.endpoint().push_image("team/app", "v1", "one").await;
        let upstream = upstream(&registry.url());
        for asked in ["v1", &image.digest] {
            let manifest = found(upstream.manifest(&repository(), &reference(asked), &anyone()).await);
            assert_eq!(manifest.bytes, image.bytes);
            assert_eq!(
                (manifest.digest.as_str(), manifest.media_type.as_str()),
                (&*image.digest, OCI_IMAGE_MANIFEST)
            );
            let head = found(
                upstream
                    .head_manifest(&repository(), &reference(asked), &anyone())
                    .await,
            );
            assert_eq!(
                (head.digest.as_str(), head.size),
                (&*image.digest, Some(image.size() as u64))
            );
        }
        assert_eq!(
            found(upstream.blob(&repository(), &digest("{}"), 2, &anyone()).await),
            "{}"
        );
        let no = reference("no");
        assert!(matches!(
            upstream.manifest(&repository(), &no, &anyone()).await,
            Ok(Answer::Absent)
        ));
        assert!(matches!(
            upstream.head_manifest(&repository(), &no, &anyone()).await,
            Ok(Answer::Absent)
        ));
        let blob = upstream.blob(&repository(), &digest("no"), 2, &anyone()).await;
        assert!(matches!(blob, Ok(Answer::Absent)), "{program:?}: {blob:?}");
    }
}

#[tokio::test]
async fn manifests_are_asked_for_by_every_type_and_with_the_callers_credentials() {
    let server = Scripted::start(|_| oci_error(404, "MANIFEST_UNKNOWN")).await;
    let upstream = upstream(&format!("{}/behind/", server.url()));
    let _ = upstream.manifest(&repository(), &reference("v1"), &alice()).await;
    let asked = server.take().remove(0);
    assert_eq!(asked.line, "GET /behind/v2/team/app/manifests/v1");
    assert_eq!(asked.header("accept"), Some(ACCEPT_MANIFESTS));
    assert_eq!(asked.header("authorization"), Some("Bearer alice"));
}

#[tokio::test]
async fn heads_have_no_body_whatever_length_they_tell() {
    let named = digest("x").to_string();
    let server = Scripted::start(move |request| match request.uri().path() {
        path if path.ends_with("no") => reply(404, &[("content-type", "text/html"), ("content-length", "9")], ""),
        _ => reply(200, &[("docker-content-digest", &named), ("content-length", "777")], ""),
    })
    .await;
    for http2 in [false, true] {
        let upstream = upstream_with(&server.url(), |config, _| config.http2_prior_knowledge = http2);
        let head = found(upstream.head_manifest(&repository(), &reference("v1"), &anyone()).await);
        assert_eq!((head.digest, head.size), (digest("x"), Some(777)), "HTTP/2: {http2}");
        let no = upstream.head_only(&repository(), &reference("no"), &anyone()).await;
        assert!(matches!(no, Ok(HeadOutcome::NotFound)), "{no:?}");
    }
}

#[track_caller]
fn unbelievable<T: std::fmt::Debug>(answer: Result<T, UpstreamError>) {
    assert!(matches!(answer, Err(UpstreamError::Content(_))), "{answer:?}");
}

#[tokio::test]
async fn bytes_that_are_not_what_was_asked_for_are_not_believed() {
    let wrong = digest("other").to_string();
    let server = Scripted::start(move |_| reply(200, &[("docker-content-digest", &wrong)], "{}")).await;
    let upstream = upstream_with(&server.url(), |_, limits| limits.manifest_bytes = 2);
    let (repository, caller) = (repository(), anyone());
    unbelievable(upstream.manifest(&repository, &digest("x").into(), &caller).await);
    // By tag, nobody but the registry says what the bytes should be.
    invalid(upstream.manifest(&repository, &reference("v1"), &caller).await);
    unbelievable(upstream.blob(&repository, &digest("x"), 9, &caller).await);
    unbelievable(upstream.blob(&repository, &digest("{}"), 1, &caller).await);
    let unknown = format!("blake3:{}", "0".repeat(64));
    unbelievable(upstream.manifest(&repository, &reference(&unknown), &caller).await);
    // The header is wrong, what was asked for is right.
    found(upstream.manifest(&repository, &digest("{}").into(), &caller).await);
    let small = upstream_with(&server.url(), |_, limits| limits.manifest_bytes = 1);
    unbelievable(small.manifest(&repository, &digest("{}").into(), &caller).await);
}

#[tokio::test]
async fn without_a_digest_header_the_bytes_tell() {
    let type_with_parameters = [(
        "content-type",
        "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
    )];
    let server = Scripted::start(move |_| reply(200, &type_with_parameters, "{}")).await;
    let upstream = upstream(&server.url());
    let manifest = found(upstream.manifest(&repository(), &reference("v1"), &anyone()).await);
    assert_eq!(
        (manifest.digest, manifest.media_type.as_str()),
        (digest("{}"), OCI_IMAGE_MANIFEST)
    );
    server.take();
    let head = found(upstream.head_manifest(&repository(), &reference("v1"), &anyone()).await);
    assert_eq!((head.digest, head.size), (digest("{}"), Some(2)));
    assert_eq!(
        server.lines(),
        ["HEAD /v2/team/app/manifests/v1", "GET /v2/team/app/manifests/v1"]
    );
}

#[tokio::test]
async fn web_pages_are_no_manifests() {
    for status in [200, 404] {
        let page = [("content-type", "text/html; charset=utf-8")];
        let server = Scripted::start(move |_| reply(status, &page, "<html>")).await;
        let upstream = upstream(&server.url());
        invalid(upstream.manifest(&repository(), &reference("v1"), &anyone()).await);
    }
}

#[tokio::test]
async fn other_refusals_are_relayed_as_they_are() {
    let expired = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired."}]}"#;
    for status in [400, 401, 403, 405, 451] {
        let server = Scripted::start(move |_| reply(status, &[], expired)).await;
        let answer = upstream(&server.url())
            .manifest(&repository(), &reference("v1"), &anyone())
            .await;
        let Ok(Answer::Refused(refusal)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (refusal.status.as_u16(), refusal.body.as_ref()),
            (status, expired.as_bytes())
        );
    }
}

#[tokio::test]
async fn a_refusal_that_is_too_long_is_cut() {
    let server = Scripted::start(|_| reply(403, &[], vec![b'x'; 100_000])).await;
    let answer = upstream(&server.url())
        .manifest(&repository(), &reference("v1"), &anyone())
        .await;
    let Ok(Answer::Refused(refusal)) = answer else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (refusal.body.len(), refusal.headers.contains_key("content-length")),
        (64 << 10, false)
    );
}

#[tokio::test]
async fn failures_are_retried_counted_and_then_told() {
    let registry = Registry::v2().await;
    registry.endpoint().push_image("team/app", "v1", "one").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let upstream = upstream(link.url());
    let (repository, v1) = (repository(), reference("v1"));
    for fault in [Fault::Close, Fault::CutBody(9), Fault::status(502), Fault::status(504)] {
        link.fail_times(1, fault, |_| true);
        found(upstream.manifest(&repository, &v1, &anyone()).await);
    }
    let counts = upstream.requests();
    let total = || counts.iter().map(|(_, count)| count.get()).sum::<u64>();
    assert_eq!(total(), 8);
    assert_eq!(counts.get((RequestKind::Manifest, RequestOutcome::Failed)).get(), 2);
    link.fail(Fault::status(500), |_| true);
    let failed = upstream.manifest(&repository, &v1, &anyone()).await;
    assert!(matches!(failed, Err(UpstreamError::Failed(status)) if status == 500));
    assert_eq!(total(), 11);
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let upstream = upstream(&format!("http://127.0.0.1:{}", crate::support::process::free_port()));
    let answer = upstream.get("/v2/", &anyone(), 100).await;
    assert!(matches!(answer, Err(UpstreamError::Connect(_))), "{answer:?}");
}

#[tokio::test]
async fn an_answer_that_never_begins_or_never_ends_is_given_up() {
    let registry = Registry::v2().await;
    let url = registry.url();
    registry.freeze();
    let short = std::time::Duration::from_millis(50);
    let upstream = upstream_with(&url, |config, _| {
        (config.first_byte_timeout, config.connect_timeout, config.retries) = (short, short, 0);
    });
    let answer = upstream.get("/v2/", &anyone(), 100).await;
    assert!(matches!(answer, Err(UpstreamError::Timeout(_))), "{answer:?}");
    registry.thaw();

    let server = Scripted::start(|_| http::Response::new(crate::registry_client::forward::endless("a"))).await;
    let upstream = upstream_with(&server.url(), |config, _| {
        (config.idle_timeout, config.retries) = (short, 0)
    });
    let answer = upstream.get("/v2/", &anyone(), 100).await;
    assert!(matches!(answer, Err(UpstreamError::Timeout(_))), "{answer:?}");
}

/// Whatever a HEAD leaves open, a GET decides: also that there is nothing, which a HEAD cannot state.
#[tokio::test]
async fn what_a_head_leaves_open_a_get_decides() {
    for (status, headers) in [
        (401, &[][..]),
        (403, &[]),
        (404, &[]),
        (404, &[("content-type", "text/plain")]),
        (405, &[("content-type", "text/html")]),
        (501, &[]),
        (200, &[]),
    ] {
        let server = Scripted::start(move |request| match (request.method().as_str(), request.uri().path()) {
            ("HEAD", _) => reply(status, headers, ""),
            (_, path) if path.ends_with("v1") => reply(200, &[("content-type", OCI_IMAGE_MANIFEST)], "{}"),
            (_, path) if path.ends_with("gone") => oci_error(404, "MANIFEST_UNKNOWN"),
            (_, path) if path.ends_with("secret") => oci_error(403, "DENIED"),
            _ => reply(404, &[("content-type", "text/plain")], "default backend - 404"),
        })
        .await;
        let upstream = upstream(&server.url());
        let head = async |name: &str| upstream.head_manifest(&repository(), &reference(name), &anyone()).await;
        let given = found(head("v1").await);
        assert_eq!((given.digest, given.size), (digest("{}"), Some(2)), "{status}");
        assert!(matches!(head("gone").await, Ok(Answer::Absent)), "{status}");
        let refused = head("secret").await;
        assert!(
            matches!(&refused, Ok(Answer::Refused(refusal)) if !refusal.body.is_empty()),
            "{status}: {refused:?}"
        );
        invalid(head("lost").await);
    }
}

/// Compressed, a manifest's digest could not be told: neither are its bytes asked for so, nor believed.
#[tokio::test]
async fn manifests_are_asked_for_unencoded() {
    let server = Scripted::start(|_| {
        let headers = [("content-type", OCI_IMAGE_MANIFEST), ("content-encoding", "gzip")];
        reply(200, &headers, "not the manifest's bytes")
    })
    .await;
    let upstream = upstream(&server.url());
    invalid(upstream.manifest(&repository(), &reference("v1"), &anyone()).await);
    assert_eq!(server.take()[0].header("accept-encoding"), Some("identity"));
}

#[tokio::test]
async fn an_error_page_with_200_is_no_content_of_a_tag() {
    let json = ("content-type", "application/json");
    let page = Scripted::start(move |_| reply(200, &[json], r#"{"errors":[{"code":"UNKNOWN"}]}"#)).await;
    invalid(
        upstream(&page.url())
            .manifest(&repository(), &reference("v1"), &anyone())
            .await,
    );
    let pushed = digest("garbage").to_string();
    let garbage = Scripted::start(move |_| reply(200, &[json, ("docker-content-digest", &pushed)], "garbage")).await;
    let read = upstream(&garbage.url())
        .manifest(&repository(), &reference("v1"), &anyone())
        .await;
    assert_eq!(found(read).bytes, "garbage");
}

/// Bytes that are another artifact's are content that somebody keeps wrongly. These are no content: who answered is not the registry, or
/// it failed.
#[tokio::test]
async fn an_error_with_200_is_no_wrong_content() {
    const ERRORS: &str = r#"{"errors":[{"code":"UNKNOWN"}]}"#;
    for (media_type, body) in [
        (Some("application/json"), ERRORS),
        (Some(OCI_IMAGE_MANIFEST), ERRORS),
        (Some("text/plain; charset=utf-8"), "upstream connect error"),
        (None, ""),
    ] {
        let headers: Vec<_> = media_type.map(|value| ("content-type", value)).into_iter().collect();
        let server = Scripted::start(move |_| reply(200, &headers, body)).await;
        let upstream = upstream(&server.url());
        let (repository, caller) = (repository(), anyone());
        invalid(upstream.manifest(&repository, &digest("x").into(), &caller).await);
        invalid(upstream.blob(&repository, &digest("x"), 99, &caller).await);
    }
}
