use super::*;

fn answer(failure: impl Into<ProxyError>) -> (u16, String, Option<String>) {
    let response = failure.into().into_response();
    let Body::Full(Some(body)) = response.body() else {
        panic!("no body");
    };
    let json: serde_json::Value = serde_json::from_slice(body).unwrap();
    let code = json["errors"][0]["code"].as_str().unwrap().to_owned();
    let retry = response.headers().get(RETRY_AFTER);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    let retry = retry.map(|v| v.to_str().unwrap().to_owned());
    (response.status().as_u16(), code, retry)
}

#[test]
fn every_upstream_error_has_its_status() {
    let limited = |status, retry_after| UpstreamError::Limited { status, retry_after };
    let paused = |cause| UpstreamError::Paused {
        cause: std::sync::Arc::new(cause),
        seconds: 9,
    };
    for (error, status, code, retry) in [
        (UpstreamError::Connect("x".into()), 502, "UNAVAILABLE", None),
        (UpstreamError::Broken("x".into()), 502, "UNAVAILABLE", None),
        (UpstreamError::CallersBody("x".into()), 400, "BLOB_UPLOAD_INVALID", None),
        (UpstreamError::Timeout("first byte"), 504, "UNAVAILABLE", None),
        (
            limited(StatusCode::TOO_MANY_REQUESTS, Some(7)),
            429,
            "TOOMANYREQUESTS",
            Some("7".to_owned()),
        ),
        (limited(StatusCode::SERVICE_UNAVAILABLE, None), 503, "UNAVAILABLE", None),
        (
            UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR),
            502,
            "UNAVAILABLE",
            None,
        ),
        (UpstreamError::Invalid("x".into()), 502, "UNAVAILABLE", None),
        (UpstreamError::Busy, 503, "UNAVAILABLE", Some("5".to_owned())),
        (
            UpstreamError::StillListing { names: 9, seconds: 5 },
            503,
            "UNAVAILABLE",
            Some("5".to_owned()),
        ),
        (
            UpstreamError::StillSearching { seconds: 4 },
            503,
            "UNAVAILABLE",
            Some("4".to_owned()),
        ),
        (
            UpstreamError::Unfinished { requests: 9 },
            503,
            "UNAVAILABLE",
            Some("1".to_owned()),
        ),
        (
            paused(limited(StatusCode::TOO_MANY_REQUESTS, Some(900))),
            429,
            "TOOMANYREQUESTS",
            Some("9".to_owned()),
        ),
        (
            paused(UpstreamError::Connect("x".into())),
            502,
            "UNAVAILABLE",
            Some("9".to_owned()),
        ),
    ] {
        assert_eq!(answer(error.clone()), (status, code.to_owned(), retry), "{error}");
    }
}

#[test]
fn routing_errors_are_the_callers() {
    for (error, status, code) in [
        (RouteError::NotFound, 404, "UNSUPPORTED"),
        (RouteError::ReadOnly, 405, "UNSUPPORTED"),
        (RouteError::Path, 400, "NAME_INVALID"),
        (RouteError::Namespace("x".into()), 404, "NAME_UNKNOWN"),
        (RouteError::TwoNamespaces, 400, "NAME_INVALID"),
        (RouteError::Method, 501, "UNSUPPORTED"),
        (RouteError::TransferCoding, 501, "UNSUPPORTED"),
        (RouteError::Host, 400, "UNSUPPORTED"),
        (RouteError::Loop, 508, "UNSUPPORTED"),
        (RouteError::TargetBytes(1), 414, "UNSUPPORTED"),
        (RouteError::HeaderCount(1), 431, "UNSUPPORTED"),
        (RouteError::HeaderBytes(1), 431, "UNSUPPORTED"),
    ] {
        assert_eq!(answer(error), (status, code.to_owned(), None));
    }
    let digest = crate::oci::Digest::parse("x").unwrap_err();
    assert_eq!(
        answer(RouteError::Digest(digest)),
        (400, "DIGEST_INVALID".to_owned(), None)
    );
}

#[test]
fn a_refusal_is_relayed_as_it_is() {
    let mut refusal = RegistryResponse {
        status: StatusCode::UNAUTHORIZED,
        headers: http::HeaderMap::new(),
        body: "not JSON".into(),
    };
    refusal
        .headers
        .append("www-authenticate", HeaderValue::from_static("Bearer realm=\"x\""));
    refusal
        .headers
        .append("www-authenticate", HeaderValue::from_static("Basic realm=\"y\""));
    let response = ProxyError::from(Refusal::from(refusal.clone())).into_response();
    assert_eq!(
        (response.status(), response.headers()),
        (refusal.status, &refusal.headers)
    );
}

#[test]
fn a_refusal_of_something_else_is_the_gateways_failure() {
    let refusal = |status: u16, body: &'static str| {
        Refusal::from(RegistryResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.into(),
        })
    };
    for status in [400, 404, 405, 410, 451] {
        let unavailable = (502, "UNAVAILABLE".to_owned(), None);
        assert_eq!(answer(refusal(status, "<html>")), unavailable, "{status}");
    }
    let expired = refusal(400, r#"{"errors":[{"code":"DENIED","message":"expired"}]}"#);
    assert_eq!(ProxyError::from(expired).into_response().status(), 400);
}
