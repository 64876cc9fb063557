//! Promise: every limit of docs/limits.md holds, and whoever meets one is told which it was.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support;
use std::process::Command;
use std::time::Duration;

use crate::support::content::{ANY, IMAGE, INDEX, Pushed, index};
use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::process::Process;
use crate::support::wire::{Listener, Wire};
use crate::support::{Endpoint, Local, Reply, eventually, within};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request};
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use refshim::testing::config::Config;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A limit of time that is met.
const SHORT: Duration = Duration::from_millis(100);

const PING: &str = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n";

/// In front of nobody: what is refused never gets there.
async fn alone(change: impl FnOnce(&mut Config)) -> Local {
    Local::configured("http://127.0.0.1:1", change).await
}

async fn fake() -> Fake {
    Fake::start(Knobs::default()).await
}

fn is_refused(reply: Reply, status: u16, words: &str) {
    let reply = reply.expect_status(status);
    assert_eq!(reply.error_code(), "UNSUPPORTED");
    assert!(reply.text().contains(words), "{reply:?}");
}

#[tokio::test]
async fn heads_over_a_limit_are_refused_in_words() {
    let proxy = alone(|_| ()).await;
    let (long, longer) = ("x".repeat(9 << 10), "x".repeat(33 << 10));
    let names: Vec<String> = (0..65).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    for endpoint in [proxy.endpoint(), proxy.endpoint().h2c()] {
        let get = async |path: &str, headers: &[(&str, &str)]| endpoint.get_with(path, headers).await;
        is_refused(get("/v2/", &many).await, 431, "more than 64 header lines");
        is_refused(get("/v2/", &[("x", &longer)]).await, 431, "longer than 32768 bytes");
        is_refused(get(&format!("/v2/?{long}"), &[]).await, 414, "longer than 8192 bytes");
        // A page that is not there has a limit, too.
        is_refused(get(&format!("/{long}"), &[]).await, 414, "longer than 8192 bytes");
        let head = endpoint.send(Method::HEAD, "/v2/", &many, "").await;
        assert_eq!((head.status, head.body.len()), (431, 0));
    }
}

/// The connection ends only when the caller had time to say all and to read the answer.
#[tokio::test]
async fn who_still_sends_sees_the_refusal() {
    const LENGTH: u64 = 8 << 20;
    let proxy = alone(|_| ()).await;
    let mut caller = Wire::connect(proxy.authority()).await;
    let head = format!("PUT /v2/a/manifests/x HTTP/1.1\r\nHost: x\r\nContent-Length: {LENGTH}\r\n\r\n");
    caller.write(&head).await;
    // Everything is sent although the answer is there already.
    caller.pour(LENGTH).await;
    let answer = caller.rest().await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("MANIFEST_INVALID"), "{answer}");

    // Not for ever.
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write(&head).await;
    caller.write_until_closed().await;
}

#[tokio::test]
async fn limits_of_heads_can_be_chosen() {
    let registry = fake().await;
    let proxy = Local::configured(&registry.url(), |config| {
        config.limits.header_count = 150;
        config.limits.header_bytes = 300 << 10;
        config.limits.target_bytes = 20 << 10;
    })
    .await;
    let long = "x".repeat(200 << 10);
    let names: Vec<String> = (0..140).map(|n| format!("x-{n}")).collect();
    let mut headers: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    headers.push(("x-long", &long));
    let path = format!("/v3/?{}", "x".repeat(19 << 10));
    for endpoint in [proxy.endpoint(), proxy.endpoint().h2c()] {
        endpoint.get_with(&path, &headers).await.expect_status(200);
    }
}

