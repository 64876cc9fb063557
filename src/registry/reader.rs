//! refshim's own reads: limited in number, retried, redirected only where the policy lets them.

use std::time::SystemTime;

use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::asker::Asker;
use super::backoff::whole_seconds;
use super::counts::RequestKind;
use super::idle_timeout::IdleBody;
use super::origin::resolve;
use super::retry::{ReadFailure, Retry, retry_after};
use super::{Answer, Caller, Permit, RegistryResponse, Upstream, UpstreamError, collect};
use crate::auth::token_scopes;
use crate::http::body::Body;
use crate::oci::ErrorBody;

pub(super) const OWN_USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("refshim/", env!("CARGO_PKG_VERSION")));

pub(super) const MOST_HOPS: usize = 5;

/// Which redirects are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Redirects {
    /// On the upstream's own origin; others are the answer.
    Own,
    /// Only from one place of the referrers API to another, on other hosts as with [`Redirects::Elsewhere`]: GHCR sends whoever
    /// asks for referrers to a page of its web site.
    OwnApi,
    /// To other hosts too, without credentials, under the policy.
    Elsewhere,
}

/// A read.
#[derive(Debug)]
pub(super) struct ReadRequest<'a> {
    pub(super) kind: RequestKind,
    pub(super) method: Method,
    pub(super) uri: Uri,
    pub(super) accept: &'static str,
    pub(super) redirects: Redirects,
    pub(super) caller: &'a Caller,
}

impl ReadRequest<'_> {
    /// Of a manifest or blob it is that one's fault, of everything else the registry's.
    fn too_large(&self, limit: usize) -> UpstreamError {
        let reason = format!("it is larger than {limit} bytes");
        match self.kind {
            RequestKind::Manifest | RequestKind::Blob => UpstreamError::Content(reason),
            _ => UpstreamError::Invalid(reason),
        }
    }

    /// Lists are read as text. Content that is checked against a digest may be stored encoded, which is no matter of transport.
    fn check_encoding(&self, response: &Response<IdleBody>) -> Result<(), UpstreamError> {
        let is_list = matches!(self.kind, RequestKind::Tags | RequestKind::Referrers);
        let encoding = response.headers().get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
        match encoding {
            Some(encoding) if is_list && !encoding.eq_ignore_ascii_case(b"identity") => {
                let encoding = String::from_utf8_lossy(&encoding[..encoding.len().min(20)]).into_owned();
                let path = self.uri.path();
                let reason = format!("a list encoded as '{encoding}', which was not asked for, for {path}");
                Err(UpstreamError::Invalid(reason))
            }
            _ => Ok(()),
        }
    }

    /// Whether a status of another host may say what the upstream's own would: behind a front that only redirects
    /// (registry.k8s.io), that host is the registry. Of storage, which holds blobs, a 404 says that a link there was wrong, and a
    /// refusal elsewhere is none of the caller's credentials.
    fn may_be_judged_at(&self, status: StatusCode) -> bool {
        match self.kind {
            RequestKind::Manifest | RequestKind::ManifestHead => status == StatusCode::NOT_FOUND,
            // `n` and `last` may be refused.
            RequestKind::Tags => matches!(status.as_u16(), 400 | 404 | 405),
            RequestKind::Referrers => matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED),
            _ => false,
        }
    }

    /// Whether searches learn from it how the upstream is doing. Blobs are often kept elsewhere.
    fn tells(&self) -> bool {
        self.caller.searches() && self.kind != RequestKind::Blob
    }
}

/// An answer whose body is still to be read. While it is held it counts against the number of reads at once.
pub(super) struct OpenResponse {
    pub(super) response: Response<IdleBody>,
    /// Where it came from, after redirects.
    pub(super) uri: Uri,
    _permit: Permit,
}

impl Upstream {
    /// Asks until there is an answer that can be used, and reads it: a success of at most `limit` bytes, or a beginning of
    /// something else.
    pub(super) async fn ask(&self, ask: &ReadRequest<'_>, limit: usize) -> Result<RegistryResponse, UpstreamError> {
        Ok(self.ask_wherever(ask, limit).await?.0)
    }

    /// The same, and where the answer came from, after redirects.
    pub(super) async fn ask_wherever(
        &self,
        ask: &ReadRequest<'_>,
        limit: usize,
    ) -> Result<(RegistryResponse, Uri), UpstreamError> {
        ask.caller.spend(ask.kind)?;
        let mut retry = Retry::new(self.retries);
        loop {
            let failure = match self.attempt(ask).await {
                Ok(heard) => match collect::reply(heard.response, limit).await {
                    Ok(Some(reply)) => {
                        self.went_well(ask);
                        return Ok((reply, heard.uri));
                    }
                    Ok(None) => ask.too_large(limit).into(),
                    Err(error) => error.into(),
                },
                Err(failure) => failure,
            };
            self.again(&mut retry, ask, failure).await?;
        }
    }

    /// Waits until the read may be made again, or fails. What a search meets is remembered for the next.
    pub(super) async fn again(
        &self,
        retry: &mut Retry,
        ask: &ReadRequest<'_>,
        failure: ReadFailure,
    ) -> Result<(), UpstreamError> {
        if !ask.tells() {
            return retry.after(failure).await;
        }
        let asker = self.asker_of(ask);
        self.backoff.asked(asker, &failure);
        let again = retry.after(failure).await;
        if let Err(error) = &again {
            self.backoff.failed(asker, error, retry.begun());
        }
        again
    }

