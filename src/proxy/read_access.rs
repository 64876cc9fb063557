//! What an answer of the upstream proves about a caller's right to read, and whose right that is.

use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::context::RequestContext;
use super::headers;
use crate::oci::RepositoryName;
use crate::registry::Caller;

/// The upstream just answered the request, which reads the repository.
pub(super) async fn was_read(context: &RequestContext<'_>, repository: &RepositoryName, caller: &Caller) {
    if is_known_by_authorization(&context.head) {
        context.backend.resolver.allow(repository, caller).await;
    }
}

/// The upstream just refused the request, which would have read the repository.
pub(super) async fn was_refused(context: &RequestContext<'_>, repository: &RepositoryName, caller: &Caller) {
    if is_known_by_authorization(&context.head) {
        context.backend.resolver.refuse(repository, caller).await;
    }
}

/// Callers are told apart by one `Authorization`. All else is passed on too, and what it opened must not stay open for
/// everybody else who sends the same `Authorization`, or none.
pub(super) fn is_known_by_authorization(request: &Parts) -> bool {
    request.headers.get_all(AUTHORIZATION).iter().count() <= 1
        && request.uri.query().is_none()
        && request.headers.keys().all(is_plain)
}

/// `X-Forwarded-…` is not passed on.
fn is_plain(name: &HeaderName) -> bool {
    *name == AUTHORIZATION || headers::says_nothing_of_who_asks(name) || name.as_str().starts_with("x-forwarded-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known(target: &str, headers: &[(&str, &str)]) -> bool {
        let request = http::Request::builder().uri(target);
        let request = headers
            .iter()
            .fold(request, |request, (name, value)| request.header(*name, *value));
        is_known_by_authorization(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn what_clients_send_is_no_credential_but_authorization() {
        let plain = [
            ("host", "x"),
            ("user-agent", "containerd/2.2"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip"),
            ("range", "bytes=0-"),
            ("traceparent", "00-1"),
            ("docker-distribution-api-version", "registry/2.0"),
            ("x-meta-source-client", "docker"),
            ("x-forwarded-for", "192.0.2.1"),
            ("authorization", "Basic x"),
        ];
        assert!(is_known("/v2/a/manifests/v1", &plain));
    }

    #[test]
    fn other_credentials_prove_nothing() {
        for name in [
            "cookie",
            "x-jfrog-art-api",
            "private-token",
            "x-api-key",
            "x-remote-user",
            "cf-access-jwt-assertion",
            "x-harbor-csrf-token",
            "x-real-ip",
            "true-client-ip",
            "cf-connecting-ip",
            "x-anything",
        ] {
            assert!(!is_known("/v2/a/manifests/v1", &[(name, "x")]), "{name}");
        }
        assert!(!is_known("/v2/a/manifests/v1?access_token=x", &[]));
        let twice = [("authorization", "Basic x"), ("authorization", "Basic y")];
        assert!(!is_known("/v2/a/manifests/v1", &twice));
    }
}
