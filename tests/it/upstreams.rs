//! Promise: one process serves several registries, each by its own names, and never one's content under another's name.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support;
use crate::support::containerd::Containerd;
use crate::support::content::ANY;
use crate::support::fake::profiles;
use crate::support::{Endpoint, Local, Pushed, Registry, Reply, Tools, fake::Fake};
use http::Method;
use refshim::testing::config::{Config, UpstreamConfig};
use refshim::testing::oci::RepositoryName;

const APP: &str = "o/app";

/// Two registries that both have `o/app:v1`, and not the same one.
struct Two {
    first: Registry,
    second: Registry,
    images: [Pushed; 2],
    proxy: Local,
}

/// How to mean the second registry.
const SECOND: [Way; 3] = [Way::Namespace, Way::Host, Way::Prefix];

#[derive(Clone, Copy, Debug)]
enum Way {
    Plain,
    Namespace,
    Host,
    Prefix,
}

impl Two {
    async fn new() -> Self {
        let (first, second) = (Registry::v2().await, Registry::v3().await);
        let images = [
            first.endpoint().push_image(APP, "v1", "first").await,
            second.endpoint().push_image(APP, "v1", "second").await,
        ];
        let mut config = Config {
            upstreams: vec![upstream(&first.url()), upstream(&second.url())],
            ..Config::default()
        };
        let other = &mut config.upstreams[1];
        other.name = "second".to_owned();
        other.ns = ["second.example:5000".to_owned()].into();
        other.hosts = ["refs-second.example".to_owned()].into();
        other.prefix = Some(RepositoryName::parse("mirror/second").unwrap());
        Self {
            proxy: Local::of(config).await,
            first,
            second,
            images,
        }
    }

    async fn ask(&self, way: Way, method: Method, rest: &str) -> Reply {
        let (path, host) = target(way, rest);
        let mut headers = vec![("accept", ANY)];
        headers.extend(host.map(|host| ("host", host)));
        self.proxy.endpoint().send(method, &path, &headers, "").await
    }

    async fn get(&self, way: Way, rest: &str) -> Reply {
        self.ask(way, Method::GET, rest).await
    }
}

fn upstream(url: &str) -> UpstreamConfig {
    UpstreamConfig::new(url.parse().unwrap())
}

/// Path and host for `rest`, which begins with the repository's name.
fn target(way: Way, rest: &str) -> (String, Option<&'static str>) {
    let separator = if rest.contains('?') { '&' } else { '?' };
    match way {
        Way::Plain => (format!("/v2/{rest}"), None),
        Way::Namespace => (format!("/v2/{rest}{separator}ns=Second.example%3A5000"), None),
        Way::Host => (format!("/v2/{rest}"), Some("refs-second.example:5100")),
        Way::Prefix => (format!("/v2/mirror/second/{rest}"), None),
    }
}

#[tokio::test]
async fn every_way_leads_to_its_own_registry() {
    let two = Two::new().await;
    let [first, second] = &two.images;
    let referrer = two.second.endpoint().attach(APP, second, "application/x", "r").await;
    let manifest = format!("{APP}/manifests/v1");
    let listed = |reply: Reply| reply.json()["manifests"].as_array().unwrap().len();
    // Twice: the cache knows no other names than the registries' own.
    for _ in 0..2 {
        assert_eq!(two.get(Way::Plain, &manifest).await.body, first.bytes);
        let none = format!("{APP}/referrers/{}", second.digest);
        assert_eq!(listed(two.get(Way::Plain, &none).await.expect_status(200)), 0);
        for way in SECOND {
            assert_eq!(two.get(way, &manifest).await.body, second.bytes, "{way:?}");
            let list = format!("{APP}/referrers/{}", second.digest);
            let list = two.get(way, &list).await.expect_status(200);
            assert_eq!(list.json()["manifests"][0]["digest"], referrer.digest, "{way:?}");
            let gone = two.get(way, &format!("{APP}/manifests/{}", first.digest)).await;
            assert_eq!(
                (gone.status, gone.error_code().as_str()),
                (404, "MANIFEST_UNKNOWN"),
                "{way:?}"
            );
            let namespace = matches!(way, Way::Namespace).then(|| "second.example:5000".to_owned());
            let stated = [&list, &gone].map(|reply| reply.header("oci-namespace").map(str::to_lowercase));
            assert_eq!(stated, [namespace.clone(), namespace], "{way:?}");
        }
    }
}