/// Nobody knows where such a request would have ended: the connection ends with the answer, and nothing is read any further.
#[tokio::test]
async fn heads_far_over_the_limits_end_the_connection() {
    let proxy = alone(|_| ()).await;
    let header = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(1 << 20));
    let lines = format!("GET /v2/ HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(101));
    let target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(100 << 10));
    for (head, status) in [(header, "431"), (lines, "431"), (target, "414")] {
        let mut caller = Wire::connect(proxy.authority()).await;
        let answer = caller.exchange(head.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
}

#[tokio::test]
async fn who_says_nothing_or_says_it_too_slowly_is_left() {
    let proxy = alone(|config| config.limits.header_timeout = SHORT).await;
    for beginning in [
        "",
        "GET /v2/ HT",
        "GET /v2/ HTTP/1.1\r\nX: y\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
    ] {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(beginning).await;
        assert_eq!(caller.rest().await, "", "{beginning}");
    }
}

#[tokio::test]
async fn connections_without_requests_end() {
    let registry = fake().await;
    let proxy = Local::configured(&registry.url(), |config| {
        // The clock of HTTP/2 begins after this one.
        config.limits.header_timeout = SHORT;
        config.limits.idle_timeout = SHORT;
    })
    .await;
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write("GET /v3/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));
    // A next request that never ends is no reason to stay.
    let mut caller = Wire::connect(proxy.authority()).await;
    caller.write("GET /v3/ HTTP/1.1\r\nHost: x\r\n\r\nGET /").await;
    assert!(caller.rest().await.starts_with("HTTP/1.1 200 OK\r\n"));

    let stream = TokioIo::new(TcpStream::connect(proxy.authority()).await.unwrap());
    let (mut caller, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get(format!("{}/v3/", proxy.url()));
    let answer = caller.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await;
    assert_eq!(answer.unwrap().status(), 200);
    within("the connection ends", connection).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_still_being_answered_outlasts_the_idle_timeout() {
    let upstream = Listener::bind().await;
    let proxy = Local::configured(&upstream.url(), |config| {
        config.limits.header_timeout = SHORT;
        config.limits.idle_timeout = SHORT;
        config.limits.answer_timeout = SHORT;
    })
    .await;
    let path = "/v2/a/blobs/sha256:0";
    for endpoint in [proxy.endpoint(), proxy.endpoint().h2c()] {
        let caller = tokio::spawn(async move { endpoint.get(path).await });
        let mut asked = upstream.accept().await;
        asked.head().await;
        a_while(&proxy).await;
        asked
            .write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\nhalf")
            .await;
        a_while(&proxy).await;
        asked.write("done").await;
        assert_eq!(caller.await.unwrap().expect_status(200).text(), "halfdone");
    }
}

/// Until connections that came now have been left for their silence, one after the other.
async fn a_while(proxy: &Local) {
    for _ in 0..3 {
        assert_eq!(Wire::connect(proxy.authority()).await.rest().await, "");
    }
}

#[tokio::test]
async fn answers_of_refshims_own_have_a_deadline() {
    let registry = fake().await;
    let proxy = Local::configured(&registry.url(), |config| config.limits.answer_timeout = SHORT).await;
    let digest = format!("sha256:{}", "0".repeat(64));
    registry.trouble(Trouble::Silence, |_| true);
    for path in [
        format!("/v2/a/referrers/{digest}"),
        format!("/v2/a/_oci/artifacts/referrers?digest={digest}"),
        "/v2/a/manifests/x/references".to_owned(),
        "/v3/a/referrers/x".to_owned(),
        "/v2/a/tags/list".to_owned(),
        "/v2/a/manifests/x".to_owned(),
        "/v2/_oci/ext/discover".to_owned(),
    ] {
        let reply = proxy.endpoint().get(&path).await.expect_status(504);
        assert_eq!(reply.error_code(), "UNAVAILABLE", "{path}");
        assert!(reply.text().contains("no answer within 100ms"), "{reply:?}");
    }
}

#[tokio::test]
async fn connections_of_one_address_are_limited_where_that_is_wanted() {
    let registry = fake().await;
    let proxy = Local::configured(&registry.url(), |config| {
        config.limits.connections_per_address = Some(2)
    })
    .await;
    let served = async || {
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(PING).await;
        caller.try_head().await.map(|_| caller)
    };
    let (first, second) = (served().await, served().await);
    assert!(first.is_some() && second.is_some());
    assert!(served().await.is_none(), "a third connection was served");
    drop(first);
    let _third = eventually("a place becomes free", served).await;
}

/// An index of so many bytes, more or less.
fn padded(name: &str, bytes: usize) -> Value {
    let mut index = index([]);
    index["annotations"] = json!({"name": name, "padding": "x".repeat(bytes)});
    index
}

/// What callers do not take stays in memory, though not without bound.
#[tokio::test]
async fn large_answers_that_are_not_taken_are_counted() {
    // More than the system itself takes on its way.
    const SIZE: usize = 15 << 20;
    let registry = fake().await;
    let [one, two, other] = ["one", "two", "other"].map(|name| registry.put("a", name, INDEX, &padded(name, SIZE)));
    let proxy = Local::configured(&registry.url(), |config| {
        config.limits.manifest_bytes = 16 << 20;
        // For two answers, but not for three.
        config.limits.held_bytes = 31 << 20;
    })
    .await;
    let accept = [("accept", ANY)];
    let path = |pushed: &Pushed| format!("/v2/a/manifests/{}", pushed.digest);
    let from_memory = async |pushed: &Pushed| {
        eventually("the manifest is remembered", async || {
            registry.take();
            let reply = proxy.endpoint().get_with(&path(pushed), &accept).await;

            (reply.status == 200 && registry.take().is_empty()).then_some(())
        })
        .await
    };
    for pushed in [&one, &two, &other] {
        from_memory(pushed).await;
    }
    let mut idlers = Vec::new();
    for pushed in [&one, &two] {
        let mut idler = Wire::connect_narrow(proxy.authority()).await;
        let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nAccept: {ANY}\r\n\r\n", path(pushed));
        idler.write(&head).await;
        assert!(idler.head().await.starts_with("HTTP/1.1 200"));
        idlers.push(idler);
    }
    // The same bytes once more take no more memory; others do.
    proxy.endpoint().get_with(&path(&one), &accept).await.expect_status(200);
    let refused = proxy
        .endpoint()
        .get_with(&path(&other), &accept)
        .await
        .expect_status(503);
    assert_eq!(
        (refused.error_code().as_str(), refused.header("retry-after")),
        ("UNAVAILABLE", Some("1"))
    );
    assert!(refused.text().contains("too many large answers"), "{refused:?}");
    drop(idlers);
    eventually("there is room again", async || {
        let reply = proxy.endpoint().get_with(&path(&other), &accept).await;
        (reply.status == 200).then_some(())
    })
    .await;
}

/// `refshim serve`, begun by a shell that limits open files first.
fn with_open_files(folder: &std::path::Path, limit: &str) -> Process {
    let mut command = Command::new("sh");
    let serve = format!(
        "ulimit {limit} && exec \"$0\" serve --upstream http://127.0.0.1:1 --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0"
    );
    command.args(["-c", &serve, env!("CARGO_BIN_EXE_refshim")]);
    Process::start("refshim", command, &folder.join("log"))
}

#[tokio::test]
async fn as_many_files_are_opened_as_the_system_allows() {
    let folder = tempfile::tempdir().unwrap();
    for (limit, open, warns) in [("-S -n 200", None, false), ("-n 200", Some("200"), true)] {
        let process = with_open_files(folder.path(), limit);
        let limits = eventually("refshim listens", async || {
            let text = process.output();
            text.contains("admin on")
                .then(|| std::fs::read_to_string(format!("/proc/{}/limits", process.id())).unwrap())
        });
        let limits = limits.await;
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
        let [soft, hard] = [3, 4].map(|at| line.split_whitespace().nth(at).unwrap());
        assert_eq!(soft, open.unwrap_or(hard), "{line}");
        let text = process.output();
        assert_eq!(
            text.contains("limits.connections = 4096: raise the limit"),
            warns,
            "{text}"
        );
        drop(process);
        std::fs::remove_file(folder.path().join("log")).unwrap();
    }
}

/// Manifests made when they are asked for: more than anybody should hold.
mod plenty {
    use refshim::testing::demo;
    use refshim::testing::demo::Serving;
    use refshim::testing::http::body::Body;

    use super::*;

    pub const EACH: usize = 4 << 20;
    pub const COUNT: usize = 100;

    pub struct Plenty {
        pub serving: Serving,
        pub digests: Vec<String>,
    }

    /// The last bytes of the limit are left for a rounder number.
    fn manifest(number: usize) -> Vec<u8> {
        let mut manifest =
            format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[],"x":"{number:03}"#).into_bytes();
        manifest.resize(EACH - 2, b'x');
        manifest.extend(b"\"}");
        manifest
    }

    fn digest(number: usize) -> String {
        // Quick in test builds, too.
        let hash = ring::digest::digest(&ring::digest::SHA256, &manifest(number));
        hash.as_ref()
            .iter()
            .fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
    }

    impl Plenty {
        pub async fn start() -> Self {
            let digests: Vec<String> = (0..COUNT).map(digest).collect();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let known = digests.clone();
            let serving = demo::serve(listener, move |request| {
                let last = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
                let number = known
                    .iter()
                    .position(|digest| *digest == last)
                    .or_else(|| last.strip_prefix('v')?.parse().ok());
                let answer = match number {
                    Some(number) => http::Response::builder()
                        .header("content-type", super::IMAGE)
                        .header("docker-content-digest", &known[number])
                        .body(Body::from(Bytes::from(manifest(number)))),
                    None => http::Response::builder().status(404).body(Body::empty()),
                };
                std::future::ready(answer.map_err(Into::into))
            });
            Self {
                serving: serving.unwrap(),
                digests,
            }
        }
    }
}

/// As often as it must, the bytes that came.
async fn pull(endpoint: &Endpoint, path: String) -> usize {
    eventually("there is room", async || {
        let reply = endpoint.get(&path).await;
        if reply.status == 503 {
            assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
            return None;
        }
        Some(reply.expect_status(200).body.len())
    })
    .await
}

/// docs/limits.md, "Memory": two thousand connections, of which some never read, while more manifests than fit pass through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_is_bounded_under_load() {
    const MIB: u64 = 1 << 20;
    // Both ends of two thousand connections, and what else is open.
    refshim::testing::server::open_files::raise_limit(2500);
    let plenty = plenty::Plenty::start().await;
    let config = "[limits]\nheld_bytes = '32MiB'\nheader_timeout = '1h'\nidle_timeout = '1h'\n[cache]\nmanifest_bytes = '16MiB'\n";
    let upstream = format!("http://{}", plenty.serving.address());
    let refshim = support::Refshim::builder(&upstream).config(config).start().await;
    let endpoint = refshim.endpoint();

    let mut held = Vec::new();
    for number in 0..2000 {
        let mut caller = Wire::connect_narrow(endpoint.authority()).await;
        match number % 40 {
            // Asks for a manifest of its own, and does not take it.
            0 => {
                let path = format!("/v2/a/manifests/{}", plenty.digests[number / 40]);
                caller.write(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
                caller.head().await;
            }
            // Is never done with its head.
            1..10 => {
                caller
                    .write(&format!("GET /v3/ HTTP/1.1\r\nX: {}", "x".repeat(8 << 10)))
                    .await
            }
            _ => {
                caller.write("GET /v3/ HTTP/1.1\r\nHost: x\r\n\r\n").await;
                caller.head().await;
            }
        }
        held.push(caller);
    }
    assert_eq!(refshim.metric("refshim_connections").await, Some(2000.0));
    let references = (0..plenty::COUNT).map(|number| match number % 2 {
        0 => plenty.digests[number].clone(),
        _ => format!("v{number}"),
    });
    let pulls = references.map(|reference| pull(&endpoint, format!("/v2/a/manifests/{reference}")));
    let pulled: Vec<usize> = futures_util::stream::iter(pulls).buffer_unordered(16).collect().await;
    assert_eq!(pulled, [plenty::EACH; plenty::COUNT]);
    let peak = refshim.peak_memory();
    let connections = 2000 * (MIB / 32);
    // Those that do not read, and those who pull at once.
    let answers = (50 + 16) * 2 * MIB;
    let bound = 64 * MIB + 16 * MIB + 32 * MIB + connections + answers;
    assert!(bound < (plenty::EACH * plenty::COUNT) as u64);
    assert!(peak < bound, "{peak} bytes of {bound}");
}
