//! Tables of the routing grammar.

#[path = "refused_tests.rs"]
mod refused;

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
