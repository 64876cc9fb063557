//! Targets and methods that lead, or seem to lead, somewhere else.

use super::fake;
use crate::support::wire::Wire;
use crate::support::{Local, fake::Fake};

/// Asks in one caller's bytes: the status, and what the registry was asked for it.
async fn ask(proxy: &Local, registry: &Fake, head: &str) -> (String, Vec<String>) {
    let mut caller = Wire::connect(proxy.authority()).await;
    let answer = caller
        .exchange(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
        .await;
    let status = answer.split(' ').nth(1).unwrap_or_default().to_owned();
    (status, registry.take())
}

#[tokio::test]
async fn paths_in_disguise_go_nowhere() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    for (target, expected) in [
        ("/v2/../metrics", "400"),
        ("/v2/a/../../metrics", "400"),
        ("/v2/./a/tags/list", "400"),
        ("/v2/%2e%2e/metrics", "400"),
        ("/v2/.%2E/metrics", "400"),
        ("/v2/a/%252e%252e/%252e%252e/metrics", "400"),
        ("/v2/a%2fb/tags/list", "400"),
        ("/v2/a%252fb/tags/list", "400"),
        ("/v2/a/blobs/uploads/..%2f..%2f..%2fmetrics", "400"),
        ("/v2/a/blobs/uploads/../../../metrics", "400"),
        ("/v2/a/manifests/..%2f..%2fmetrics", "400"),
        ("/v2/a/manifests/%2e%2e", "400"),
        ("/v2/a/manifests/sha256:../../metrics", "400"),
        ("/v2/_catalog/../../metrics", "400"),
        ("/v2/a\\..\\metrics", "400"),
        ("/v2/a/%5c..%5cmetrics", "400"),
        ("/v2//a/tags/list", "400"),
        ("/v2/a//tags/list", "400"),
        ("/v2/a/blobs/%00", "400"),
        ("/v2/a/blobs/\u{1}", "400"),
        ("/v2/a/blobs/\u{7f}", "400"),
        ("/v2/a/blobs/a b", "400"),
        ("//v2/a/tags/list", "404"),
        ("//elsewhere.example/v2/", "404"),
        ("/\\elsewhere.example/v2/", "404"),
        ("/%76%32/a/tags/list", "404"),
        ("/V2/a/tags/list", "404"),
        ("/v1/a", "404"),
        ("/metrics", "404"),
        ("*", "404"),
        ("elsewhere.example:443", "404"),
        ("elsewhere.example/v2/", "400"),
        ("http:/v2/", "400"),
        ("v2/", "400"),
        ("?x", "400"),
        ("", "400"),
    ] {
        let (status, asked) = ask(&proxy, &registry, &format!("GET {target} HTTP/1.1\r\nHost: x")).await;
        assert_eq!((status.as_str(), asked), (expected, vec![]), "{target:?}");
    }
}

/// Such targets may mean something to a registry, which gets them as they are.
#[tokio::test]
async fn what_passes_is_asked_of_the_registry_byte_for_byte() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    for target in [
        "/v2/a/blobs/x%0d%0aX:y",
        "/v2/a/blobs/%c3%28",
        "/v2/a/blobs/%zz",
        "/v2/a/tags/list;x=y",
        "/v2/@elsewhere.example/x",
        "/v2/a/blobs/x?y=http://elsewhere.example/&z=../..",
    ] {
        let (_, asked) = ask(&proxy, &registry, &format!("GET {target} HTTP/1.1\r\nHost: x")).await;
        assert_eq!(asked, [format!("GET {target}")]);
    }
    // A fragment is the caller's own business.
    let (_, asked) = ask(&proxy, &registry, "GET /v2/a/blobs/x#../.. HTTP/1.1\r\nHost: x").await;
    assert_eq!(asked, ["GET /v2/a/blobs/x"]);
}

#[tokio::test]
async fn no_other_host_is_reached() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let elsewhere = registry.elsewhere().trim_start_matches("http://").to_owned();
    let path = "/v2/a/blobs/x";
    for head in [
        format!("GET http://{elsewhere}{path} HTTP/1.1\r\nHost: x"),
        format!("GET http://user@{elsewhere}{path} HTTP/1.1\r\nHost: {elsewhere}"),
        format!("GET https://{elsewhere}{path} HTTP/1.1\r\nHost: x"),
        format!("GET ftp://{elsewhere}{path} HTTP/1.1\r\nHost: x"),
        format!("GET {path} HTTP/1.1\r\nHost: {elsewhere}"),
        format!("GET {path} HTTP/1.1\r\nHost: {elsewhere}/../x"),
        format!("GET {path} HTTP/1.1\r\nHost: "),
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-Host: {elsewhere}\r\nForwarded: host={elsewhere}"),
    ] {
        let (_, asked) = ask(&proxy, &registry, &head).await;
        assert_eq!(asked, [format!("GET {path}")], "{head}");
    }
    let namespace = format!("GET {path}?ns={elsewhere} HTTP/1.1\r\nHost: x");
    assert_eq!(ask(&proxy, &registry, &namespace).await, ("404".to_owned(), vec![]));
    assert_eq!(registry.requests_elsewhere().len(), 0);
}

/// `CONNECT` would open a tunnel to the registry's host, `TRACE` would show a caller what others' proxies added.
#[tokio::test]
async fn methods_that_are_not_the_distribution_specs_go_nowhere() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    let elsewhere = registry.elsewhere().trim_start_matches("http://").to_owned();
    let long = "GET".repeat(200);
    for request in [
        format!("CONNECT {elsewhere}"),
        format!("CONNECT http://{elsewhere}/"),
        "CONNECT /v2/".to_owned(),
        "TRACE /v2/".to_owned(),
        "PROPFIND /v2/a/blobs/x".to_owned(),
        "PRI /v2/".to_owned(),
        "get /v2/".to_owned(),
        format!("{long} /v2/"),
    ] {
        let head = format!("{request} HTTP/1.1\r\nHost: x\r\nContent-Length: 0");
        assert_eq!(
            ask(&proxy, &registry, &head).await,
            ("501".to_owned(), vec![]),
            "{request}"
        );
    }
    for request in ["G\0T /v2/", "GET  /v2/", " GET /v2/", "G(T /v2/"] {
        let (status, asked) = ask(&proxy, &registry, &format!("{request} HTTP/1.1\r\nHost: x")).await;
        assert_eq!((status.as_str(), asked), ("400", vec![]), "{request:?}");
    }
    assert_eq!(registry.requests_elsewhere().len(), 0);
}

/// An upgrade is between two neighbours: nobody gets a tunnel through refshim.
#[tokio::test]
async fn upgrades_are_not_passed_on() {
    let registry = fake().await;
    let proxy = Local::in_front_of(&registry.url()).await;
    for protocol in ["websocket", "h2c", "tls/1.0"] {
        let head = format!(
            "GET /v2/a/blobs/x HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__"
        );
        let mut caller = Wire::connect(proxy.authority()).await;
        caller.write(&format!("{head}\r\n\r\n")).await;
        let answer = caller.head().await;
        assert!(!answer.starts_with("HTTP/1.1 101"), "{answer}");
        let requests = registry.requests();
        let seen = requests.last().unwrap();
        for name in ["upgrade", "connection", "http2-settings"] {
            assert!(!seen.headers.contains_key(name), "{seen:?}");
        }
    }
}
