//! An HTTP proxy as companies have them: it alone knows where hosts are, makes tunnels (`CONNECT`), asks hosts for whole URLs, and writes
//! down what it was asked.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::PROXY_AUTHORIZATION;
use http::{Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use refshim::testing::http::body::{Body, BoxError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

pub struct EgressProxy {
    authority: String,
    shared: Arc<Shared>,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

struct Shared {
    /// Addresses by host and port.
    hosts: BTreeMap<String, String>,
    /// What `Proxy-Authorization` must hold.
    authorization: Option<String>,
    seen: Mutex<Vec<String>>,
}

impl EgressProxy {
    /// Knows `hosts`: what each `name:port` stands for. It refuses to go anywhere else.
    pub async fn start(hosts: &[(&str, &str)]) -> Self {
        Self::guarded(hosts, None).await
    }

    /// Lets in this user alone.
    pub async fn of_user(hosts: &[(&str, &str)], user: &str, password: &str) -> Self {
        let authorization = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        Self::guarded(hosts, Some(authorization)).await
    }

    async fn guarded(hosts: &[(&str, &str)], authorization: Option<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let authority = listener.local_addr().expect("a bound address").to_string();
        let hosts = hosts
            .iter()
            .map(|(name, address)| (name.to_string(), address.to_string()));
        let shared = Arc::new(Shared {
            hosts: hosts.collect(),
            authorization,
            seen: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, shared.clone()));
        Self {
            authority,
            shared,
            _server: server,
        }
    }

    /// `host:port`
    pub fn authority(&self) -> &str {
        &self.authority
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority)
    }

    /// With user and password.
    pub fn url_for(&self, user: &str, password: &str) -> String {
        format!("http://{user}:{password}@{}", self.authority)
    }

    /// What it was asked so far, forgotten here: `CONNECT host:port`, `GET http://host/…`.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.seen.lock().expect("no test panics in here"))
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        let service = service_fn(move |request| shared.clone().handle(request));
        connections.spawn(async move {
            // An error is a connection that a peer closed.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .with_upgrades()
                .await;
        });
    }
}

impl Shared {
    async fn handle(self: Arc<Self>, mut request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let line = format!("{} {}", request.method(), request.uri());
        self.seen.lock().expect("no test panics in here").push(line);
        let shown = request.headers_mut().remove(PROXY_AUTHORIZATION);
        let shown = shown.as_ref().and_then(|value| value.to_str().ok());
        if self.authorization.is_some() && shown != self.authorization.as_deref() {
            return Ok(refusal(StatusCode::PROXY_AUTHENTICATION_REQUIRED));
        }
        let authority = request.uri().authority().ok_or("no proxy request")?;
        let port = authority.port_u16().unwrap_or(80);
        let Some(address) = self.hosts.get(&format!("{}:{port}", authority.host())) else {
            return Ok(refusal(StatusCode::FORBIDDEN));
        };
        match *request.method() {
            Method::CONNECT => tunnel(request, address).await,
            _ => forward(request, address).await,
        }
    }
}

fn refusal(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::from(Bytes::from("<html>says the proxy")));
    *response.status_mut() = status;
    response
}

async fn tunnel(request: Request<Incoming>, address: &str) -> Result<Response<Body>, BoxError> {
    let mut there = TcpStream::connect(address).await?;
    tokio::spawn(async move {
        if let Ok(here) = hyper::upgrade::on(request).await {
            // Fails when one side goes.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(here), &mut there).await;
        }
    });
    Ok(Response::new(Body::empty()))
}

async fn forward(mut request: Request<Incoming>, address: &str) -> Result<Response<Body>, BoxError> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = format!("http://{address}{path}").parse::<Uri>()?;
    let client = Client::builder(TokioExecutor::new()).set_host(false).build_http();
    Ok(client.request(request).await?.map(Body::from))
}