#[tokio::test]
async fn an_unknown_namespace_is_an_error_and_never_the_default() {
    let two = Two::new().await;
    let endpoint = two.proxy.endpoint();
    let subject = &two.images[0].digest;
    let counts = two.proxy.upstream().requests();
    let total = || counts.iter().map(|(_, count)| count.get()).sum::<u64>();
    let before = total();
    for rest in [
        format!("{APP}/manifests/v1"),
        format!("{APP}/manifests/{subject}"),
        format!("{APP}/referrers/{subject}"),
        format!("{APP}/tags/list"),
        format!("{APP}/blobs/{subject}"),
        String::new(),
    ] {
        let unknown = endpoint.get(&format!("/v2/{rest}?ns=third.example")).await;
        assert_eq!(
            (unknown.status, unknown.error_code().as_str()),
            (404, "NAME_UNKNOWN"),
            "{rest}"
        );
        assert!(unknown.text().contains("third.example"), "{unknown:?}");
        let twice = endpoint
            .get(&format!("/v2/{rest}?ns=second.example:5000&n%73=third.example"))
            .await;
        assert_eq!(twice.status, 400, "{rest}");
        let head = endpoint.head(&format!("/v2/{rest}?ns=third.example")).await;
        assert_eq!((head.status, head.body.len()), (404, 0), "{rest}");
    }
    assert_eq!(before, total(), "the default registry hears nothing of it");
}

#[tokio::test]
async fn pages_lead_on_the_same_way() {
    let two = Two::new().await;
    for tag in ["v2", "v3"] {
        two.second.endpoint().put_tag(APP, tag, &two.images[1]).await;
    }
    for way in SECOND {
        let (mut path, host) = target(way, &format!("{APP}/tags/list?n=1"));
        let headers: Vec<_> = host.map(|host| ("host", host)).into_iter().collect();
        let mut seen = Vec::new();
        loop {
            let page = two.proxy.endpoint().get_with(&path, &headers).await.expect_status(200);
            let name = if matches!(way, Way::Prefix) {
                "mirror/second/o/app"
            } else {
                APP
            };
            assert_eq!(page.json()["name"], name);
            seen.push(page.json()["tags"][0].as_str().unwrap().to_owned());
            let Some(link) = page.header("link") else { break };
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
            assert!(path.starts_with("/v2/"), "{link}");
        }
        assert_eq!(seen, ["v1", "v2", "v3"], "{way:?}");
    }
}

#[tokio::test]
async fn uploads_go_on_where_they_began() {
    let two = Two::new().await;
    for (way, name) in SECOND.into_iter().zip(["n/app", "h/app", "p/app"]) {
        let bytes = format!("layer of {name}");
        let digest = refshim::testing::oci::Digest::sha256(bytes.as_bytes());
        let begun = two.ask(way, Method::POST, &format!("{name}/blobs/uploads/")).await;
        let location = begun.expect_status(202).header("location").unwrap().to_owned();
        let separator = if location.contains('?') { '&' } else { '?' };
        let (_, host) = target(way, "");
        let mut headers = vec![("content-type", "application/octet-stream")];
        headers.extend(host.map(|host| ("host", host)));
        let finish = format!("{location}{separator}digest={digest}");
        let put = two
            .proxy
            .endpoint()
            .send(Method::PUT, &finish, &headers, bytes.clone())
            .await;
        let put = put.expect_status(201);
        let blob = two.second.endpoint().get(&format!("/v2/{name}/blobs/{digest}")).await;
        assert_eq!(blob.expect_status(200).text(), bytes);
        // What was written is found where the answer says.
        let place = put.header("location").unwrap();
        let found = two.proxy.endpoint().get_with(place, &headers).await;
        assert_eq!(found.expect_status(200).text(), bytes, "{way:?}: {place}");
    }
    // A blob of a neighbour is mounted by the name that the caller has for it.
    let digest = refshim::testing::oci::Digest::sha256(b"layer of n/app");
    let mount = format!("q/app/blobs/uploads/?mount={digest}&from=mirror/second/n/app");
    two.ask(Way::Prefix, Method::POST, &mount).await.expect_status(201);
    two.second
        .endpoint()
        .head(&format!("/v2/q/app/blobs/{digest}"))
        .await
        .expect_status(200);
    assert_eq!(
        two.first.endpoint().get("/v2/_catalog").await.json()["repositories"],
        serde_json::json!([APP])
    );
}

