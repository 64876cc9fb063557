//! Promise: whatever is not about referrers passes through untouched, streamed both ways, and works from where the caller
//! stands.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support;
use crate::support::fake::{Fake, Knobs};
use crate::support::{CountingProxy, Endpoint, Fault, Local, Program, Registry};
use http::Method;
use refshim::testing::config::{CredentialsConfig, CredentialsKind};

const OCTETS: (&str, &str) = ("content-type", "application/octet-stream");

fn digest(bytes: &[u8]) -> String {
    refshim::testing::oci::Digest::sha256(bytes).to_string()
}

/// A `Location` that every client understands, which leads back to the proxy.
fn location(reply: &support::Reply) -> String {
    let location = reply.header("location").expect("a Location").to_owned();
    assert!(location.starts_with("/v2/"), "{location}");
    location
}

fn with_digest(location: &str, digest: &str) -> String {
    let separator = if location.contains('?') { '&' } else { '?' };
    format!("{location}{separator}digest={digest}")
}

async fn begin_upload(proxy: &Endpoint, repository: &str, query: &str) -> support::Reply {
    let path = format!("/v2/{repository}/blobs/uploads/{query}");
    proxy.send(Method::POST, &path, &[], "").await
}

async fn everything_passes(registry: &Registry, proxy: &Endpoint, repository: &str) {
    proxy.get("/v2/").await.expect_status(200);

    // In one piece after POST.
    let blob = vec![7_u8; 100_000];
    let own = digest(&blob);
    let begun = begin_upload(proxy, repository, "").await.expect_status(202);
    let path = with_digest(&location(&begun), &own);
    let done = proxy
        .send(Method::PUT, &path, &[OCTETS], blob.clone())
        .await
        .expect_status(201);
    assert_eq!(location(&done), format!("/v2/{repository}/blobs/{own}"));

    // In chunks.
    let chunked = b"first, second".to_vec();
    let begun = begin_upload(proxy, repository, "").await.expect_status(202);
    let mut at = location(&begun);
    for (range, part) in [("0-6", "first, "), ("7-12", "second")] {
        let headers = [OCTETS, ("content-range", range)];
        let sent = proxy.send(Method::PATCH, &at, &headers, part).await.expect_status(202);
        at = location(&sent);
    }
    proxy.get(&at).await.expect_status(204);
    let path = with_digest(&at, &digest(&chunked));
    proxy.send(Method::PUT, &path, &[], "").await.expect_status(201);

    // Back, whole and in part.
    let path = format!("/v2/{repository}/blobs/{own}");
    let got = proxy.get(&path).await.expect_status(200);
    assert_eq!(got.body, blob);
    let head = proxy.head(&path).await.expect_status(200);
    assert_eq!(head.header("content-length"), Some("100000"));
    let part = proxy
        .get_with(&path, &[("range", "bytes=10-19")])
        .await
        .expect_status(206);
    assert_eq!(
        (part.body.len(), part.header("content-range")),
        (10, Some("bytes 10-19/100000"))
    );

    // Mounted elsewhere.
    let query = format!("?mount={own}&from={repository}");
    let mounted = begin_upload(proxy, "mounted/here", &query).await.expect_status(201);
    assert_eq!(location(&mounted), format!("/v2/mounted/here/blobs/{own}"));

    // Manifests, and what straight and through the proxy say of them.
    let image = proxy.push_image(repository, "latest", repository).await;
    for reference in ["latest", &image.digest] {
        let straight = registry.endpoint().manifest(repository, reference).await;
        let through = proxy.manifest(repository, reference).await.expect_status(200);
        assert_eq!(through.body, straight.body);
        for name in ["content-type", "docker-content-digest", "content-length", "etag"] {
            assert_eq!(through.header(name), straight.header(name), "{name}");
        }
    }
    let catalog = proxy.get("/v2/_catalog?n=100").await.expect_status(200).json();
    assert!(
        catalog["repositories"].as_array().unwrap().contains(&repository.into()),
        "{catalog}"
    );

    // And away.
    for path in [format!("/v2/{repository}/manifests/{}", image.digest), path] {
        proxy.delete(&path).await.expect_status(202);
        proxy.get(&path).await.expect_status(404);
    }
}

