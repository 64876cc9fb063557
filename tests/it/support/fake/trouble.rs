//! What an upstream may do to whoever trusts it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::StreamBody;
use refshim::testing::http::body::{Body, BoxError};

#[derive(Clone, Debug)]
pub enum Trouble {
    /// The connection closes without an answer.
    Close,
    /// There is never an answer.
    Silence,
    /// This is the answer.
    Answer {
        status: StatusCode,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Bytes,
    },
    /// The connection breaks after so many bytes of the true body.
    Cut(usize),
    /// Nothing more comes after so many bytes of the true body.
    Stall(usize),
    /// A byte at a time, each after this long.
    Trickle(Duration),
    /// The true head, and then this, over and over, without end.
    Endless(&'static str),
    /// The true head, and another body (its length stated rightly).
    Body(Bytes),
    /// The true answer under a `Content-Length` that is off by this much.
    Length(isize),
    /// The true answer under another status.
    Status(StatusCode),
    /// The true body, compressed, which nobody asked for.
    Gzip,
    /// A header is replaced in the true answer.
    Header(HeaderName, HeaderValue),
    /// Headers are added to the true answer.
    Headers(Vec<(HeaderName, HeaderValue)>),
    /// A header is taken out of the true answer.
    WithoutHeader(&'static str),
}

impl Trouble {
    pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Self {
        let headers = headers.iter().map(|&(name, value)| {
            let name: HeaderName = name.parse().expect("a header's name");
            (name, HeaderValue::from_str(value).expect("a header's value"))
        });
        Self::Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers.collect(),
            body: body.into(),
        }
    }

    pub fn html(status: u16) -> Self {
        let page = "<!DOCTYPE html><html><body>Something went wrong</body></html>";
        Self::answer(status, &[("content-type", "text/html")], page)
    }

    /// A load balancer's or a registry's own 404, with its error body.
    pub fn oci(status: u16, code: &str, message: &str) -> Self {
        let error = serde_json::json!({"errors": [{"code": code, "message": message}]});
        let json = [("content-type", "application/json")];
        Self::answer(status, &json, error.to_string())
    }

    /// GHCR's limit, which says how long to wait in words only, as a Go duration such as `880.092µs`.
    pub fn ghcr_limit(wait: &str) -> Self {
        let message = format!("retry-after: {wait}, allowed: 44000/minute");
        Self::oci(429, "TOOMANYREQUESTS", &message)
    }

    pub fn header(name: &str, value: &str) -> Self {
        let name = name.parse().expect("a header's name");
        Self::Header(name, HeaderValue::from_str(value).expect("a header's value"))
    }

    pub fn headers(headers: &[(&'static str, &str)]) -> Self {
        let headers = headers.iter().map(|&(name, value)| {
            let value = HeaderValue::from_str(value).expect("a header's value");
            (HeaderName::from_static(name), value)
        });
        Self::Headers(headers.collect())
    }

    /// The answer in place of the true one, where this trouble is of that kind.
    pub(super) async fn instead(&self) -> Result<Option<Response<Body>>, BoxError> {
        match self {
            Self::Close => Err("closed on demand".into()),
            Self::Silence => std::future::pending().await,
            Self::Answer { status, headers, body } => {
                let mut response = Response::new(Body::from(body.clone()));
                *response.status_mut() = *status;
                response.headers_mut().extend(headers.iter().cloned());
                Ok(Some(response))
            }
            _ => Ok(None),
        }
    }

    /// What becomes of the true answer.
    pub(super) fn bend(&self, response: Response<Body>) -> Response<Body> {
        let (mut head, body) = response.into_parts();
        let Body::Full(bytes) = body else {
            panic!("the embedded registry knows its bodies")
        };
        let bytes = bytes.unwrap_or_default();
        let body = match self {
            Self::Cut(after) => {
                let start = Ok(bytes.slice(..*after.min(&bytes.len())));
                streamed(stream::iter([start]).chain(later(Err("cut on demand".into()))))
            }
            Self::Stall(after) => {
                let start = Ok(bytes.slice(..*after.min(&bytes.len())));
                streamed(stream::iter([start]).chain(stream::pending()))
            }
            Self::Trickle(pause) => trickle(bytes, *pause),
            Self::Endless(text) => {
                head.headers.remove(CONTENT_LENGTH);
                let chunk = Bytes::from(text.repeat(1000));
                streamed(stream::repeat_with(move || Ok(chunk.clone())))
            }
            Self::Body(other) => {
                head.headers.remove(CONTENT_LENGTH);
                Body::from(other.clone())
            }
            Self::Length(off) => {
                let length = bytes.len().saturating_add_signed(*off);
                head.headers.insert(CONTENT_LENGTH, length.into());
                streamed(stream::iter([Ok(bytes)]).chain(later(Ok(Bytes::new()))))
            }
            Self::Header(name, value) => {
                head.headers.insert(name, value.clone());
                Body::from(bytes)
            }
            Self::Status(status) => {
                head.status = *status;
                Body::from(bytes)
            }
            Self::Gzip => {
                head.headers.remove(CONTENT_LENGTH);
                head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                Body::from(Bytes::from(gzip(&bytes)))
            }
            Self::Headers(headers) => {
                head.headers.extend(headers.iter().cloned());
                Body::from(bytes)
            }
            Self::WithoutHeader(name) => {
                head.headers.remove(*name);
                Body::from(bytes)
            }
            Self::Close | Self::Silence | Self::Answer { .. } => Body::from(bytes),
        };
        Response::from_parts(head, body)
    }
}

/// Compressed without being made smaller: stored blocks (RFC 1951, 3.2.4) in a gzip file (RFC 1952).
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = bytes.chunks(usize::from(u16::MAX));
    for (number, block) in blocks.clone().enumerate() {
        let length = block.len() as u16;
        file.push(u8::from(number + 1 == blocks.len()));
        file.extend(length.to_le_bytes());
        file.extend((!length).to_le_bytes());
        file.extend(block);
    }
    let bit = |rest: u32| (rest >> 1) ^ (0xedb8_8320 * (rest & 1));
    let crc = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |rest, _| bit(rest))
    });
    file.extend((!crc).to_le_bytes());
    file.extend((bytes.len() as u32).to_le_bytes());
    file
}

fn streamed(chunks: impl stream::Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    Body::stream(StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))))
}

/// What comes before it is sent first.
fn later(last: Result<Bytes, BoxError>) -> impl stream::Stream<Item = Result<Bytes, BoxError>> {
    stream::once(async {
        tokio::task::yield_now().await;
        last
    })
}

fn trickle(bytes: Bytes, pause: Duration) -> Body {
    let chunks = stream::iter(0..bytes.len()).then(move |at| {
        let byte = bytes.slice(at..=at);
        async move {
            tokio::time::sleep(pause).await;
            Ok(byte)
        }
    });
    streamed(chunks)
}