#[tokio::test]
async fn clients_push_and_attach_through_a_prefix() {
    let two = Two::new().await;
    let tools = Tools::new();
    let image = format!("{}/mirror/second/{APP}", two.proxy.authority());
    tools.file("sbom.json", "{}");
    let attach = [
        "attach",
        "--plain-http",
        "--artifact-type",
        "application/x",
        &format!("{image}:v1"),
        "sbom.json",
    ];
    tools.oras(&attach).await.ok();
    let discovered = tools
        .oras(&["discover", "--plain-http", "--format", "json", &format!("{image}:v1")])
        .await
        .ok();
    assert!(discovered.contains("application/x"), "{discovered}");
    let straight = Endpoint::new(&two.second.url())
        .get(&format!("/v2/{APP}/tags/list"))
        .await;
    assert!(straight.text().contains(two.images[1].hex()), "{straight:?}");
    tools
        .crane(&["copy", &format!("{image}:v1"), &format!("{image}:v2")])
        .await
        .ok();
    two.second.endpoint().manifest(APP, "v2").await.expect_status(200);
}

/// `registries.conf`, as Podman, CRI-O, Buildah and skopeo read it: the mirror's location stands for the name, without `ns`.
#[tokio::test]
async fn containers_image_finds_its_registry_through_mirrors() {
    let two = Two::new().await;
    let tools = Tools::new();
    let authority = two.proxy.authority();
    tools.file(
        "registries.conf",
        format!(
            "[[registry]]\nprefix = 'second.example:5000'\nlocation = 'second.example:5000'\n\
             [[registry.mirror]]\nlocation = '{authority}/mirror/second'\ninsecure = true\n"
        ),
    );
    let conf = ["--registries-conf", "registries.conf"];
    let inspect = ["inspect", "--raw", "docker://second.example:5000/o/app:v1"];
    let raw = tools.skopeo(&[&conf[..], &inspect].concat()).await.ok();
    assert_eq!(raw.trim().as_bytes(), &two.images[1].bytes[..]);
    let copy = ["copy", "docker://second.example:5000/o/app:v1", "dir:pulled"];
    tools.skopeo(&[&conf[..], &copy].concat()).await.ok();
}

/// `hosts.toml`, as the documentation writes it. The registry itself is out of reach, so what arrives came through refshim.
#[tokio::test]
async fn containerd_finds_its_registry_through_a_mirror() {
    if !Containerd::can_run() {
        eprintln!("left out: containerd runs as root only");
        return;
    }
    let two = Two::new().await;
    let containerd = Containerd::start().await;
    let mirror = |url: &str| format!("server = 'http://127.0.0.1:1'\n\n[host.'{url}']\n");
    containerd.hosts("second.example:5000", &mirror(two.proxy.url()));
    containerd.fetch("second.example:5000/o/app:v1").await.unwrap();
    let image = &two.images[1];
    assert_eq!(containerd.content(&image.digest).await, image.bytes);
    // A name that refshim does not stand for is not the first registry's.
    containerd.hosts("third.example", &mirror(two.proxy.url()));
    let refused = containerd.fetch("third.example/o/app:v1").await.unwrap_err();
    assert!(refused.contains("third.example/o/app:v1"), "{refused}");
}

#[tokio::test]
async fn realms_lead_to_the_registry_that_named_them() {
    let (one, other) = (Fake::start(profiles::ghcr()).await, Fake::start(profiles::ghcr()).await);
    let mut config = Config {
        upstreams: vec![upstream(&one.url()), upstream(&other.url())],
        ..Config::default()
    };
    config.server.rewrite_realm = true;
    config.upstreams[1].name = "other".to_owned();
    config.upstreams[1].prefix = Some(RepositoryName::parse("other").unwrap());
    let image = other.image(APP, "v1", "x");
    let proxy = Local::of(config).await;
    let path = format!("/v2/other/{APP}/manifests/v1");
    let challenged = proxy
        .endpoint()
        .get_with(&path, &[("accept", ANY)])
        .await
        .expect_status(401);
    let challenge = challenged.header("www-authenticate").unwrap();
    let realm = challenge.split('"').nth(1).unwrap();
    assert!(
        realm.starts_with(proxy.url()) && realm.contains("/token?ns="),
        "{challenge}"
    );
    let token = format!("{realm}&service=ghcr.io&scope=repository:{APP}:pull");
    let token = proxy.endpoint().get(&token).await.expect_status(200).json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let found = proxy
        .endpoint()
        .authorization(&bearer)
        .get_with(&path, &[("accept", ANY)])
        .await;
    assert_eq!(found.expect_status(200).body, image.bytes);
    assert_eq!(one.requests().len(), 0, "{:?}", one.take());
}

