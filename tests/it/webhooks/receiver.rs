//! A receiver of events: it verifies each signature with an implementation of its own, and answers as a test says.

use std::collections::VecDeque;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::{Service, eventually};

pub const KEY: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

/// Status and headers of an answer.
pub type Scripted = (u16, &'static [(&'static str, &'static str)]);

pub struct Receiver {
    service: Service,
}

impl Receiver {
    /// Answers 204, always.
    pub async fn start() -> Self {
        Self::answering([]).await
    }

    /// Gives these answers first, one each.
    pub async fn answering(answers: impl IntoIterator<Item = Scripted>) -> Self {
        let script = Mutex::new(answers.into_iter().collect::<VecDeque<Scripted>>());
        let service = Service::start(move |_| {
            let (status, headers) = script.lock().unwrap().pop_front().unwrap_or((204, &[]));
            let mut answer = Response::builder().status(status);
            for (name, value) in headers {
                answer = answer.header(*name, *value);
            }
            answer.body(Bytes::new()).unwrap()
        });
        Self { service: service.await }
    }

    pub fn url(&self) -> &str {
        self.service.url()
    }

    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.service.requests()
    }

    /// The events of all requests so far, repeated ones too, each verified.
    pub fn events(&self) -> Vec<Value> {
        let requests = self.requests();
        requests.iter().map(|request| verified(request, &[KEY])).collect()
    }

    /// The same, once there are as many.
    pub async fn receives(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} events arrive");
        let events = eventually(&what, async || {
            Some(self.events()).filter(|events| events.len() >= count)
        })
        .await;
        assert_eq!(events.len(), count, "{events:#?}");
        events
    }
}

/// The event of a request. Everything is as CloudEvents and Standard Webhooks say, and there is a signature by each of the keys.
pub fn verified(request: &Request<Bytes>, keys: &[&str]) -> Value {
    let header = |name: &str| request.headers().get(name).expect(name).to_str().unwrap();
    assert_eq!(request.method(), "POST");
    assert_eq!(request.uri().to_string(), "/hook?token=in-the-url");
    assert_eq!(header("content-type"), "application/cloudevents+json; charset=UTF-8");
    assert!(request.headers().get("authorization").is_none());
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    assert!(now.abs_diff(timestamp.parse().unwrap()) < 300, "{timestamp}");
    let signed = [format!("{id}.{timestamp}.").as_bytes(), request.body()].concat();
    let signatures = keys.iter().map(|key| {
        let key = STANDARD.decode(key.trim_start_matches("whsec_")).unwrap();
        format!("v1,{}", STANDARD.encode(hmac(&key, &signed)))
    });
    assert_eq!(header("webhook-signature"), signatures.collect::<Vec<_>>().join(" "));
    let event: Value = serde_json::from_slice(request.body()).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["datacontenttype"], "application/json");
    assert_eq!(event["id"], id);
    let data = &event["data"];
    let subject = format!(
        "{}@{}",
        data["repository"].as_str().unwrap(),
        data["subject"].as_str().unwrap()
    );
    assert_eq!(event["subject"], subject);
    event
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).unwrap_or(&0) ^ with).collect() };
    let inner = Sha256::digest([&pad(0x36), message].concat());
    Sha256::digest([&pad(0x5c)[..], &inner].concat()).to_vec()
}
