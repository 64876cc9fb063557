//! Tables of what leads nowhere.

use super::*;

#[test]
fn there_is_no_open_proxy() {
    for target in [
        "/",
        "/v1/search",
        "/token",
        "/v22/",
        "/V2/",
        "//v2/",
        "/x/../v2/",
        "*",
        "/v3/a",
        "/v3/a/b",
        "/v3/a/nothing/b",
        "/oras",
        "/oras/artifacts/v1/",
        "/oras/artifacts/v1/a/blobs/DIGEST/referrers",
        "/oras/artifacts/v2/a/manifests/DIGEST/referrers",
        "example.org:443",
    ] {
        assert_eq!(get(target), Err(RouteError::NotFound), "{target}");
    }
    assert!(
        get("http://elsewhere.example/v2/").is_ok(),
        "absolute-form: its path counts"
    );
    assert_eq!(get("http://elsewhere.example/metrics"), Err(RouteError::NotFound));
}

#[test]
fn disguised_paths_are_refused() {
    for target in [
        "/v2/../secret",
        "/v2/a/../b/manifests/x",
        "/v2/a/./manifests/x",
        "/v2/a/%2e%2e/manifests/x",
        "/v2/a%2F%2Fb/manifests/x",
        "/v2/a/blobs/uploads/..%2fx",
        "/v2//a/manifests/x",
        "/v2/a//manifests/x",
        "/v2/a/manifests/..",
        "/v2/a/manifests/%2E%2E",
        "/v2/a/manifests/%252e",
        "/v2/a/manifests/%252E%2e",
        "/v2/a%5cb/blobs/x",
        "/v2/a%00/blobs/x",
    ] {
        assert_eq!(get(target), Err(RouteError::Path), "{target}");
    }
    for target in [
        "/v2/%61/manifests/x",
        "/v2/a%2Fb/manifests/x",
        "/v2/%61/tags/list",
        "/v2/%61/blobs/DIGEST",
        "/v2/%61/blobs/uploads/",
        "/v2/%61/referrers/DIGEST",
        "/v2/A/referrers/DIGEST",
        "/v2/referrers/DIGEST",
        "/v2/A/_oci/ext/discover",
        "/v2/_oci/artifacts/referrers/x/_oci/artifacts/referrers?digest=DIGEST",
        "/v3/../referrers/x",
        "/v3/A/objects/x",
        "/oras/artifacts/v1/../manifests/DIGEST/referrers",
    ] {
        assert!(
            matches!(get(target), Err(RouteError::Name(_))),
            "{target}: {:?}",
            get(target)
        );
    }
    assert!(matches!(get("/v2/a/manifests/%61"), Err(RouteError::Tag(_))));
}

#[test]
fn a_subject_must_be_a_digest() {
    for target in [
        "/v2/a/referrers/latest",
        "/v2/a/referrers/",
        "/v2/a/referrers/sha256:abc",
        "/v2/a/referrers/sha256%3Aabc",
        "/v2/a/referrers/sha256%253Aabc%61",
        "/v2/a/_oci/artifacts/referrers",
        "/v2/a/_oras/artifacts/referrers?digest=latest",
        "/oras/artifacts/v1/a/manifests/latest/referrers",
        "/v2/a/manifests/sha256:abc/references",
        "/v2/a/manifests/sha256:abc",
        "/v3/a/objects/sha256:abc",
    ] {
        assert!(
            matches!(get(target), Err(RouteError::Digest(_) | RouteError::Path)),
            "{target}: {:?}",
            get(target)
        );
    }
    assert!(matches!(get("/v2/a/manifests/-x/references"), Err(RouteError::Tag(_))));
}

#[test]
fn what_refshim_answers_can_only_be_read() {
    for target in [
        "/v2/a/referrers/DIGEST",
        "/v2/a/manifests/x/references",
        "/v2/a/_oci/artifacts/referrers?digest=DIGEST",
        "/v2/_oci/ext/discover",
        "/v3/",
        "/v3/a/objects/x",
    ] {
        assert!(ask(Method::HEAD, target).is_ok(), "{target}");
        for method in [Method::PUT, Method::POST, Method::DELETE, Method::OPTIONS] {
            assert_eq!(ask(method, target), Err(RouteError::ReadOnly), "{target}");
        }
    }
    assert!(matches!(
        ask(Method::DELETE, "/v2/a/manifests/x"),
        Ok(Route::Manifest { .. })
    ));
    assert!(matches!(
        ask(Method::POST, "/v2/a/tags/list"),
        Ok(Route::Passthrough { .. })
    ));
    assert_eq!(ask(Method::CONNECT, "example.org:443"), Err(RouteError::NotFound));
}
