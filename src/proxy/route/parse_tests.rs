//! Tables of the routing grammar.

use super::*;

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn subject() -> Digest {
    Digest::parse(&format!("sha256:{HEX}")).unwrap()
}

fn ask(method: Method, target: &str) -> Result<Route, RouteError> {
    route(
        &method,
        &target.replace("DIGEST", &format!("sha256:{HEX}")).parse().unwrap(),
    )
}

fn get(target: &str) -> Result<Route, RouteError> {
    ask(Method::GET, target)
}

fn name(text: &str) -> RepositoryName {
    RepositoryName::parse(text).unwrap()
}

fn tag(text: &str) -> Reference {
    Reference::Tag(Tag::parse(text).unwrap())
}

fn passed(target: &str) -> (Endpoint, Option<String>) {
    match get(target) {
        Ok(Route::Passthrough { endpoint, repository }) => (endpoint, repository.map(|r| r.to_string())),
        other => panic!("{target}: {other:?}"),
    }
}

#[test]
fn repositories_may_be_called_like_endpoints() {
    for repository in [
        "a",
        "a/b",
        "referrers",
        "references",
        "manifests",
        "blobs",
        "tags",
        "v3",
        "v2",
        "a/manifests/b",
        "manifests/references",
        "tags/list",
        "blobs/uploads",
        "a/referrers",
        "oras/artifacts/v1",
    ] {
        let r = name(repository);
        let expect = |target: String, route: Route| assert_eq!(get(&target), Ok(route), "{target}");
        expect(
            format!("/v2/{repository}/referrers/DIGEST"),
            Route::Referrers {
                repository: r.clone(),
                subject: subject(),
            },
        );
        expect(
            format!("/v2/{repository}/referrers/sha256%3A{HEX}?artifactType=x"),
            Route::Referrers {
                repository: r.clone(),
                subject: subject(),
            },
        );
        for word in [
            "latest",
            "references",
            "list",
            "referrers",
            "uploads",
            "manifests",
            "_oci",
        ] {
            let route = Route::Manifest {
                repository: r.clone(),
                reference: tag(word),
            };
            expect(format!("/v2/{repository}/manifests/{word}"), route);
        }
        let by_digest = Reference::Digest(subject());
        for text in ["DIGEST".to_owned(), format!("sha256%3a{HEX}")] {
            let route = Route::Manifest {
                repository: r.clone(),
                reference: by_digest.clone(),
            };
            expect(format!("/v2/{repository}/manifests/{text}"), route);
        }
        expect(
            format!("/v2/{repository}/tags/list?n=3"),
            Route::TagsList { repository: r.clone() },
        );
        expect(
            format!("/v2/{repository}/manifests/DIGEST/references"),
            Route::References {
                repository: r.clone(),
                reference: by_digest.clone(),
            },
        );
        expect(
            format!("/v2/{repository}/manifests/latest/references"),
            Route::References {
                repository: r.clone(),
                reference: tag("latest"),
            },
        );
        expect(
            format!("/v2/{repository}/_oci/ext/discover"),
            Route::Discover {
                repository: Some(r.clone()),
            },
        );
        for (target, shape) in [
            (
                format!("/v2/{repository}/_oci/artifacts/referrers?digest=DIGEST"),
                Shape::ProposalA,
            ),
            (
                format!("/v2/{repository}/_oras/artifacts/referrers?n=1&digest=sha256%3A{HEX}"),
                Shape::Oras,
            ),
            (
                format!("/oras/artifacts/v1/{repository}/manifests/DIGEST/referrers"),
                Shape::OrasV1,
            ),
        ] {
            let route = Route::ProposalA {
                shape,
                repository: r.clone(),
                subject: subject(),
            };
            expect(target, route);
        }
        for (word, question) in [
            ("referrers", V3Question::Referrers),
            ("reference", V3Question::Reference),
            ("objects", V3Question::Objects),
            ("description", V3Question::Description),
        ] {
            let route = Route::V3 {
                question,
                repository: r.clone(),
                reference: tag("x"),
            };
            expect(format!("/v3/{repository}/{word}/x"), route);
        }
        let owner = Some(repository.to_owned());
        assert_eq!(
            passed(&format!("/v2/{repository}/blobs/DIGEST")),
            (Endpoint::Blob, owner.clone())
        );
        for upload in [
            "uploads/",
            "uploads/some-id?_state=a%2Bb",
            "upload/some-id",
            "uploads/a%2Fb%3D%3D",
        ] {
            let target = format!("/v2/{repository}/blobs/{upload}");
            assert_eq!(passed(&target), (Endpoint::Upload, owner.clone()), "{target}");
        }
    }
}

#[test]
fn the_distribution_spec_wins_over_a_proposal() {
    let expected = Route::Manifest {
        repository: name("x/manifests"),
        reference: tag("references"),
    };
    assert_eq!(get("/v2/x/manifests/manifests/references"), Ok(expected));
}

#[test]
fn what_is_not_known_below_v2_is_the_upstreams() {
    for (target, endpoint) in [
        ("/v2", Endpoint::Ping),
        ("/v2/", Endpoint::Ping),
        ("/v2/?ns=docker.io", Endpoint::Ping),
        ("/v2/_catalog?n=2", Endpoint::Catalog),
        ("/v2/a/manifests/", Endpoint::Manifest),
        ("/v2/a/tags", Endpoint::Other),
        ("/v2/a", Endpoint::Other),
        ("/v2/_zot/ext/search", Endpoint::Other),
        ("/v2/a/_gcr/what", Endpoint::Other),
        ("/v2/artifacts/referrers", Endpoint::Other),
    ] {
        assert_eq!(passed(target).0, endpoint, "{target}");
    }
    // Names that only the upstream may judge.
    assert_eq!(passed("/v2/UPPER/manifests/latest"), (Endpoint::Manifest, None));
    assert_eq!(passed("/v2/UPPER/tags/list"), (Endpoint::Tags, None));
    let long = format!("/v2/a/manifests/{}", "t".repeat(129));
    assert_eq!(passed(&long), (Endpoint::Manifest, Some("a".into())));
}

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
