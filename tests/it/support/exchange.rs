//! A small HTTP client that shows everything it was answered.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use refshim::testing::http::body::{Body, BoxError};
use serde_json::Value;
use tokio::sync::mpsc;

/// Of one whole exchange.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer: {0:?}")]
    Exchange(#[from] hyper_util::client::legacy::Error),
    #[error("the body broke after {read} bytes: {source:?}")]
    Body { read: usize, source: hyper::Error },
    #[error("nothing happened for {DEADLINE:?}")]
    Deadline,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A failure shows as much of the body as one reads.
impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.body[..self.body.len().min(2000)];
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("length", &self.body.len())
            .field("body", &String::from_utf8_lossy(shown))
            .finish()
    }
}

impl Reply {
    /// The header's first value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("a printable header"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn expect_status(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Asserts an OCI error body and returns its first code.
    #[track_caller]
    pub fn error_code(&self) -> String {
        let code = self.json()["errors"][0]["code"].as_str().map(str::to_owned);
        code.unwrap_or_else(|| panic!("no OCI error body: {self:?}"))
    }
}

/// Sends and returns the head at once; the body is the caller's to read.
pub async fn open(protocol: Protocol, request: Request<Bytes>) -> Result<Response<Incoming>, HttpError> {
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .http2_only(protocol == Protocol::H2c)
        .build_http();
    let exchange = client.request(request.map(Full::new));
    Ok(tokio::time::timeout(DEADLINE, exchange)
        .await
        .map_err(|_| HttpError::Deadline)??)
}

/// Sends and reads all.
pub async fn send(protocol: Protocol, request: Request<Bytes>) -> Result<Reply, HttpError> {
    let (head, body) = open(protocol, request).await?.into_parts();
    let body = tokio::time::timeout(DEADLINE, read(body))
        .await
        .map_err(|_| HttpError::Deadline)??;
    Ok(Reply {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// Sends a body while it is made, over HTTP/1.1.
pub async fn send_body(request: Request<Body>) -> Result<Reply, HttpError> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let exchange = async {
        let (head, body) = client.request(request).await?.into_parts();
        let body = read(body).await?;
        Ok(Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
        })
    };
    tokio::time::timeout(DEADLINE, exchange)
        .await
        .map_err(|_| HttpError::Deadline)?
}

/// A body that ends when its sender is dropped.
pub fn channel() -> (mpsc::Sender<Bytes>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let data = receiver.recv().await?;
        Some((Ok::<_, BoxError>(Frame::data(data)), receiver))
    });
    (sender, Body::stream(StreamBody::new(frames)))
}

/// The whole body.
pub async fn read(mut body: Incoming) -> Result<Bytes, HttpError> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|source| HttpError::Body {
            read: bytes.len(),
            source,
        })?;
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.freeze())
}
