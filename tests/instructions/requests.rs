//! Whole requests, with everything that lies on their way but the network: the caller and the registry are in this process too,
//! and cost as little as they can.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use refshim::testing::cache::{Bounds, Cache};
use refshim::testing::config::{Config, UpstreamConfig};
use refshim::testing::metrics::Metrics;
use refshim::testing::proxy::Gateway;
use refshim::testing::referrers::Resolver;
use refshim::testing::registry::Upstream;
use refshim::testing::server;
use refshim::testing::server::Limits;
use refshim::testing::telemetry;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::cases::{begin, checkpoint};
use crate::support::content::{IMAGE, Pushed};
use crate::support::fake::{Fake, Knobs};
use crate::support::{TlsLink, certificate};

const TIMES: u32 = 50;

pub fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        cached_referrers("answer cached referrers").await;
        small_manifest().await;
        small_manifest_over_tls().await;
        // Last, because it holds for the whole process.
        let (config, metrics) = (Config::default(), Metrics::default());
        let _log = telemetry::init(&config.log, &config.telemetry, &metrics.lost_log_lines).expect("a log");
        cached_referrers("answer cached referrers, logged").await;
    });
}

async fn cached_referrers(name: &str) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("library/app", "latest", "image");
    for number in 0..10 {
        fake.tagged_artifact(
            "library/app",
            &image,
            "application/spdx+json",
            &format!("sbom {number}"),
        );
    }
    let refshim = refshim_in_front_of(fake.endpoint().authority()).await;
    let path = format!("/v2/library/app/referrers/{}", image.digest);
    ask(name, refshim, &path).await;
}

const MANIFEST: &str = "/v2/library/app/manifests/latest";

async fn registry_of_a_small_manifest() -> SocketAddr {
    let manifest = Pushed::of(
        IMAGE,
        &json!({"schemaVersion": 2, "mediaType": IMAGE, "annotations": {"x": "y".repeat(800)}}),
    );
    registry_that_says(&manifest).await
}

async fn small_manifest() {
    let registry = registry_of_a_small_manifest().await;
    let refshim = refshim_in_front_of(&registry.to_string()).await;
    ask("pass a small manifest through", refshim, MANIFEST).await;
}

async fn small_manifest_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    certificate::make(folder.path());
    let registry = registry_of_a_small_manifest().await;
    let link = TlsLink::in_front_of(&registry.to_string(), folder.path()).await;
    let refshim = refshim_trusting(&link.url(), Some(folder.path().join("cert.pem"))).await;
    ask(
        "pass a small manifest through from a registry with TLS",
        refshim,
        MANIFEST,
    )
    .await;
}

async fn ask(name: &str, refshim: SocketAddr, path: &str) {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: refshim.test\r\nAccept: {IMAGE}\r\nUser-Agent: counting\r\n\r\n");
    let mut caller = Caller {
        stream: TcpStream::connect(refshim).await.expect("connects"),
        buffer: vec![0; 64 * 1024],
    };
    let body = caller.first(&request).await;
    for _ in 0..5 {
        caller.again(&request, body).await;
    }
    begin(name, TIMES);
    for _ in 0..TIMES {
        caller.again(&request, body).await;
    }
    checkpoint();
}

/// As little of a client as there can be.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    /// The length of the answer's body, which is the same every time.
    async fn first(&mut self, request: &str) -> usize {
        self.stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut answer = String::new();
        loop {
            let read = self.stream.read(&mut self.buffer).await.expect("an answer");
            assert_ne!(read, 0, "the answer ends early: {answer}");
            answer.push_str(std::str::from_utf8(&self.buffer[..read]).expect("text"));
            let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with("HTTP/1.1 200 "), "{answer}");
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if length.expect("a length").parse() == Ok(body.len()) {
                return body.len();
            }
        }
    }

    /// Reads to the end of a body of so many bytes, and looks at nothing else: that would be counted too.
    async fn again(&mut self, request: &str, body: usize) {
        self.stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut held = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[held..]).await.expect("an answer");
            assert_ne!(read, 0, "the answer ends early");
            held += read;
            let head = held.checked_sub(body).map(|end| &self.buffer[..end]);
            if head.is_some_and(|head| head.ends_with(b"\r\n\r\n")) {
                return;
            }
        }
    }
}

/// As little of a registry as there can be.
async fn registry_that_says(manifest: &Pushed) -> SocketAddr {
    let listener = listener().await;
    let address = listener.local_addr().expect("an address");
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nDocker-Content-Digest: {}\r\nDocker-Distribution-Api-Version: registry/2.0\r\n\
         Date: Tue, 03 Feb 2026 04:05:06 GMT\r\nContent-Length: {}\r\n\r\n{}",
        manifest.media_type,
        manifest.digest,
        manifest.size(),
        std::str::from_utf8(&manifest.bytes).expect("text")
    );
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let (mut buffer, mut held) = (vec![0; 4096], 0);
                while let Ok(read @ 1..) = stream.read(&mut buffer[held..]).await {
                    held += read;
                    if buffer[..held].ends_with(b"\r\n\r\n") {
                        held = 0;
                        stream.write_all(answer.as_bytes()).await.expect("it is taken");
                    }
                }
            });
        }
    });
    address
}

async fn refshim_in_front_of(authority: &str) -> SocketAddr {
    refshim_trusting(&format!("http://{authority}"), None).await
}

async fn refshim_trusting(url: &str, ca_file: Option<PathBuf>) -> SocketAddr {
    let upstream = UpstreamConfig {
        ca_file,
        ..UpstreamConfig::new(url.parse().expect("a URL"))
    };
    let mut config = Config {
        upstreams: vec![upstream],
        ..Config::default()
    };
    config.cache.fresh_for = std::time::Duration::from_secs(3600);
    let upstream = Arc::new(Upstream::new(&config.upstreams[0], &config.limits).expect("an upstream"));
    let cache = Arc::new(Cache::new(Bounds {
        manifests: config.cache.manifest_bytes,
        lists: config.cache.list_bytes,
    }));
    let resolver = Resolver::new(upstream, cache, &config.links, &config.cache, &config.limits);
    let gateway = Gateway::new(vec![resolver], &config, Arc::new(Metrics::default()), &Arc::default());
    let listener = listener().await;
    let address = listener.local_addr().expect("an address");
    let limits = Limits::of(&config);
    tokio::spawn(server::run(listener, Arc::new(gateway), limits, std::future::pending()));
    address
}

async fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a loopback port")
}
