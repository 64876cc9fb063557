//! Through HTTP proxies. No host here has a name that refshim itself could resolve.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Request, Response};
use refshim::testing::oci::Digest;

use super::{APP, HIDDEN, authority, behind_tls, certificate_in, registry};
use crate::support::cli::refshim_in;
use crate::support::{CountingProxy, EgressProxy, Pushed, Refshim, Service, TlsLink, certificate};

/// Whether refshim finds the SBOM of the image.
async fn finds_sbom(refshim: &Refshim, image: &Pushed) -> bool {
    refshim.endpoint().referrers(APP, &image.digest).await.len() == 1
}

#[tokio::test]
async fn a_registry_that_only_a_proxy_reaches_is_reached_whatever_names_the_proxy() {
    let (fake, image) = registry().await;
    let (link, folder) = behind_tls(&fake, "DNS:registry.test").await;
    let plain = authority(&fake);
    let hosts = [("registry.test:443", link.authority()), ("registry.test:80", &plain)];
    let proxy = EgressProxy::of_user(&hosts, "alice", "hush%").await;
    let url = proxy.url_for("alice", "hush%25");
    let ca_file = certificate_in(&folder);
    for (variable, upstream) in [
        ("HTTPS_PROXY", HIDDEN),
        ("https_proxy", HIDDEN),
        ("ALL_PROXY", HIDDEN),
        ("HTTP_PROXY", "http://registry.test"),
        ("http_proxy", "http://registry.test"),
        ("all_proxy", "http://registry.test"),
        ("REFSHIM_UPSTREAM__0__PROXY", HIDDEN),
    ] {
        let refshim = Refshim::builder(upstream).env(variable, &url);
        let refshim = refshim.arguments(&["--ca-file", &ca_file]).start().await;
        assert!(finds_sbom(&refshim, &image).await, "{variable}");
        let asked = proxy.take();
        let expected = match upstream {
            HIDDEN => "CONNECT registry.test:443",
            _ => "GET http://registry.test/v2/",
        };
        assert!(
            asked.iter().any(|line| line.starts_with(expected)),
            "{variable}: {asked:?}"
        );
        let named = variable.replace("REFSHIM_UPSTREAM__0__PROXY", "upstream.proxy");
        let announced = format!("through the proxy http://{} ({named})", proxy.authority());
        let log = refshim.output();
        assert!(log.contains(&announced) && !log.contains("hush"), "{log}");
    }
    for seen in fake.requests() {
        assert_eq!(seen.headers.get("proxy-authorization"), None, "{seen:?}");
    }
}

#[tokio::test]
async fn realms_and_redirected_blobs_go_through_the_proxy_too() {
    let blob = Digest::sha256(b"blob");
    let path = format!("/v2/{APP}/blobs/{blob}");
    let asked = path.clone();
    // Registry, token service and storage in one: their names tell them apart.
    let service = Service::start(move |request: &Request<Bytes>| {
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let answer = |status: u16| Response::builder().status(status);
        let answer = match (
            header(HOST).unwrap_or_default(),
            request.uri().path(),
            header(AUTHORIZATION),
        ) {
            ("auth.test", "/token", Some("Basic cm9ib3Q6YmVlcA==")) => answer(200).body(r#"{"token":"t"}"#.into()),
            ("storage.test", "/blob", None) => answer(200).body("blob".into()),
            ("registry.test", at, Some("Bearer t")) if at == asked => {
                let storage = answer(307).header("location", "http://storage.test/blob");
                storage.body(Bytes::new())
            }
            ("registry.test", _, _) => {
                let challenge = r#"Bearer realm="http://auth.test/token",service="s""#;
                answer(401).header("www-authenticate", challenge).body(Bytes::new())
            }
            _ => answer(500).body(Bytes::new()),
        };
        answer.unwrap()
    })
    .await;
    let address = service.url().trim_start_matches("http://");
    let hosts = ["registry.test:80", "auth.test:80", "storage.test:80"].map(|host| (host, address));
    let proxy = EgressProxy::start(&hosts).await;
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "beep").unwrap();
    let config = format!(
        "[[upstream]]\nurl = 'http://registry.test'\nblobs = 'stream'\n\
         [upstream.credentials]\nkind = 'static'\nusername = 'robot'\npassword_file = '{}'",
        super::path(password.path())
    );
    let refshim = Refshim::bare().config(&config).env("http_proxy", &proxy.url());
    let refshim = refshim.start().await;
    let reply = refshim.endpoint().get(&path).await.expect_status(200);
    assert_eq!(reply.body, "blob");
    let asked = proxy.take();
    for host in ["registry.test", "auth.test", "storage.test"] {
        let begin = format!("GET http://{host}/");
        assert!(asked.iter().any(|line| line.starts_with(&begin)), "{host}: {asked:?}");
    }
}

