//! An HTTP service that a test plays: it writes down what is asked and answers what the test says.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Answer = Arc<dyn Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync>;

pub struct Service {
    url: String,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

impl Service {
    pub async fn start(answer: impl Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        let seen = Arc::<Mutex<Vec<Request<Bytes>>>>::default();
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::new(answer), seen.clone()));
        Self {
            url,
            seen,
            _server: server,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request<Bytes>> {
        self.seen.lock().expect("no test panics in here").clone()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's requests are small")]
async fn accept(listener: TcpListener, answer: Answer, seen: Arc<Mutex<Vec<Request<Bytes>>>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (answer, seen) = (answer.clone(), seen.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            let (answer, seen) = (answer.clone(), seen.clone());
            async move {
                let (parts, body) = request.into_parts();
                let request = Request::from_parts(parts, body.collect().await?.to_bytes());
                let response = answer(&request).map(Full::new);
                seen.lock().expect("no test panics in here").push(request);
                Ok::<_, hyper::Error>(response)
            }
        });
        connections.spawn(async move {
            // An error is a connection that a peer closed.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