#[tokio::test]
async fn everything_passes_through_both_distributions_over_both_protocols() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Local::in_front_of(&registry.url()).await;
        everything_passes(&registry, &proxy.endpoint(), "one/plain").await;
        everything_passes(&registry, &proxy.endpoint().h2c(), "two/manifests/x").await;
    }
}

#[tokio::test]
async fn errors_of_the_registry_pass_through_as_they_are() {
    let registry = Registry::v2().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    for path in [
        "/v2/none/manifests/latest",
        "/v2/none/blobs/sha256:0",
        "/v2/UPPER/manifests/x",
        "/v2/none/what/is/it",
    ] {
        let (straight, through) = (registry.endpoint().get(path).await, proxy.endpoint().get(path).await);
        assert_eq!(
            (through.status, &through.body),
            (straight.status, &straight.body),
            "{path}"
        );
        assert_eq!(
            through.header("content-type"),
            straight.header("content-type"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn there_is_nothing_outside_the_api() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    for path in ["/", "/debug/vars", "/metrics", "/token", "/v1/_ping", "/v3/x"] {
        let reply = proxy.endpoint().get(path).await.expect_status(404);
        reply.error_code();
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    proxy
        .endpoint()
        .get("/v2/../metrics")
        .await
        .expect_status(400)
        .error_code();
    proxy.endpoint().head("/nothing").await.expect_status(404);
    assert_eq!(link.take(), [""; 0]);
}

#[tokio::test]
async fn addresses_of_the_registry_become_the_callers() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    let own = link.url().to_owned();
    for (given, expected) in [
        (
            format!("{own}/v2/a/blobs/upload/x?_state=a%2Bb=="),
            "/v2/a/blobs/upload/x?_state=a%2Bb==",
        ),
        ("/v2/a/blobs/uploads/x".to_owned(), "/v2/a/blobs/uploads/x"),
        ("x?y=z".to_owned(), "/v2/a/blobs/uploads/x?y=z"),
        ("https://127.0.0.2/x?sig=%2F".to_owned(), "https://127.0.0.2/x?sig=%2F"),
    ] {
        let fault = Fault::answer(
            202,
            &[("location", &given), ("x-registry-supports-signatures", "1")],
            "",
        );
        link.fail_times(1, fault, |_| true);
        let reply = begin_upload(&proxy.endpoint(), "a", "").await.expect_status(202);
        assert_eq!(reply.header("location"), Some(expected));
        assert_eq!(reply.header("x-registry-supports-signatures"), None);
    }
    let next = format!("<{own}/v2/_catalog?last=b>; rel=\"next\"");
    link.fail_times(1, Fault::answer(200, &[("link", &next)], "{}"), |_| true);
    let reply = proxy.endpoint().get("/v2/_catalog?n=1").await;
    assert_eq!(reply.header("link"), Some("</v2/_catalog?last=b>; rel=\"next\""));
}

#[tokio::test]
async fn a_realm_is_rewritten_on_request_only() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let challenge = format!("Bearer realm=\"{}/auth/token\",service=\"s\"", link.url());
    link.fail(Fault::answer(401, &[("www-authenticate", &challenge)], "{}"), |r| {
        r.path == "/v2/"
    });
    link.fail(Fault::answer(200, &[], "{\"token\":\"t\"}"), |r| {
        r.path.starts_with("/auth/token")
    });

    let plain = Local::in_front_of(link.url()).await;
    let reply = plain.endpoint().get("/v2/").await.expect_status(401);
    assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
    plain.endpoint().get("/auth/token").await.expect_status(404);

    // A replica that saw no challenge yet asks for one.
    let rewriting = Local::configured(link.url(), |config| config.server.rewrite_realm = true).await;
    let path = "/auth/token?scope=repository:a:pull";
    let token = rewriting.endpoint().get(path).await.expect_status(200);
    assert_eq!(token.text(), "{\"token\":\"t\"}");
    let reply = rewriting.endpoint().get("/v2/").await.expect_status(401);
    let expected = format!(
        "Bearer realm=\"http://{}/auth/token\",service=\"s\"",
        rewriting.authority()
    );
    assert_eq!(reply.header("www-authenticate"), Some(expected.as_str()));
    rewriting.endpoint().get("/auth/other").await.expect_status(404);
}

/// Whoever asks for nothing costs the registry nothing, however often.
#[tokio::test]
async fn a_registry_without_a_realm_is_not_asked_for_one_again_and_again() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::configured(link.url(), |config| config.server.rewrite_realm = true).await;
    for path in ["/auth/token", "/x", "/x"] {
        proxy.endpoint().get(path).await.expect_status(404);
    }
    assert_eq!(link.take(), ["GET /v2/"]);

    let proxy = Local::configured(link.url(), |config| {
        config.server.rewrite_realm = true;
        config.upstreams[0].credentials = CredentialsConfig {
            kind: CredentialsKind::Static,
            username: Some("robot".to_owned()),
            ..CredentialsConfig::default()
        };
    })
    .await;
    proxy.endpoint().get("/x").await.expect_status(404);
    assert_eq!(link.take(), [""; 0]);
}

#[tokio::test]
async fn chunks_out_of_order_are_refused_and_may_be_sent_again() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Local::in_front_of(&registry.url()).await;
        let endpoint = proxy.endpoint();
        let send = async |at: &str, range: &str, part: &'static str| {
            let headers = [OCTETS, ("content-range", range)];
            endpoint.send(Method::PATCH, at, &headers, part).await
        };
        let at = location(&begin_upload(&endpoint, "a", "").await.expect_status(202));
        send(&at, "5-9", "other").await.expect_status(416);
        let at = location(&send(&at, "0-4", "first").await.expect_status(202));
        let refused = send(&at, "0-4", "first").await.expect_status(416);
        assert_eq!(refused.header("range"), Some("0-4"));
        let at = location(&send(&at, "5-9", "other").await.expect_status(202));
        let path = with_digest(&at, &digest(b"firstother"));
        endpoint.send(Method::PUT, &path, &[], "").await.expect_status(201);
    }
}

