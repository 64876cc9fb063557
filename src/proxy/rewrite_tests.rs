//! Tables of address rewriting.

use super::*;

fn view(url: &str) -> SelfView {
    SelfView::new(&Url::parse(url).unwrap())
}

const ASKED: &str = "/v2/a/b/blobs/uploads/";

#[test]
fn locations_work_from_where_the_caller_stands() {
    let plain = view("http://127.0.0.1:5000");
    let secure = view("https://Registry.Example");
    let based = view("https://art.example/artifactory/api/docker/local/");
    let ported = view("https://art.example:8443/artifactory/api/docker/local");
    let six = view("http://[::1]:5000");
    for (view, value, expected) in [
        // Behind a proxy that hands on the host without its port, or with the one that it listens at itself.
        (
            &plain,
            "http://127.0.0.1/v2/a/blobs/uploads/id?q",
            "/v2/a/blobs/uploads/id?q",
        ),
        (&plain, "https://127.0.0.1:443/v2/a", "/v2/a"),
        (&plain, "http://127.0.0.1:80/v2/a", "/v2/a"),
        (&plain, "//127.0.0.1/v2/a", "/v2/a"),
        (&plain, "http://127.0.0.1/bucket/x?sig", "http://127.0.0.1/bucket/x?sig"),
        (&plain, "http://127.0.0.1", "http://127.0.0.1"),
        (&plain, "http://127.0.0.1:9000/v2/a", "http://127.0.0.1:9000/v2/a"),
        (&plain, "http://127.0.0.2/v2/a", "http://127.0.0.2/v2/a"),
        (&six, "http://[::1]/v2/a", "/v2/a"),
        (&six, "http://[0:0:0:0:0:0:0:1]:5000/v2/a", "/v2/a"),
        (&six, "http://[::1]:9000/v2/a", "http://[::1]:9000/v2/a"),
        (&six, "http://[::2]/v2/a", "http://[::2]/v2/a"),
        // Distribution: absolute, from the Host that it was asked with.
        (
            &plain,
            "http://127.0.0.1:5000/v2/a/b/blobs/uploads/id?_state=x%2By==&z",
            "/v2/a/b/blobs/uploads/id?_state=x%2By==&z",
        ),
        (
            &plain,
            "HTTPS://127.0.0.1:5000/v2/a/manifests/sha256:1",
            "/v2/a/manifests/sha256:1",
        ),
        // GHCR: relative to the host, singular.
        (&secure, "/v2/a/blobs/upload/id", "/v2/a/blobs/upload/id"),
        // A registry behind a TLS terminator.
        (&secure, "http://registry.example/v2/a", "/v2/a"),
        (&secure, "https://registry.example:443/v2/a#f", "/v2/a#f"),
        (
            &secure,
            "https://registry.example:8443/v2/a",
            "https://registry.example:8443/v2/a",
        ),
        (
            &secure,
            "https://registry.example.evil.test/v2/a",
            "https://registry.example.evil.test/v2/a",
        ),
        (
            &secure,
            "https://registry.example@evil.test/v2/a",
            "https://registry.example@evil.test/v2/a",
        ),
        (&secure, "//registry.example/v2/a", "/v2/a"),
        (&secure, "//cdn.example/blob?sig=1", "https://cdn.example/blob?sig=1"),
        // Signed storage.
        (
            &secure,
            "https://s3.example/x?sig=%2F%3D&a=/v2/",
            "https://s3.example/x?sig=%2F%3D&a=/v2/",
        ),
        // GAR: relative, but not part of the API.
        (
            &secure,
            "/artifacts-downloads/x?y",
            "https://registry.example/artifacts-downloads/x?y",
        ),
        (
            &secure,
            "https://registry.example/login",
            "https://registry.example/login",
        ),
        (&secure, "https://registry.example", "https://registry.example/"),
        (&secure, "/v22/x", "https://registry.example/v22/x"),
        // A path before /v2 at the upstream.
        (
            &based,
            "https://art.example/artifactory/api/docker/local/v2/a/blobs/uploads/id?q",
            "/v2/a/blobs/uploads/id?q",
        ),
        (&based, "/artifactory/api/docker/local/v2/a", "/v2/a"),
        (&based, "/v2/a/tags/list?last=b", "/v2/a/tags/list?last=b"),
        (
            &ported,
            "https://art.example/artifactory/api/docker/local/v2/a?q",
            "/v2/a?q",
        ),
        (
            &ported,
            "https://art.example/artifactory/x",
            "https://art.example/artifactory/x",
        ),
        (
            &based,
            "/artifactory/api/docker/localhost/v2/a",
            "https://art.example/artifactory/api/docker/localhost/v2/a",
        ),
        // Relative to the request.
        (&plain, "id?_state=1", "/v2/a/b/blobs/uploads/id?_state=1"),
        (&plain, "?_state=1", "/v2/a/b/blobs/uploads/?_state=1"),
        (&plain, "../sha256:1", "/v2/a/b/blobs/sha256:1"),
        (&plain, "./x/..", "/v2/a/b/blobs/uploads/"),
        (&plain, "mailto:x", "mailto:x"),
    ] {
        // A colon in a relative reference's first segment would be a scheme; `../` makes it one of the second.
        assert_eq!(view.location(value, ASKED), expected, "{value}");
    }
}

#[test]
fn links_keep_their_parameters() {
    let view = view("https://registry.example");
    let asked = "/v2/a/tags/list";
    for (value, expected) in [
        (
            "<https://registry.example/v2/a/tags/list?last=b%2Fc&n=2>; rel=\"next\"",
            "</v2/a/tags/list?last=b%2Fc&n=2>; rel=\"next\"",
        ),
        (
            "</v2/a/tags/list?last=b>; rel=next, <https://x.example/>;rel=\"help\"",
            "</v2/a/tags/list?last=b>; rel=next, <https://x.example/>;rel=\"help\"",
        ),
        ("<?last=z>; rel=\"next\"", "</v2/a/tags/list?last=z>; rel=\"next\""),
        ("broken <", "broken <"),
        ("", ""),
    ] {
        assert_eq!(view.link(value, asked), expected);
    }
}

#[test]
fn only_the_upstreams_own_realm_becomes_the_callers() {
    let origin = "http://proxy:5100";
    let plain = view("https://ghcr.example");
    let rewritten = |view: &SelfView, value: &str| view.challenge(value, origin, None);
    assert_eq!(
        rewritten(
            &plain,
            r#"Bearer realm="https://ghcr.example/token?x=1",service="ghcr.example",scope="repository:a:pull""#
        ),
        Some((
            r#"Bearer realm="http://proxy:5100/token?x=1",service="ghcr.example",scope="repository:a:pull""#.to_owned(),
            "/token".to_owned()
        ))
    );
    for other in [
        r#"Bearer realm="https://auth.docker.example/token",service="x""#,
        r#"Basic realm="Registry Realm""#,
        r#"Basic realm="/x""#,
        "Bearer realm=\"https://ghcr.example/token",
        "Negotiate",
    ] {
        assert_eq!(rewritten(&plain, other), None, "{other}");
    }
    let based = view("https://art.example/base");
    let inside = r#"bearer Realm="https://art.example/base/v2/token""#;
    assert_eq!(
        rewritten(&based, inside).map(|found| found.1),
        Some("/v2/token".to_owned())
    );
    // Not reachable through the base path.
    assert_eq!(rewritten(&based, r#"Bearer realm="https://art.example/token""#), None);
}
