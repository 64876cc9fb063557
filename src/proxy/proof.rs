//! What an answer of the upstream proves about a caller.

use http::HeaderName;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, RANGE, USER_AGENT};
use http::request::Parts;

use super::backend::Backend;
use crate::oci::RepositoryName;
use crate::upstream::Caller;

/// Parts of the names of headers that may hold a credential of some product's own.
const TELLING: [&str; 13] = [
    "assertion",
    "auth",
    "cert",
    "cookie",
    "cred",
    "jwt",
    "key",
    "pass",
    "secret",
    "session",
    "sid",
    "token",
    "user",
];

/// What nearly every request has, and is no credential; `Authorization` is looked at by itself.
const PLAIN: [HeaderName; 8] = [
    ACCEPT,
    ACCEPT_ENCODING,
    AUTHORIZATION,
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    RANGE,
    USER_AGENT,
];

impl Backend {
    /// The upstream just answered `request`, which reads the repository.
    pub(super) async fn was_read(&self, request: &Parts, repository: &RepositoryName, caller: &Caller) {
        if is_known_by_authorization(request) {
            self.resolver.allow(repository, caller).await;
        }
    }
}

/// Callers are told apart by one `Authorization`. All else is passed on too, and what it opened must not stay open for
/// everybody else who sends the same `Authorization`, or none.
fn is_known_by_authorization(request: &Parts) -> bool {
    // Artifactory's ends so, and what others call an API's version does not.
    let is_telling = |name: &str| name.ends_with("-api") || TELLING.iter().any(|part| name.contains(part));
    let mut others = request.headers.keys().filter(|name| !PLAIN.contains(name));
    request.headers.get_all(AUTHORIZATION).iter().count() <= 1
        && request.uri.query().is_none()
        && !others.any(|name| is_telling(name.as_str()))
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
        ] {
            assert!(!is_known("/v2/a/manifests/v1", &[(name, "x")]), "{name}");
        }
        assert!(!is_known("/v2/a/manifests/v1?access_token=x", &[]));
        let twice = [("authorization", "Basic x"), ("authorization", "Basic y")];
        assert!(!is_known("/v2/a/manifests/v1", &twice));
    }
}