    /// The read was answered. A router that has no referrers API says so although the registry behind it fails, so what it says
    /// ends nothing.
    pub(super) fn went_well(&self, ask: &ReadRequest<'_>) {
        if ask.kind == RequestKind::Referrers {
            return;
        }
        if ask.tells() {
            self.backoff.succeeded(self.asker_of(ask));
        } else {
            self.backoff.answered(self.asker_of(ask));
        }
    }

    fn asker_of(&self, ask: &ReadRequest<'_>) -> Asker {
        let repository = token_scopes::repository(&ask.uri, self.origin.prefix());
        self.asker(repository.unwrap_or_default(), ask.caller)
    }

    /// A permit for one read. Searches have permits of their own, so that those that hang keep nobody else waiting.
    async fn permit(&self, ask: &ReadRequest<'_>) -> Result<Permit, UpstreamError> {
        let asker = self.asker_of(ask);
        if !ask.caller.searches() {
            return self.other_reads.permit(asker).await;
        }
        loop {
            self.backoff.pass(asker).await?;
            let permit = self.scan_reads.permit(asker).await?;
            // A pause may have begun while this waited for its permit, which is not kept from others meanwhile.
            if !self.backoff.holds_back(asker) {
                return Ok(permit);
            }
        }
    }

    /// Asks once, following redirects. 429 and 5xx are failures.
    pub(super) async fn attempt(&self, ask: &ReadRequest<'_>) -> Result<OpenResponse, ReadFailure> {
        let permit = self.permit(ask).await?;
        let mut uri = ask.uri.clone();
        if !self.origin.holds(&uri) {
            // A page of a host that the upstream redirected to has linked to the next.
            self.admit(&uri)?;
        }
        for _ in 0..=MOST_HOPS {
            let own = self.origin.holds(&uri);
            let response = self.step(ask, &uri, own).await?;
            if let Some(next) = self.redirect(ask, &response, &uri)? {
                // Its few bytes are read so that the connection can be used again.
                let _ = collect::refusal(response).await;
                uri = next;
                continue;
            }
            if own && matches!(ask.kind, RequestKind::Manifest | RequestKind::ManifestHead) {
                self.saw_manifest(&ask.method, &response);
            }
            let response = check_status(response).await?;
            ask.check_encoding(&response)?;
            if !own && !response.status().is_success() && !ask.may_be_judged_at(response.status()) {
                let reason = format!("the host that it redirects to answered HTTP {}", response.status());
                return Err(UpstreamError::Invalid(reason).into());
            }
            let _permit = permit;
            return Ok(OpenResponse { response, uri, _permit });
        }
        Err(UpstreamError::Invalid("it redirects too often".into()).into())
    }

    async fn step(&self, ask: &ReadRequest<'_>, uri: &Uri, own: bool) -> Result<Response<IdleBody>, UpstreamError> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, OWN_USER_AGENT);
        if !own {
            return self.send(ask.kind, &self.foreign_client, request).await;
        }
        ask.caller.sign(headers);
        self.send_for(ask.caller, ask.kind, request).await
    }

    /// Where to go instead; `None` when this is the answer.
    fn redirect(
        &self,
        ask: &ReadRequest<'_>,
        response: &Response<IdleBody>,
        uri: &Uri,
    ) -> Result<Option<Uri>, UpstreamError> {
        if !is_redirect(response.status()) {
            return Ok(None);
        }
        let location = response.headers().get(LOCATION).and_then(|l| l.to_str().ok());
        let Some(target) = location.and_then(|location| resolve(uri, location)) else {
            return Ok(None);
        };
        if self.origin.holds(&target) {
            let stays = ask.redirects != Redirects::OwnApi || self.origin.is_api(&target);
            return Ok(stays.then_some(target));
        }
        let follows = match ask.redirects {
            Redirects::Own => false,
            Redirects::OwnApi => is_referrers_path(target.path()),
            Redirects::Elsewhere => true,
        };
        if !follows {
            return Ok(None);
        }
        self.admit(&target)?;
        Ok(Some(target))
    }

    /// Whether the policy lets another host be asked.
    fn admit(&self, target: &Uri) -> Result<(), UpstreamError> {
        let checked = self.policy.check(target);
        checked.map_err(|forbidden| UpstreamError::Invalid(forbidden.to_string()))
    }
}

/// Whether a path on another host is that of a referrers API.
fn is_referrers_path(path: &str) -> bool {
    path.starts_with("/v2/") && path.contains("/referrers/")
}

/// Whether `Location` says where to go instead.
pub(super) fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Turns 429 and 5xx into failures.
async fn check_status(response: Response<IdleBody>) -> Result<Response<IdleBody>, ReadFailure> {
    let status = response.status();
    if status != StatusCode::TOO_MANY_REQUESTS && !status.is_server_error() {
        return Ok(response);
    }
    let reply = collect::refusal(response).await?;
    Err(failure_of(&reply))
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
/// where it is stated (design, "A none is proof"); another 404 may be an ingress', a firewall's, or about something else.
pub(super) fn classify(reply: RegistryResponse, asked: &Uri) -> Result<Answer<RegistryResponse>, UpstreamError> {
    match reply.status.as_u16() {
        200 => Ok(Answer::Found(reply)),
        404 => match ErrorBody::parse(&reply.body) {
            Some(stated) if stated.states_absence() => Ok(Answer::Absent),
            Some(stated) if stated.states_absent_tag() && names_tag(asked) => Ok(Answer::Absent),
            // It concerns this caller alone, as 401 and 403 do. Nobody gets to see the status: clients take a 404 for "none".
            Some(stated) if stated.states_refusal() => Ok(Answer::Refused(reply)),
            _ => Err(UpstreamError::Invalid(not_understood(&reply, asked))),
        },
        400..500 => Ok(Answer::Refused(reply)),
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
    match (ErrorBody::parse(&reply.body), content_type) {
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
