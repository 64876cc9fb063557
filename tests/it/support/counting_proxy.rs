//! A link between refshim and a registry that writes down every request and can be broken.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use refshim::testing::http::body::{Body, BoxError};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::fault::{Fault, Gate};
use super::refshim::is_ping;
use super::wait::eventually;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub path: String,
    pub headers: HeaderMap,
    /// `None` while there is no answer, or for ever when there was none.
    pub status: Option<u16>,
}

impl Seen {
    pub fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").and_then(|value| value.to_str().ok())
    }

    /// `GET /v2/…`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

type Predicate = Box<dyn Fn(&Seen) -> bool + Send>;

struct Rule {
    matches: Predicate,
    fault: Fault,
    /// How often it still applies; `None` for always.
    left: Option<usize>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    rules: Vec<Rule>,
}

struct Shared {
    upstream: String,
    client: Client<HttpConnector, Incoming>,
    state: Mutex<State>,
}

pub struct CountingProxy {
    url: String,
    shared: Arc<Shared>,
    /// Aborted when dropped.
    _server: JoinSet<()>,
}

impl CountingProxy {
    /// Listens in front of `upstream`, such as `http://127.0.0.1:5000`.
    pub async fn in_front_of(upstream: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a loopback port");
        let url = format!("http://{}", listener.local_addr().expect("a bound address"));
        // A connection for each request: the registry may be killed and restarted under the test's hands.
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .set_host(false)
            .build_http();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            client,
            state: Mutex::default(),
        });
        let mut server = JoinSet::new();
        server.spawn(accept(listener, shared.clone()));
        Self {
            url,
            shared,
            _server: server,
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// All requests so far but pings, in the order of their arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.state(|state| state.seen.clone())
    }

    /// The requests so far as lines, forgotten here.
    pub fn take(&self) -> Vec<String> {
        self.state(|state| state.seen.drain(..).map(|seen| seen.line()).collect())
    }

    pub fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.state(|state| state.seen.iter().filter(|seen| matches(seen)).count())
    }

    /// Back when a request was seen.
    pub async fn saw(&self, what: &str, matches: impl Fn(&Seen) -> bool) {
        eventually(what, async || (self.count(&matches) > 0).then_some(())).await;
    }

    /// Every matching request meets `fault`.
    pub fn fail(&self, fault: Fault, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        self.rule(fault, None, Box::new(matches));
    }

    /// Only the next `times` matching requests do.
    pub fn fail_times(&self, times: usize, fault: Fault, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        self.rule(fault, Some(times), Box::new(matches));
    }

    /// Matching requests wait until the gate opens.
    pub fn hold(&self, matches: impl Fn(&Seen) -> bool + Send + 'static) -> Gate {
        let gate = Gate::closed();
        self.fail(Fault::Hold(gate.clone()), matches);
        gate
    }

    /// Matching requests reach the registry, and their answers wait until the gate opens.
    pub fn hold_answers(&self, matches: impl Fn(&Seen) -> bool + Send + 'static) -> Gate {
        let gate = Gate::closed();
        self.fail(Fault::HoldAnswer(gate.clone()), matches);
        gate
    }

    /// No more faults.
    pub fn heal(&self) {
        self.state(|state| state.rules.clear());
    }

    fn rule(&self, fault: Fault, left: Option<usize>, matches: Predicate) {
        self.state(|state| state.rules.push(Rule { matches, fault, left }));
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.shared.change(change)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| shared.clone().handle(request));
            // An error is a connection that a fault or a peer closed.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics in here"))
    }

    /// Writes the request down; its number and the fault that it meets. Pings have no number: refshim makes them for nobody.
    fn arrived(&self, request: &Request<Incoming>) -> (Option<usize>, Option<Fault>) {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
        let seen = Seen {
            method: request.method().clone(),
            path,
            headers: request.headers().clone(),
            status: None,
        };
        self.change(|state| {
            let rule = state
                .rules
                .iter_mut()
                .find(|rule| rule.left != Some(0) && (rule.matches)(&seen));
            let fault = rule.map(|rule| {
                rule.left = rule.left.map(|n| n - 1);
                rule.fault.clone()
            });
            if is_ping(&seen.headers) {
                return (None, fault);
            }
            state.seen.push(seen);
            (Some(state.seen.len() - 1), fault)
        })
    }

    async fn handle(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, BoxError> {
        let (number, fault) = self.arrived(&request);
        let response = match fault {
            Some(Fault::Close) => return Err("closed on demand".into()),
            Some(Fault::Answer { status, headers, body }) => answer(status, &headers, body),
            Some(Fault::Lose) => {
                self.forward(request).await?;
                return Err("lost on demand".into());
            }
            Some(Fault::CutBody(length)) => self.forward(request).await?.map(|body| cut(body, length)),
            Some(Fault::Hold(gate)) => {
                gate.pass().await;
                self.forward(request).await?.map(Body::from)
            }
            Some(Fault::HoldAnswer(gate)) => {
                let response = self.forward(request).await?.map(Body::from);
                gate.pass().await;
                response
            }
            None => self.forward(request).await?.map(Body::from),
        };
        // `take` may have emptied the list meanwhile.
        let status = response.status().as_u16();
        if let Some(number) = number {
            self.change(|state| state.seen.get_mut(number).map(|seen| seen.status = Some(status)));
        }
        Ok(response)
    }

    async fn forward(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
        let path = request.uri().path_and_query().map_or("/", |p| p.as_str()).to_owned();
        if !request.headers().contains_key("host") {
            let authority = request
                .uri()
                .authority()
                .ok_or("a request without a host")?
                .as_str()
                .parse()?;
            request.headers_mut().insert("host", authority);
        }
        *request.uri_mut() = format!("{}{path}", self.upstream).parse::<Uri>()?;
        *request.version_mut() = http::Version::HTTP_11;
        Ok(self.client.request(request).await?)
    }
}

fn answer(status: u16, headers: &[(String, String)], body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let name = http::HeaderName::try_from(name).expect("a header's name");
        response
            .headers_mut()
            .append(name, value.parse().expect("a header's value"));
    }
    response
}

/// The first `length` bytes, then an error, which makes hyper drop the connection.
fn cut(body: Incoming, length: usize) -> Body {
    let mut left = length;
    let frames = body
        .into_data_stream()
        .map(move |data| -> Result<Frame<Bytes>, BoxError> {
            let data = data?;
            if left == 0 {
                return Err("cut on demand".into());
            }
            let part = data.slice(..data.len().min(left));
            left -= part.len();
            Ok(Frame::data(part))
        });
    // A body shorter than the cut, or just as long, must break all the same.
    let end = futures_util::stream::once(async { Err::<Frame<Bytes>, BoxError>("cut on demand".into()) });
    Body::stream(StreamBody::new(frames.chain(end)))
}
