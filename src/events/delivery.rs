//! One attempt to give an event to its receiver.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};

use super::error::WebhookError;
use super::signature::{SigningKeys, sign};
use crate::config::{TlsVersion, WebhookConfig};
use crate::http::body::Body;
use crate::http::client::HttpClient;
use crate::http::collect;
use crate::http::connector::{self, ClientOptions};
use crate::http::egress_proxy::EgressProxies;
use crate::http::error_chain::chain;
use crate::http::response_body::ResponseBody;
use crate::http::retry_after;
use crate::http::sharing::Sharing;
use crate::tls::ServerTrust;

/// A structured-mode event (CloudEvents HTTP Protocol Binding 1.0.2, 3.2).
const CLOUD_EVENT: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=UTF-8");
const OWN_USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("refshim/", env!("CARGO_PKG_VERSION"), " (webhook)"));
/// So much of an answer is read, so that its connection can be used again.
const MAX_ANSWER: usize = 4 << 10;

/// An event as it is sent, again and again the same.
#[derive(Clone, Debug)]
pub(super) struct EventMessage {
    pub id: Arc<str>,
    pub body: Bytes,
}

impl EventMessage {
    /// An ID that no other event of any refshim has. Without a dot: signatures put one behind it.
    pub fn random_id() -> Arc<str> {
        format!("{:032x}", rand::random::<u128>()).into()
    }
}

/// What came of an attempt.
#[derive(Debug)]
pub(super) enum AttemptOutcome {
    Delivered,
    /// The receiver does not take this event, whenever it comes.
    Refused(WebhookError),
    Failed(FailedDelivery),
}

#[derive(Debug)]
pub(super) struct FailedDelivery {
    pub error: WebhookError,
    /// How long the receiver wants to be left alone.
    pub wait: Option<Duration>,
    /// It may be this event that the receiver dislikes, so that others must not wait for it long.
    pub may_be_the_event: bool,
}

impl From<WebhookError> for FailedDelivery {
    fn from(error: WebhookError) -> Self {
        Self {
            error,
            wait: None,
            may_be_the_event: false,
        }
    }
}

/// Sends events to one receiver.
pub(super) struct Delivery {
    client: HttpClient,
    url: Uri,
    keys: SigningKeys,
    timeout: Duration,
}

impl Delivery {
    /// Reads certificates; connects to nothing.
    pub fn new(config: &WebhookConfig) -> Result<Self, WebhookError> {
        let unusable =
            |error: &dyn ToString| WebhookError::Unreachable(format!("its URL cannot be used: {}", error.to_string()));
        let keys = match (&config.secret, &config.secret_file) {
            (Some(key), _) => SigningKeys::Given(key.clone()),
            (None, Some(file)) => SigningKeys::File(file.clone()),
            (None, None) => return Err(WebhookError::Secret("is missing".to_owned())),
        };
        Ok(Self {
            client: client(config)?,
            url: config
                .url
                .reveal()
                .parse()
                .map_err(|error: http::uri::InvalidUri| unusable(&error))?,
            keys,
            timeout: config.timeout,
        })
    }

    /// Fails where the key cannot be used.
    pub async fn check_keys(&self) -> Result<(), WebhookError> {
        self.keys.read().await.map(drop)
    }

    pub async fn attempt(&self, message: &EventMessage) -> AttemptOutcome {
        let sent = tokio::time::timeout(self.timeout, self.send(message)).await;
        let (status, wait) = match sent.unwrap_or(Err(WebhookError::Timeout)) {
            Ok(answered) => answered,
            Err(error) => return AttemptOutcome::Failed(error.into()),
        };
        let error = WebhookError::Status(status);
        match status.as_u16() {
            200..=299 => AttemptOutcome::Delivered,
            410 | 413 => AttemptOutcome::Refused(error),
            code => AttemptOutcome::Failed(FailedDelivery {
                error,
                wait,
                may_be_the_event: matches!(code, 400 | 415 | 422),
            }),
        }
    }

    /// The receiver's status, and how long it asks to wait. Redirects are not followed: what is signed is for this receiver.
    async fn send(&self, message: &EventMessage) -> Result<(StatusCode, Option<Duration>), WebhookError> {
        let request = self.request(message).await?;
        let answer = self.client.request(Sharing::Connection, request).await;
        let answer = answer.map_err(|error| WebhookError::Unreachable(chain(&error)))?;
        let status = answer.status();
        let wait = retry_after::stated(answer.headers(), SystemTime::now());
        read_to_its_end(answer).await;
        Ok((status, wait))
    }

    async fn request(&self, message: &EventMessage) -> Result<Request<Body>, WebhookError> {
        let keys = self.keys.read().await?;
        // That of the attempt, by which receivers know old ones.
        let timestamp = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let request = Request::post(self.url.clone())
            .header(CONTENT_TYPE, CLOUD_EVENT)
            .header(USER_AGENT, OWN_USER_AGENT)
            .header("webhook-id", &*message.id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", sign(&keys, &message.id, timestamp, &message.body));
        let request = request.body(Body::from(message.body.clone()));
        request.map_err(|error| WebhookError::Unreachable(error.to_string()))
    }
}

/// What the body says, and whether it arrives, changes nothing.
async fn read_to_its_end(answer: Response<ResponseBody>) {
    let _ = collect::up_to(&mut answer.into_body(), MAX_ANSWER).await;
}

fn client(config: &WebhookConfig) -> Result<HttpClient, WebhookError> {
    let mut system = ServerTrust::empty();
    system.add_system();
    let mut trust = match config.ca_file {
        Some(_) => ServerTrust::empty(),
        None => system.clone(),
    };
    // A proxy may be anyone's.
    let mut proxy_trust = system;
    if let Some(file) = &config.ca_file {
        for trust in [&mut trust, &mut proxy_trust] {
            trust
                .add_file(file)
                .map_err(|error| WebhookError::Authorities(error.to_string()))?;
        }
    }
    let tls = |trust| {
        connector::tls(trust, TlsVersion::default(), None).map_err(|error| WebhookError::Authorities(error.to_string()))
    };
    let options = ClientOptions {
        tls: tls(trust)?,
        proxies: Arc::new(EgressProxies::new(config.egress.clone(), false)),
        proxy_tls: tls(proxy_trust)?,
        connect_timeout: config.timeout,
        http2_only: false,
        policy: None,
    };
    Ok(HttpClient::new(options, None))
}
