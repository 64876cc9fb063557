//! refshim's own reads: limited in number, retried, redirected only where the policy allows. Reads of searches also wait while the
//! registry asks for a pause or keeps failing.

pub(in crate::registry) mod asker;
mod background_rate;
mod backoff;
mod queues;
pub(in crate::registry) mod request;
pub(in crate::registry) mod search_queue;

use std::sync::Arc;

use http::header::{ACCEPT, ACCEPT_ENCODING, RANGE, USER_AGENT};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

use crate::auth::token_scopes;
use crate::config::{LimitsConfig, UpstreamConfig};
use crate::http::body::Body;
use crate::registry::answer::RegistryResponse;
use crate::registry::authentication::AuthenticatedTransport;
use crate::registry::capabilities::Capabilities;
use crate::registry::classify::failure_of;
use crate::registry::counts::RequestKind;
use crate::registry::error::UpstreamError;
use crate::registry::origin::Origin;
use crate::registry::retry::{ReadFailure, Retry};
use crate::registry::transport::idle_timeout::IdleBody;
use crate::registry::transport::{collect, user_agent};
use asker::Asker;
use background_rate::BackgroundRate;
use backoff::Backoff;
use queues::Queues;
use request::{MOST_HOPS, ReadRequest};
use search_queue::Permit;

/// Makes the reads of refshim's own that go to one upstream, and says when they have to wait.
pub struct Reader {
    transport: AuthenticatedTransport,
    retries: u32,
    queues: Queues,
    /// When reads of searches have to wait, by what earlier ones met.
    backoff: Backoff,
    background_rate: BackgroundRate,
    /// The heads of manifests tell whether pulls are counted.
    capabilities: Arc<Capabilities>,
}

/// An answer whose body is still to be read. While it is held it counts against the number of reads at once.
pub(in crate::registry) struct OpenResponse {
    pub(in crate::registry) response: Response<IdleBody>,
    /// Where it came from, after redirects.
    pub(in crate::registry) uri: Uri,
    _permit: Permit,
}

impl Reader {
    pub(in crate::registry) fn new(
        config: &UpstreamConfig,
        limits: &LimitsConfig,
        transport: AuthenticatedTransport,
        capabilities: Arc<Capabilities>,
    ) -> Self {
        Self {
            retries: config.retries,
            queues: Queues::new(config, limits),
            backoff: Backoff::new(transport.login().is_some()),
            background_rate: BackgroundRate::new(config.background_rate),
            transport,
            capabilities,
        }
    }

    /// For what is no read of refshim's own: writes, logins, callers' requests.
    pub(in crate::registry) fn transport(&self) -> &AuthenticatedTransport {
        &self.transport
    }

    pub(in crate::registry) fn origin(&self) -> &Origin {
        self.transport.transport().origin()
    }

    pub(in crate::registry) fn background_rate(&self) -> u32 {
        self.background_rate.per_second()
    }

    /// Counts the attempts of one request against what the configuration allows.
    pub(in crate::registry) fn retry(&self) -> Retry {
        Retry::new(self.retries)
    }

    /// Asks, and repeats while that may help, until there is a usable answer: a success of at most `limit` bytes, read whole, or
    /// the beginning of another response.
    pub(in crate::registry) async fn ask(
        &self,
        ask: &ReadRequest<'_>,
        limit: usize,
    ) -> Result<RegistryResponse, UpstreamError> {
        Ok(self.ask_wherever(ask, limit).await?.0)
    }

    /// The same, and where the answer came from, after redirects.
    pub(in crate::registry) async fn ask_wherever(
        &self,
        ask: &ReadRequest<'_>,
        limit: usize,
    ) -> Result<(RegistryResponse, Uri), UpstreamError> {
        ask.caller.spend(ask.kind)?;
        let mut retry = self.retry();
        loop {
            let failure = match self.attempt(ask).await {
                Ok(open) => match collect::reply(open.response, limit).await {
                    Ok(Some(reply)) => {
                        self.went_well(ask);
                        return Ok((reply, open.uri));
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
    pub(in crate::registry) async fn again(
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
    pub(in crate::registry) fn went_well(&self, ask: &ReadRequest<'_>) {
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
        let repository = token_scopes::repository(&ask.uri, self.origin().prefix());
        self.queues.asker(repository.unwrap_or_default(), ask.caller)
    }

    /// A permit for one read. Searches have permits of their own, so that those that hang keep nobody else waiting.
    async fn permit(&self, ask: &ReadRequest<'_>) -> Result<Permit, UpstreamError> {
        let asker = self.asker_of(ask);
        if let Some(work) = ask.caller.background() {
            self.background_rate.turn(work).await;
        }
        if !ask.caller.searches() {
            return self.queues.other_reads.permit(asker).await;
        }
        loop {
            self.backoff.pass(asker).await?;
            let permit = self.queues.scan_reads.permit(asker).await?;
            // A pause may have begun while this waited for its permit, which is not kept from others meanwhile.
            if !self.backoff.holds_back(asker) {
                return Ok(permit);
            }
        }
    }

    /// Asks once, following redirects. 429 and 5xx are failures.
    pub(in crate::registry) async fn attempt(&self, ask: &ReadRequest<'_>) -> Result<OpenResponse, ReadFailure> {
        self.attempt_from(ask, 0).await
    }

    /// The same for what follows the first `offset` bytes. Who knows no ranges answers 200 with everything.
    pub(in crate::registry) async fn attempt_from(
        &self,
        ask: &ReadRequest<'_>,
        offset: u64,
    ) -> Result<OpenResponse, ReadFailure> {
        let permit = self.permit(ask).await?;
        let mut uri = ask.uri.clone();
        for _ in 0..=MOST_HOPS {
            let own = self.origin().holds(&uri);
            let response = self.step(ask, offset, &uri, own).await?;
            if let Some(next) = ask.redirect(&response, &uri, self.origin()) {
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

    /// Sends the read to `uri`, with credentials only where that is the registry's `own`.
    async fn step(
        &self,
        ask: &ReadRequest<'_>,
        offset: u64,
        uri: &Uri,
        own: bool,
    ) -> Result<Response<IdleBody>, UpstreamError> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = ask.method.clone();
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static(ask.accept));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(USER_AGENT, user_agent(ask.kind));
        if let Some(range) = range_from(offset) {
            headers.insert(RANGE, range);
        }
        if !own {
            return self.transport.transport().send_elsewhere(ask.kind, request).await;
        }
        ask.caller.sign(headers);
        self.transport.send_for(ask.caller, ask.kind, request).await
    }

    /// Learns from the head of the registry's own answer to a request for a manifest.
    pub(in crate::registry) fn saw_manifest<B>(&self, method: &Method, response: &Response<B>) {
        let is_pull = *method == Method::GET && response.status() == StatusCode::OK;
        self.capabilities.pull_limit.saw(response.headers(), is_pull);
    }
}

/// `None` for all of it.
fn range_from(offset: u64) -> Option<HeaderValue> {
    let range = (offset > 0).then(|| format!("bytes={offset}-"))?;
    HeaderValue::try_from(range).ok()
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