/// Passes connections on to `target`, which need not be known when it starts.
async fn passes_on(
    listener: tokio::net::TcpListener,
    target: String,
    count: std::sync::Arc<std::sync::atomic::AtomicUsize>,
) {
    loop {
        let (mut here, _) = listener.accept().await.unwrap();
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut there = tokio::net::TcpStream::connect(&target).await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await });
    }
}

/// A chain of `length` refshims whose last has the first for its registry.
async fn circle(length: usize) -> (Vec<support::Refshim>, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    let closing = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut url = format!("http://{}", closing.local_addr().unwrap());
    let mut chain = Vec::new();
    for _ in 0..length {
        let refshim = support::Refshim::in_front_of(&url).await;
        url = refshim.endpoint().url().to_owned();
        chain.push(refshim);
    }
    let rounds = std::sync::Arc::default();
    let first = chain[length - 1].endpoint().authority().to_owned();
    tokio::spawn(passes_on(closing, first, std::sync::Arc::clone(&rounds)));
    (chain, rounds)
}

#[tokio::test]
async fn refshim_in_front_of_itself_says_so_instead_of_going_round() {
    for length in [1, 2, 3] {
        let (chain, rounds) = circle(length).await;
        let through = chain[0].endpoint();
        let subject = format!("sha256:{:064x}", 1);
        for (method, path) in [
            (Method::GET, "/v2/".to_owned()),
            (Method::POST, "/v2/a/blobs/uploads/".to_owned()),
            (Method::GET, format!("/v2/a/blobs/{subject}")),
            (Method::GET, "/v2/a/manifests/v1".to_owned()),
            (Method::PUT, "/v2/a/manifests/v1".to_owned()),
        ] {
            let reply = through.send(method.clone(), &path, &[], "").await;
            assert_eq!(reply.status, 508, "{length}: {method} {path}: {reply:?}");
            assert_eq!(reply.error_code(), "UNSUPPORTED");
        }
        // What refshim asks on somebody's behalf is no success either.
        for path in [format!("/v2/a/referrers/{subject}"), "/v2/a/tags/list".to_owned()] {
            let reply = through.get(&path).await;
            assert_eq!(reply.status, 508, "{length}: {path}: {reply:?}");
            assert!(reply.text().contains("upstream.url"), "{reply:?}");
        }
        let rounds = rounds.load(std::sync::atomic::Ordering::Relaxed);
        assert!(rounds <= 40, "{rounds} connections for seven requests");
    }
}

#[tokio::test]
async fn one_refshim_may_stand_before_another_and_the_registry_sees_both() {
    let fake = Fake::start(support::fake::knobs::Knobs::default()).await;
    let near = support::Refshim::in_front_of(&fake.url()).await;
    let far = support::Refshim::in_front_of(near.endpoint().url()).await;
    let image = fake.image(APP, "v1", "image");
    let through = far.endpoint();
    let attached = through.attach(APP, &image, "application/vnd.acme", "sbom").await;
    let found = through.referrers(APP, &image.digest).await;
    assert_eq!(found.len(), 1, "{attached:?}: {found:?}");
    let headers = [("via", "1.1 edge.example (a cloud)"), ("accept", ANY)];
    let path = format!("/v2/{APP}/manifests/v1");
    through.send(Method::GET, &path, &headers, "").await.expect_status(200);
    let seen = fake.requests();
    let via = |seen: &support::Seen| {
        let lines = seen.headers.get_all("via").iter().map(|line| line.to_str().unwrap());
        lines.collect::<Vec<_>>().join(", ")
    };
    let of_caller = seen
        .iter()
        .map(via)
        .filter(|via| via.starts_with("1.1 edge.example (a cloud), "));
    assert!(of_caller.count() > 0, "{seen:?}");
    for seen in &seen {
        let passed = via(seen).matches("1.1 refshim-").count();
        assert!((1..=2).contains(&passed), "{seen:?}");
    }
    assert!(seen.iter().any(|seen| via(seen).matches("1.1 refshim-").count() == 2));
}
