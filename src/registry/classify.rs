//! What the registry's status and body mean: found, absent, refused, failed, or nothing that is understood.

use std::time::SystemTime;

use http::header::CONTENT_TYPE;
use http::{StatusCode, Uri};

use super::answer::{Answer, RegistryResponse};
use super::error::UpstreamError;
use super::retry::{ReadFailure, retry_after, whole_seconds};

/// Whether `Location` says where to go instead.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What a 429 or 5xx means.
pub(super) fn failure_of(reply: &RegistryResponse) -> ReadFailure {
    let status = reply.status;
    if !matches!(status.as_u16(), 429 | 503) {
        return UpstreamError::Failed(status).into();
    }
    let wait = retry_after(&reply.headers, &reply.body, SystemTime::now());
    let retry_after = wait.map(whole_seconds);
    ReadFailure {
        error: UpstreamError::Limited { status, retry_after },
        wait,
    }
}

/// Sorts the answer to a read of `asked`. A success but 200 is none: there is nothing to read in it. Absence is believed only
/// where it is stated; another 404 may be an ingress', a firewall's, or about something else.
pub(super) fn classify(reply: RegistryResponse, asked: &Uri) -> Result<Answer<RegistryResponse>, UpstreamError> {
    match reply.status.as_u16() {
        200 => Ok(Answer::Found(reply)),
        404 => match reply.error() {
            Some(stated) if stated.states_absence() => Ok(Answer::Absent),
            Some(stated) if stated.states_absent_tag() && names_tag(asked) => Ok(Answer::Absent),
            // It concerns this caller alone, as 401 and 403 do. Nobody gets to see the status: clients take a 404 for "none".
            Some(stated) if stated.states_refusal() => Ok(Answer::Refused(reply.into())),
            _ => Err(UpstreamError::Invalid(not_understood(&reply, asked))),
        },
        400..500 => Ok(Answer::Refused(reply.into())),
        _ => Err(UpstreamError::Invalid(not_understood(&reply, asked))),
    }
}

/// Whether a manifest was asked for by tag. No tag holds a colon, every digest does.
fn names_tag(asked: &Uri) -> bool {
    let reference = asked.path().rsplit_once("/manifests/").map(|(_, reference)| reference);
    reference.is_some_and(|reference| !reference.contains(':'))
}

/// What was seen of an answer that means nothing to us: its status, its codes or else its type, and the path.
pub(super) fn not_understood(reply: &RegistryResponse, asked: &Uri) -> String {
    let (status, path) = (reply.status.as_u16(), asked.path());
    let content_type = reply.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    match (reply.error(), content_type) {
        (Some(stated), _) => format!("HTTP {status} with the code {stated} for {path}"),
        (None, Some(content_type)) => {
            let content_type: String = content_type.chars().take(80).collect();
            format!("HTTP {status} of type '{content_type}' for {path}")
        }
        (None, None) => format!("HTTP {status} without a content type for {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "http://r.example/v2/a/tags/list?n=1000";

    fn sorted_of(asked: &str, status: u16, body: &str) -> Result<Answer<RegistryResponse>, UpstreamError> {
        let reply = RegistryResponse {
            status: StatusCode::from_u16(status).unwrap(),
            headers: http::HeaderMap::new(),
            body: body.to_owned().into(),
        };
        classify(reply, &asked.parse().unwrap())
    }

    fn sorted(status: u16, body: &str) -> Result<Answer<RegistryResponse>, UpstreamError> {
        sorted_of(LISTING, status, body)
    }

    fn error(code: &str) -> String {
        format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#)
    }

    #[test]
    fn only_a_404_that_states_it_says_that_something_is_absent() {
        for code in ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"] {
            assert!(matches!(sorted(404, &error(code)), Ok(Answer::Absent)), "{code}");
        }
        let others = ["TOOMANYREQUESTS", "UNAVAILABLE", "UNKNOWN", "TAG_EXPIRED"].map(error);
        let pages = ["", "404 page not found", "<html>", "{}"].map(str::to_owned);
        let mixed = r#"{"errors":[{"code":"NAME_UNKNOWN"},{"code":"UNAVAILABLE"}]}"#.to_owned();
        for body in others.into_iter().chain(pages).chain([mixed]) {
            let failed = sorted(404, &body);
            assert!(matches!(failed, Err(UpstreamError::Invalid(_))), "{body}: {failed:?}");
        }
    }

    #[test]
    fn a_404_about_rights_is_a_refusal() {
        for code in ["DENIED", "UNAUTHORIZED"] {
            assert!(matches!(sorted(404, &error(code)), Ok(Answer::Refused(_))), "{code}");
        }
    }

    #[test]
    fn only_a_tag_expires() {
        let expired = error("TAG_EXPIRED");
        let by = |reference: &str| sorted_of(&format!("http://r.example/v2/a/manifests/{reference}"), 404, &expired);
        assert!(matches!(by("v1"), Ok(Answer::Absent)));
        assert!(matches!(by("sha256:00"), Err(UpstreamError::Invalid(_))));
    }

    #[test]
    fn a_failure_says_what_was_seen() {
        let said = |status, body: &str| sorted(status, body).unwrap_err().to_string();
        assert!(said(404, &error("UNKNOWN")).ends_with("HTTP 404 with the code UNKNOWN for /v2/a/tags/list"));
        assert!(said(204, "").ends_with("HTTP 204 without a content type for /v2/a/tags/list"));
    }

    #[test]
    fn other_statuses_are_refusals_or_unusable() {
        assert!(matches!(sorted(200, ""), Ok(Answer::Found(_))));
        for status in [400, 401, 403, 405, 410, 451] {
            assert!(matches!(sorted(status, ""), Ok(Answer::Refused(_))), "{status}");
        }
        for status in [203, 204, 206, 302, 304] {
            assert!(matches!(sorted(status, ""), Err(UpstreamError::Invalid(_))), "{status}");
        }
    }
}