#[tokio::test]
async fn chunks_may_pass_through_several_replicas() {
    let registry = Registry::v2().await;
    let one = Local::in_front_of(&registry.url()).await;
    let two = Local::in_front_of(&registry.url()).await;
    let mut at = location(&begin_upload(&one.endpoint(), "a", "").await.expect_status(202));
    for (proxy, range) in [(&one, "0-0"), (&two, "1-1"), (&two, "2-2"), (&one, "3-3")] {
        let headers = [OCTETS, ("content-range", range)];
        let sent = proxy
            .endpoint()
            .send(Method::PATCH, &at, &headers, "x")
            .await
            .expect_status(202);
        at = location(&sent);
    }
    let path = with_digest(&at, &digest(b"xxxx"));
    two.endpoint()
        .send(Method::PUT, &path, &[], "")
        .await
        .expect_status(201);
}

#[tokio::test]
async fn ranges_outside_a_blob_are_an_answer_and_no_broken_connection() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Local::in_front_of(&registry.url()).await;
        let blob = registry.endpoint().push_blob("a", vec![1; 1000]).await;
        for range in ["bytes=500-0", "bytes=5000-10000"] {
            let path = format!("/v2/a/blobs/{blob}");
            let reply = proxy.endpoint().get_with(&path, &[("range", range)]).await;
            assert_eq!(reply.expect_status(416).error_code(), "SIZE_INVALID", "{range}");
        }
    }
}

