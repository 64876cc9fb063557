//! Promise: the APIs of Proposals A, B and C and of ORAS answer over HTTP as their texts say.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use crate::support;
use crate::support::content::{INDEX, artifact};
use crate::support::{Endpoint, Fault, Local, Pushed, Registry, Reply};
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.example+x";

struct Set {
    _registry: Registry,
    proxy: Local,
    image: Pushed,
    /// Newest first.
    referrers: Vec<Pushed>,
}

/// A repository called like an endpoint, with three dated referrers.
async fn set() -> Set {
    let registry = Registry::v2().await;
    let endpoint = registry.endpoint();
    let image = endpoint.push_image("v3/referrers", "latest", "image").await;
    let mut referrers = Vec::new();
    for year in [2023, 2022, 2021] {
        let kind = if year == 2022 { "application/other" } else { TYPE };
        let mut manifest = artifact(&image, kind, "x");
        let created = format!("{year}-01-01T00:00:00Z");
        manifest["annotations"] = json!({"org.opencontainers.image.created": created});
        let own = Pushed::of(support::content::IMAGE, &manifest);
        let tag = own.proposal_d_tag(&image, "x");
        endpoint
            .put_manifest("v3/referrers", &tag, support::content::IMAGE, &manifest)
            .await;
        referrers.push(own);
    }
    Set {
        proxy: Local::in_front_of(&registry.url()).await,
        _registry: registry,
        image,
        referrers,
    }
}

impl Set {
    fn endpoint(&self) -> Endpoint {
        self.proxy.endpoint()
    }

    async fn get(&self, path: &str) -> Reply {
        self.endpoint().get(&path.replace("DIGEST", &self.image.digest)).await
    }
}

fn digests(list: &Value) -> Vec<&str> {
    list.as_array()
        .expect("a list")
        .iter()
        .map(|d| d["digest"].as_str().unwrap())
        .collect()
}

fn expected(pushed: &[&Pushed]) -> Vec<String> {
    pushed.iter().map(|p| p.digest.clone()).collect()
}

#[tokio::test]
async fn proposal_a_and_oras_page_and_filter() {
    let set = set().await;
    let all: Vec<&Pushed> = set.referrers.iter().collect();
    for (path, header, version) in [
        (
            "/v2/v3/referrers/_oci/artifacts/referrers?digest=DIGEST",
            "reftype-api-version",
            "reftype/1.0",
        ),
        (
            "/v2/v3/referrers/_oras/artifacts/referrers?digest=DIGEST",
            "oras-api-version",
            "oras/1.0",
        ),
        (
            "/oras/artifacts/v1/v3/referrers/manifests/DIGEST/referrers?x=y",
            "oras-api-version",
            "oras/1.0",
        ),
    ] {
        let reply = set.get(path).await.expect_status(200);
        assert_eq!(
            (reply.header(header), reply.header("link")),
            (Some(version), None),
            "{path}"
        );
        assert_eq!(digests(&reply.json()["referrers"]), expected(&all));
        let filtered = set
            .get(&format!("{path}&artifactType=application/vnd.example%2Bx"))
            .await
            .json();
        assert_eq!(digests(&filtered["referrers"]), expected(&[all[0], all[2]]));
        // An absolute link, page after page.
        let mut next = format!("{path}&n=1&artifactType={TYPE}");
        for page in [all[0], all[2]] {
            let reply = set.get(&next).await.expect_status(200);
            assert_eq!(digests(&reply.json()["referrers"]), expected(&[page]));
            let Some(link) = reply.header("link") else {
                assert_eq!(page.digest, all[2].digest);
                continue;
            };
            let url = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            next = url
                .strip_prefix(&format!("http://{}", set.proxy.authority()))
                .unwrap()
                .to_owned();
        }
        let tampered = set.get(&format!("{path}&n=1&nextToken=AAAA")).await.expect_status(400);
        assert_eq!(
            (tampered.error_code().as_str(), tampered.header(header)),
            ("PAGINATION_NUMBER_INVALID", Some(version))
        );
        let head = set.endpoint().head(&path.replace("DIGEST", &set.image.digest)).await;
        assert_eq!(
            head.header("content-length"),
            Some(reply.body.len().to_string().as_str())
        );
    }
    let old = set
        .get("/oras/artifacts/v1/v3/referrers/manifests/DIGEST/referrers")
        .await
        .json();
    assert_eq!(old["references"], old["referrers"]);
    let none = set
        .get("/v2/v3/referrers/_oci/artifacts/referrers?digest=nonsense")
        .await
        .expect_status(400);
    assert_eq!(none.error_code(), "DIGEST_INVALID");
}

