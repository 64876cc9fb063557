//! One thing under two names, or two under one: what is remembered for a question is never the answer to another.

use refshim::testing::config::{Config, UpstreamConfig};

use super::fake;
use crate::support::content::ANY;
use crate::support::fake::Fake;
use crate::support::wire::Wire;
use crate::support::{Local, Pushed};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

/// Two registries that have other images under the same names, reached by host, by namespace or not at all.
async fn two() -> ([Fake; 2], [Pushed; 2], Local) {
    let registries = [fake().await, fake().await];
    let images = ["one", "two"].map(|title| title.to_owned());
    let images = [0, 1].map(|n| {
        let image = registries[n].image("a", "v1", &images[n]);
        registries[n].tagged_artifact("a", &image, SBOM, "sbom");
        image
    });
    let upstream = |registry: &Fake| UpstreamConfig::new(registry.url().parse().unwrap());
    let mut config = Config {
        upstreams: registries.iter().map(upstream).collect(),
        ..Config::default()
    };
    config.upstreams[1].name = "two".to_owned();
    config.upstreams[1].hosts = ["two.example".to_owned()].into();
    config.upstreams[1].ns = ["ns.example".to_owned()].into();
    let proxy = Local::of(config).await;
    (registries, images, proxy)
}

#[tokio::test]
async fn what_names_the_registry_is_part_of_every_key() {
    let (_registries, images, proxy) = two().await;
    let ask = async |target: &str, hosts: &str| {
        let mut caller = Wire::connect(proxy.authority()).await;
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}Accept: {ANY}\r\nConnection: close\r\n\r\n");
        caller.exchange(request.as_bytes()).await
    };
    // Twice: the second time from memory.
    for _ in 0..2 {
        for (target, host, which) in [
            ("/v2/a/manifests/v1", "Host: two.example", 1),
            ("/v2/a/manifests/v1", "Host: x", 0),
            ("/v2/a/manifests/v1", "Host: TWO.Example:81", 1),
            ("/v2/a/manifests/v1", "Host: two.example.", 0),
            ("/v2/a/manifests/v1", "Host: x\r\nX-Forwarded-Host: two.example", 0),
            ("/v2/a/manifests/v1?ns=NS.example", "Host: x", 1),
            ("/v2/a/manifests/v1?n%73=ns%2Eexample", "Host: x", 1),
            // The target's own authority counts, not the header (RFC 9112, 3.2.2).
            ("http://two.example/v2/a/manifests/v1", "Host: x", 1),
            ("http://x/v2/a/manifests/v1", "Host: two.example", 0),
        ] {
            let answer = ask(target, &format!("{host}\r\n")).await;
            let digest = &images[which].digest;
            assert!(answer.starts_with("HTTP/1.1 200"), "{target} {host}: {answer}");
            assert!(
                answer.contains(digest.as_str()),
                "{target} {host}: not the image of registry {which}: {answer}"
            );
        }
        let [one, two] = [0, 1].map(|n| format!("/v2/a/manifests/{}", images[n].digest));
        for (target, host, status) in [
            (&one, "x", "200"),
            (&two, "two.example", "200"),
            (&one, "two.example", "404"),
            (&two, "x", "404"),
        ] {
            let answer = ask(target, &format!("Host: {host}\r\n")).await;
            assert_eq!(answer.split(' ').nth(1), Some(status), "{target} {host}");
        }
    }
    for twice in ["?ns=ns.example&ns=x", "?ns=ns.example&n%73=x", "?ns=&ns=ns.example"] {
        let answer = ask(&format!("/v2/a/manifests/v1{twice}"), "Host: x\r\n").await;
        assert!(
            answer.starts_with("HTTP/1.1 400") && answer.contains("NAME_INVALID"),
            "{twice}: {answer}"
        );
    }
}

/// Digests have one spelling, but for a colon that some clients encode.
#[tokio::test]
async fn other_spellings_are_the_same_or_nothing() {
    let registry = fake().await;
    let image = registry.image("a", "v1", "image");
    let sbom = registry.tagged_artifact("a", &image, SBOM, "sbom");
    let proxy = Local::in_front_of(&registry.url()).await;
    let hex = image.hex().to_owned();
    let referrers = async |digest: &str| proxy.endpoint().get(&format!("/v2/a/referrers/{digest}")).await;
    let listed = referrers(&image.digest).await.expect_status(200);
    assert_eq!(listed.json()["manifests"][0]["digest"], sbom.digest);
    registry.take();
    for same in [format!("sha256%3A{hex}"), format!("sha256%3a{hex}")] {
        assert_eq!(referrers(&same).await.expect_status(200).body, listed.body);
    }
    assert_eq!(registry.take(), [""; 0], "the same is remembered once");
    for (digest, code) in [
        (format!("SHA256:{hex}"), "DIGEST_INVALID"),
        (format!("sha256:{}", hex.to_uppercase()), "DIGEST_INVALID"),
        (format!("sha256:{}", &hex[1..]), "DIGEST_INVALID"),
        (format!("sha256:{hex}0"), "DIGEST_INVALID"),
        (format!("sha256%253A{hex}"), "DIGEST_INVALID"),
        (format!("sha256:{hex}%00"), "NAME_INVALID"),
    ] {
        let reply = referrers(&digest).await.expect_status(400);
        assert_eq!(reply.error_code(), code, "{digest}");
    }
    for repository in ["A", "a%2f", "%61", "a/", "a%20"] {
        let reply = proxy
            .endpoint()
            .get(&format!("/v2/{repository}/referrers/{}", image.digest))
            .await;
        assert_eq!(
            (reply.status, reply.error_code().as_str()),
            (400, "NAME_INVALID"),
            "{repository}"
        );
    }
}

/// One filter's answer is not another's, however it is written.
#[tokio::test]
async fn filters_are_part_of_the_question() {
    let registry = fake().await;
    let image = registry.image("a", "v1", "image");
    registry.tagged_artifact("a", &image, SBOM, "sbom");
    let proxy = Local::in_front_of(&registry.url()).await;
    let encoded = SBOM.replace('+', "%2B");
    for (query, count) in [
        (String::new(), 1),
        (format!("?artifactType={encoded}"), 1),
        ("?artifactType=x".to_owned(), 0),
        (format!("?artifactType=x&artifactType={encoded}"), 1),
        (format!("?artifactTYPE={encoded}x"), 1),
        (format!("?artifact%54ype={encoded}x"), 0),
        (String::new(), 1),
    ] {
        let path = format!("/v2/a/referrers/{}{query}", image.digest);
        let reply = proxy.endpoint().get(&path).await.expect_status(200);
        assert_eq!(
            reply.json()["manifests"].as_array().map(Vec::len),
            Some(count),
            "{query}: {reply:?}"
        );
    }
}
