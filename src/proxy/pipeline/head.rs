//! The bounds of a request's head. hyper has wider ones of its own, beyond which it closes the connection without a word.

use http::header::{HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Version};

use crate::config::LimitsConfig;
use crate::http::via::is_loop;
use crate::proxy::route::RouteError;

/// Refuses heads that are larger than the configuration lets them be, and what somebody else could understand differently.
pub(super) fn check(request: &Parts, limits: &LimitsConfig) -> Result<(), RouteError> {
    let target = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.target_bytes {
        return Err(RouteError::TargetBytes(limits.target_bytes));
    }
    if request.headers.len() > limits.header_count {
        return Err(RouteError::HeaderCount(limits.header_count));
    }
    let lines = request.headers.iter();
    let bytes: usize = lines.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > limits.header_bytes {
        return Err(RouteError::HeaderBytes(limits.header_bytes));
    }
    if is_loop(&request.headers) {
        return Err(RouteError::Loop);
    }
    if !is_method(&request.method) {
        return Err(RouteError::Method);
    }
    if !has_one_host(request) {
        return Err(RouteError::Host);
    }
    if !is_plain(request) {
        return Err(RouteError::TransferCoding);
    }
    Ok(())
}

/// Those of the distribution-spec, and what browsers ask. `CONNECT` would make a tunnel, `TRACE` tells what others sent.
fn is_method(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS
    )
}

/// RFC 9112, 3.2. Over HTTP/2 the host is in the target.
fn has_one_host(request: &Parts) -> bool {
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (_, Some(_)) => false,
        (None, None) => request.version != Version::HTTP_11,
        (Some(_), None) => true,
    }
}

/// RFC 9112, 6.1: `chunked` is taken off here; what is below it would be stored as content.
fn is_plain(request: &Parts) -> bool {
    let mut codings = request.headers.get_all(TRANSFER_ENCODING).iter();
    codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_head_has_its_limit() {
        let limits = LimitsConfig {
            target_bytes: 4,
            header_count: 2,
            header_bytes: 6,
            ..LimitsConfig::default()
        };
        for (target, headers, expected) in [
            ("/a?b", &[("a", "bc"), ("d", "ef")][..], Ok(())),
            ("/a?bc", &[], Err(RouteError::TargetBytes(4))),
            ("https://elsewhere.example/abc", &[], Ok(())),
            ("/", &[("a", ""), ("a", ""), ("b", "")], Err(RouteError::HeaderCount(2))),
            ("/", &[("a", "bc"), ("d", "efg")], Err(RouteError::HeaderBytes(6))),
        ] {
            let mut request = http::Request::builder().uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut parts = request.body(()).unwrap().into_parts().0;
            parts.version = Version::HTTP_2;
            assert_eq!(check(&parts, &limits), expected, "{target} {headers:?}");
        }
    }

    #[test]
    fn what_could_be_understood_differently_is_refused() {
        let ok = Ok(());
        for (method, version, headers, expected) in [
            ("GET", Version::HTTP_11, &[("host", "a")][..], ok.clone()),
            ("GET", Version::HTTP_10, &[], ok.clone()),
            ("GET", Version::HTTP_2, &[], ok.clone()),
            (
                "PUT",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "Chunked")],
                ok,
            ),
            ("GET", Version::HTTP_11, &[], Err(RouteError::Host)),
            (
                "GET",
                Version::HTTP_2,
                &[("host", "a"), ("host", "a")],
                Err(RouteError::Host),
            ),
            (
                "PUT",
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
                Err(RouteError::TransferCoding),
            ),
            ("CONNECT", Version::HTTP_2, &[], Err(RouteError::Method)),
            ("TRACE", Version::HTTP_2, &[], Err(RouteError::Method)),
            ("get", Version::HTTP_2, &[], Err(RouteError::Method)),
        ] {
            let mut request = http::Request::builder().method(method).uri("/v2/").version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let parts = request.body(()).unwrap().into_parts().0;
            assert_eq!(
                check(&parts, &LimitsConfig::default()),
                expected,
                "{method} {version:?} {headers:?}"
            );
        }
    }
}