#[tokio::test]
async fn absolute_links_follow_the_public_url() {
    let set = set().await;
    let url = set.proxy.upstream().url().to_string();
    let public = Local::configured(&url, |config| {
        config.server.public_url = Some("https://refs.example.org".parse().unwrap());
    })
    .await;
    let path = format!(
        "/v2/v3/referrers/_oci/artifacts/referrers?digest={}&n=1",
        set.image.digest
    );
    let reply = public.endpoint().get(&path).await.expect_status(200);
    let link = reply.header("link").unwrap();
    assert!(
        link.starts_with("<https://refs.example.org/v2/v3/referrers/_oci/"),
        "{link}"
    );
}

#[tokio::test]
async fn proposal_b_takes_tags_and_digests() {
    let set = set().await;
    let all: Vec<&Pushed> = set.referrers.iter().collect();
    for reference in ["latest", "DIGEST"] {
        let reply = set
            .get(&format!("/v2/v3/referrers/manifests/{reference}/references"))
            .await
            .expect_status(200);
        assert_eq!(reply.header("content-type"), Some(INDEX));
        assert_eq!(digests(&reply.json()["manifests"]), expected(&all));
    }
    let unknown = set
        .get("/v2/v3/referrers/manifests/unknown/references")
        .await
        .expect_status(404);
    assert_eq!(unknown.error_code(), "MANIFEST_UNKNOWN");
    let absent = format!("/v2/v3/referrers/manifests/sha256:{}/references", "0".repeat(64));
    assert_eq!(set.get(&absent).await.expect_status(200).json()["manifests"], json!([]));
}

#[tokio::test]
async fn proposal_c_answers_its_four_questions() {
    let set = set().await;
    let all: Vec<&Pushed> = set.referrers.iter().collect();
    set.get("/v3/").await.expect_status(200);
    for reference in ["latest", "DIGEST"] {
        let reply = set
            .get(&format!("/v3/v3/referrers/referrers/{reference}"))
            .await
            .expect_status(200);
        assert_eq!(digests(&reply.json()["referrers"]), expected(&all));
        let parent = set
            .get(&format!("/v3/v3/referrers/reference/{reference}"))
            .await
            .expect_status(200);
        assert_eq!(parent.json(), json!({}));
        let objects = set
            .get(&format!("/v3/v3/referrers/objects/{reference}"))
            .await
            .expect_status(200);
        assert_eq!(objects.json()["objects"].as_array().unwrap().len(), 1);
    }
    let parent = set
        .get(&format!("/v3/v3/referrers/reference/{}", all[0].digest))
        .await
        .json();
    assert_eq!(parent["digest"], set.image.digest);
    let text = set.get("/v3/v3/referrers/description/latest").await.expect_status(200);
    assert_eq!(text.json(), json!({"description": ""}));
    for path in [
        "reference/unknown",
        "objects/unknown",
        "referrers/unknown",
        &format!("objects/sha256:{}", "0".repeat(64)),
    ] {
        let unknown = set.get(&format!("/v3/v3/referrers/{path}")).await.expect_status(404);
        assert_eq!(unknown.error_code(), "MANIFEST_UNKNOWN", "{path}");
    }
    set.endpoint()
        .send(http::Method::POST, "/v3/a/objects/x", &[], "")
        .await
        .expect_status(405);
}

#[tokio::test]
async fn discovery_is_merged_with_the_upstreams() {
    let registry = Registry::v2().await;
    let link = support::CountingProxy::in_front_of(&registry.url()).await;
    let proxy = Local::in_front_of(link.url()).await;
    for path in ["/v2/_oci/ext/discover", "/v2/a/b/_oci/ext/discover"] {
        let names = async || {
            let json = proxy.endpoint().get(path).await.expect_status(200).json();
            let list = json["extensions"].as_array().unwrap().iter();
            list.map(|e| e["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names().await, ["_oci", "_oras"]);
        let own = r#"{"extensions":[{"name":"_zot"},{"name":"_oci"}]}"#;
        link.fail_times(1, Fault::answer(200, &[], own), move |r| r.path == path);
        assert_eq!(names().await, ["_oci", "_oras", "_zot"]);
        let refused = Fault::answer(401, &[("www-authenticate", "Basic realm=\"x\"")], "no");
        link.fail_times(1, refused, move |r| r.path == path);
        let reply = proxy.endpoint().get(path).await.expect_status(401);
        assert_eq!(
            (reply.header("www-authenticate"), reply.text().as_str()),
            (Some("Basic realm=\"x\""), "no")
        );
    }
}
