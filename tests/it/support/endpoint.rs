//! An address that speaks the distribution API: a registry itself, or refshim in front of it.

use base64::Engine as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use super::exchange::{self, HttpError, Protocol, Reply};

#[derive(Clone)]
pub struct Endpoint {
    url: String,
    authorization: Option<String>,
    protocol: Protocol,
}

impl Endpoint {
    /// `url` without a path, such as `http://127.0.0.1:5000`.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            authorization: None,
            protocol: Protocol::Http1,
        }
    }

    pub fn basic(self, user: &str, password: &str) -> Self {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        self.authorization(&format!("Basic {pair}"))
    }

    pub fn authorization(mut self, value: &str) -> Self {
        self.authorization = Some(value.to_owned());
        self
    }

    pub fn anonymous(mut self) -> Self {
        self.authorization = None;
        self
    }

    pub fn h2c(mut self) -> Self {
        self.protocol = Protocol::H2c;
        self
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// `host:port`, as clients write it in front of a repository.
    pub fn authority(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// `host:port/repository:tag` or `…@digest`.
    pub fn image(&self, repository: &str, reference: &str) -> String {
        let separator = if reference.contains(':') { '@' } else { ':' };
        format!("{}/{repository}{separator}{reference}", self.authority())
    }

    /// `path` is a path with its query, or an absolute URL as found in a `Location`.
    pub fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Request<Bytes> {
        let url = if path.starts_with('/') {
            format!("{}{path}", self.url)
        } else {
            path.to_owned()
        };
        let mut request = Request::builder().method(method).uri(url);
        if let Some(value) = &self.authorization {
            request = request.header("authorization", value);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.into()).expect("a well-formed request")
    }

    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, HttpError> {
        exchange::send(self.protocol, self.request(method, path, headers, body)).await
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Reply {
        let what = format!("{method} {}{path}", self.url);
        let reply = self.try_send(method, path, headers, body).await;
        reply.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// The head at once, the body still on its way.
    pub async fn open(&self, path: &str) -> Result<Response<Incoming>, HttpError> {
        exchange::open(self.protocol, self.request(Method::GET, path, &[], Bytes::new())).await
    }

    pub async fn try_get(&self, path: &str) -> Result<Reply, HttpError> {
        self.try_send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::GET, path, headers, Bytes::new()).await
    }

    pub async fn head(&self, path: &str) -> Reply {
        self.send(Method::HEAD, path, &[], Bytes::new()).await
    }

    pub async fn head_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send(Method::HEAD, path, headers, Bytes::new()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }
}