#[tokio::test]
async fn a_blob_has_the_name_by_which_it_was_asked_for() {
    let registry = Registry::v2().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let endpoint = proxy.endpoint();
    let long = "sha512:9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca72323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043";
    let begun = begin_upload(&endpoint, "a", "").await.expect_status(202);
    let path = with_digest(&location(&begun), long);
    let done = endpoint
        .send(Method::PUT, &path, &[OCTETS], "hello")
        .await
        .expect_status(201);
    assert_eq!(done.header("docker-content-digest"), Some(long));
    let path = format!("/v2/a/blobs/{long}");
    for reply in [endpoint.get(&path).await, endpoint.head(&path).await] {
        assert_eq!(reply.expect_status(200).header("docker-content-digest"), Some(long));
    }
}

#[tokio::test]
async fn an_index_that_was_pushed_is_deleted_even_where_a_list_looks_the_same() {
    let registry = Registry::v2().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let endpoint = proxy.endpoint();
    let image = endpoint.push_image("a", "latest", "image").await;
    endpoint.push_artifact("a", &image, "application/x", "x").await;
    let list = endpoint.referrers_reply("a", &image.digest).await.expect_status(200);
    let path = format!("/v2/a/manifests/{}", digest(&list.body));
    // Nobody stored the list: deleting it, as some clients do, is no error.
    endpoint.delete(&path).await.expect_status(202);
    let headers = [("content-type", support::content::INDEX)];
    endpoint
        .send(Method::PUT, &path, &headers, list.body.clone())
        .await
        .expect_status(201);
    endpoint.delete(&path).await.expect_status(202);
    registry.endpoint().get(&path).await.expect_status(404);
}

#[tokio::test]
async fn an_upstream_whose_range_sticks_still_takes_chunks() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    let at = location(&begin_upload(&proxy.endpoint(), "a", "").await.expect_status(202));
    // As ECR does: the first chunk's range, whatever comes after it.
    let stuck = Fault::answer(202, &[("location", &at), ("range", "0-0")], "");
    link.fail(stuck, |r| r.method == Method::PATCH);
    link.fail(Fault::answer(204, &[("location", &at), ("range", "0-0")], ""), |r| {
        r.method == Method::GET
    });
    for range in ["0-0", "1-1", "2-2", "3-3"] {
        let headers = [OCTETS, ("content-range", range)];
        proxy
            .endpoint()
            .send(Method::PATCH, &at, &headers, "x")
            .await
            .expect_status(202);
    }
}

/// Of the coming distribution-spec, and of registries' own: refshim need not know it.
#[tokio::test]
async fn what_refshim_does_not_know_reaches_the_registry_as_it_came() {
    let fake = Fake::start(Knobs::default()).await;
    let proxy = Local::in_front_of(&fake.url()).await;
    for (method, target) in [
        (Method::POST, "/v2/a/blobs/uploads/?digest-algorithm=sha512"),
        (Method::DELETE, "/v2/a/blobs/uploads/some-upload?_state=x%2B"),
        (
            Method::GET,
            "/v2/a/_chainguard/history/latest?start=2026-01-01T00%3A00%3A00Z",
        ),
        (Method::GET, "/v2/a/tags/v1/history"),
    ] {
        let line = format!("{method} {target}");
        proxy.endpoint().send(method, target, &[], "").await;
        assert_eq!(fake.take(), [line]);
    }
}

#[tokio::test]
async fn an_upload_that_is_cancelled_is_gone() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let proxy = Local::in_front_of(&registry.url()).await;
        let begun = begin_upload(&proxy.endpoint(), "a", "?digest-algorithm=sha512").await;
        let at = location(&begun.expect_status(202));
        proxy.endpoint().delete(&at).await.expect_status(204);
        proxy.endpoint().get(&at).await.expect_status(404);
    }
}
