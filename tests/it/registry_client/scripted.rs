//! A server that answers as its script says and remembers what it was asked.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, Version};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use refshim::testing::http::body::Body;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A request as it came; its body is the script's to read.
pub struct Asked {
    pub line: String,
    pub headers: HeaderMap,
    pub version: Version,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

type Log = Arc<Mutex<Vec<Asked>>>;

pub struct Scripted {
    authority: String,
    log: Log,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

impl Scripted {
    pub async fn start<F>(script: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
    {
        Self::start_at("127.0.0.1", script).await
    }

    /// 127.0.0.2 stands for another host.
    pub async fn start_at<F>(host: &str, script: F) -> Self
    where
        F: Fn(Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((host, 0)).await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let log = Log::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, log.clone(), Arc::new(script)));
        Self {
            authority,
            log,
            _server: server,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// What was asked so far, forgotten here.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut self.log.lock().unwrap())
    }

    pub fn lines(&self) -> Vec<String> {
        self.take().into_iter().map(|asked| asked.line).collect()
    }
}

async fn serve<F>(listener: TcpListener, log: Log, script: Arc<F>)
where
    F: Fn(Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (log, script) = (log.clone(), script.clone());
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
                log.lock().unwrap().push(Asked {
                    line: format!("{} {path}", request.method()),
                    headers: request.headers().clone(),
                    version: request.version(),
                });
                std::future::ready(Ok::<_, Infallible>(script(request)))
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            // An error is a connection that the client closed.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

pub fn reply(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.into())).unwrap()
}

pub fn oci_error(status: u16, code: &str) -> Response<Body> {
    let body = format!(r#"{{"errors":[{{"code":"{code}","message":"no"}}]}}"#);
    reply(status, &[("content-type", "application/json")], body)
}

/// The value of a query parameter as it is written.
pub fn parameter<'a, B>(request: &'a Request<B>, name: &str) -> Option<&'a str> {
    let pairs = request.uri().query()?.split('&');
    pairs
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