#[tokio::test]
async fn the_command_line_goes_the_same_way_and_check_says_which() {
    let (fake, _) = registry().await;
    let (link, folder) = behind_tls(&fake, "DNS:registry.test").await;
    let proxy = EgressProxy::of_user(&[("registry.test:443", link.authority())], "alice", "hush").await;
    let (url, ca_file) = (proxy.url_for("alice", "hush"), certificate_in(&folder));
    let image = format!("registry.test/{APP}:v1");
    let environment = [("HTTPS_PROXY", url.as_str())];
    let listed = refshim_in(&environment, &["referrers", &image, "--ca-file", &ca_file])
        .await
        .ok();
    assert!(listed.contains("1 referrer"), "{listed}");

    let check = ["check", "--upstream", HIDDEN, "--ca-file", &ca_file];
    let said = refshim_in(&environment, &check).await.ok();
    let way = format!("through the proxy http://{} (HTTPS_PROXY)", proxy.authority());
    assert!(said.contains(&way) && !said.contains("hush"), "{said}");
    let report = refshim_in(&environment, &[&check[..], &["--output", "json"]].concat())
        .await
        .json();
    let expected = serde_json::json!({ "url": proxy.url(), "setBy": "HTTPS_PROXY" });
    assert_eq!(report["upstreams"][0]["proxy"], expected);

    proxy.take();
    let exempt = [("HTTPS_PROXY", url.as_str()), ("no_proxy", ".test")];
    let ended = refshim_in(&exempt, &check).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("direct: NO_PROXY"), "{ended:?}");
    assert_eq!(proxy.take(), [""; 0]);
}

#[tokio::test]
async fn what_is_on_this_machine_needs_no_proxy() {
    let (fake, _) = registry().await;
    let image = format!("{}/{APP}:v1", authority(&fake));
    let dead = [("ALL_PROXY", "http://127.0.0.1:1")];
    let listed = refshim_in(&dead, &["referrers", &image]).await.ok();
    assert!(listed.contains("1 referrer"), "{listed}");
}

/// A proxy that speaks TLS, and a registry that speaks HTTP/2 without: only a tunnel carries that.
#[tokio::test]
async fn proxies_may_speak_tls_and_carry_http2() {
    let (fake, image) = registry().await;
    let counting = CountingProxy::in_front_of(&fake.url()).await;
    let target = counting.url().trim_start_matches("http://").to_owned();
    let proxy = EgressProxy::start(&[("registry.test:80", &target)]).await;
    let folder = tempfile::tempdir().unwrap();
    certificate::make_signing(folder.path(), "IP:127.0.0.1");
    let link = TlsLink::in_front_of(proxy.authority(), folder.path()).await;
    let config = format!(
        "[[upstream]]\nurl = 'http://registry.test'\nhttp2_prior_knowledge = true\nproxy = '{}'\nca_file = '{}'",
        link.url(),
        certificate_in(&folder)
    );
    let refshim = Refshim::bare().config(&config).start().await;
    assert!(finds_sbom(&refshim, &image).await);
    let asked = proxy.take();
    assert!(asked.iter().all(|line| line == "CONNECT registry.test:80"), "{asked:?}");
    assert!(!asked.is_empty());
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_its_password_is_not() {
    let (fake, _) = registry().await;
    let plain = authority(&fake);
    let guarded = EgressProxy::of_user(
        &[("registry.test:443", &plain), ("registry.test:80", &plain)],
        "alice",
        "right",
    )
    .await;
    let closed = EgressProxy::start(&[]).await;
    let refused = guarded.url_for("alice", "hush");
    let forbidden = closed.url_for("alice", "hush");
    for (proxy, upstream, expected) in [
        (refused.as_str(), HIDDEN, "proxy authorization required"),
        (
            refused.as_str(),
            "http://registry.test",
            "(HTTP 407): put them into its URL",
        ),
        (forbidden.as_str(), HIDDEN, "gave no connection to registry.test:443"),
        (
            "http://alice:hush@127.0.0.1:1",
            HIDDEN,
            "gave no connection to registry.test:443",
        ),
        (
            "http://alice:hush@127.0.0.1:1",
            "http://registry.test",
            "gave no connection to registry.test:80",
        ),
    ] {
        let environment = [("ALL_PROXY", proxy)];
        let ended = refshim_in(&environment, &["check", "--upstream", upstream]).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        let address = proxy.split_once('@').unwrap().1;
        let named = format!("the proxy http://{address} (ALL_PROXY)");
        assert_eq!(ended.code, Some(1), "{said}");
        assert!(said.contains(&named) && said.contains(expected), "{expected}: {said}");
        assert!(!said.contains("hush"), "{said}");

        let refshim = Refshim::builder(upstream)
            .env("ALL_PROXY", proxy)
            .env("REFSHIM_LOG__LEVEL", "trace");
        let refshim = refshim.start().await;
        let reply = refshim.endpoint().get("/v2/").await.expect_status(502);
        assert!(reply.text().contains(&named), "{reply:?}");
        for text in [reply.text(), refshim.output()] {
            for secret in ["hush", "YWxpY2U6aHVzaA"] {
                assert!(!text.contains(secret), "{secret} in {text}");
            }
        }
    }
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_proxy_that_is_none_is_refused_at_the_start() {
    for (variable, value) in [
        ("HTTPS_PROXY", "ftp://alice:hush@proxy.test"),
        ("http_proxy", "http://alice:hush@"),
        ("REFSHIM_UPSTREAM__0__PROXY", "socks5://alice:hush@proxy.test"),
    ] {
        let environment = [(variable, value)];
        let said = refshim_in(&environment, &["check", "--upstream", HIDDEN])
            .await
            .refused(2);
        assert!(said.contains("write it like http://proxy.example.org:3128"), "{said}");
        assert!(said.contains(variable) && !said.contains("hush"), "{said}");
        if !variable.starts_with("REFSHIM") {
            let said = refshim_in(&environment, &["tree", "registry.test/o/app:v1"])
                .await
                .refused(2);
            assert!(said.contains(variable) && !said.contains("hush"), "{said}");
        }
    }
}
