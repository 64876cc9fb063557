//! Promise: manifests of proposals A, ORAS, C and E live on registries that refuse them, as if these knew them.

use crate::support;
use crate::support::content::{IMAGE, bare_image, empty_descriptor, is_referrers_tag};
use crate::support::fake::knobs::{Knobs, Pushes};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{CountingProxy, Endpoint, Program, Pushed, Refshim, Registry, Tools};
use refshim::testing::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_NODE, ORAS_ARTIFACT_MANIFEST};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

/// The blob that every manifest here lists.
const CONTENT: &[u8] = b"the content of an artifact";

fn content() -> Value {
    json!({"mediaType": "text/plain", "digest": refshim::testing::oci::Digest::sha256(CONTENT), "size": CONTENT.len()})
}

/// One manifest of each kind that refers to `subject`.
fn kinds(subject: &Pushed, name: &str) -> Vec<(&'static str, Pushed)> {
    let artifact = |media_type: &str| {
        let manifest = json!({
            "mediaType": media_type, "artifactType": SBOM, "blobs": [content()], "subject": subject.descriptor(),
            "annotations": {"name": name},
        });
        Pushed::of(media_type, &manifest)
    };
    let node = json!({
        "schemaVersion": 3, "mediaType": OCI_NODE, "description": name, "objects": [content()],
        "reference": subject.descriptor(),
    });
    let mut refers = bare_image(name);
    refers["layers"] = json!([content()]);
    refers["refers"] = subject.descriptor();
    vec![
        ("proposal-a", artifact(OCI_ARTIFACT_MANIFEST)),
        ("oras", artifact(ORAS_ARTIFACT_MANIFEST)),
        ("proposal-c", Pushed::of(OCI_NODE, &node)),
        ("refers", Pushed::of(IMAGE, &refers)),
    ]
}

/// Exactly what was pushed, by this reference, to GET and HEAD.
async fn reads(endpoint: &Endpoint, reference: &str, pushed: &Pushed, case: &str) {
    let path = format!("/v2/app/manifests/{reference}");
    // What the registry would not give without being asked for it by name, it does not give through refshim either.
    let accepts = [&*pushed.media_type, "*/*"];
    for accept in accepts.iter().take(if pushed.media_type == IMAGE { 1 } else { 2 }) {
        let got = endpoint.get_with(&path, &[("accept", accept)]).await.expect_status(200);
        assert_eq!(got.body, pushed.bytes, "{case}");
        let head = endpoint
            .send(http::Method::HEAD, &path, &[("accept", accept)], "")
            .await
            .expect_status(200);
        for reply in [got, head] {
            assert_eq!(reply.header("content-type"), Some(&*pushed.media_type), "{case}");
            assert_eq!(reply.header("docker-content-digest"), Some(&*pushed.digest), "{case}");
            let length = pushed.size().to_string();
            assert_eq!(reply.header("content-length"), Some(&*length), "{case}");
        }
    }
}

/// The whole life of each kind in front of `upstream`.
async fn live(upstream: &str, login: impl Fn(Endpoint) -> Endpoint) {
    // Where the ECR-like one keeps its blobs.
    let builder = Refshim::builder(upstream).env("REFSHIM_UPSTREAM__0__REDIRECT_HOSTS", "127.0.0.2");
    let mut refshim = builder.start().await;
    let through = login(refshim.endpoint());
    through.push_blob("app", CONTENT).await;
    let image = through.push_image("app", "v1", "image").await;
    for (kind, pushed) in kinds(&image, "artifact") {
        let case = format!("{kind} on {upstream}");
        for reference in ["", kind] {
            let reply = through.put_bytes("app", reference, &pushed).await.expect_status(201);
            assert_eq!(reply.header("docker-content-digest"), Some(&*pushed.digest), "{case}");
            assert_eq!(reply.header("oci-subject"), Some(&*image.digest), "{case}");
            assert!(
                reply.header("location").is_some_and(|l| l.ends_with(&pushed.digest)),
                "{case}"
            );
        }
        for cold in [false, true] {
            if cold {
                refshim.restart().await;
            }
            let case = format!("{case}, cold: {cold}");
            reads(&through, &pushed.digest, &pushed, &case).await;
            reads(&through, kind, &pushed, &case).await;
            let listed = through.referrers("app", &image.digest).await;
            assert_eq!(listed.len(), 1, "{case}: {listed:?}");
            let entry = pushed.listed(&image, None).descriptor();
            for key in ["mediaType", "digest", "size"] {
                assert_eq!(listed[0][key], entry[key], "{case}");
            }
            if pushed.media_type.contains("artifact") {
                assert_eq!(listed[0]["artifactType"], SBOM, "{case}");
                assert_eq!(listed[0]["annotations"], json!({"name": "artifact"}), "{case}");
            }
        }
        // It can be referred to in its turn.
        let scan = through.push_artifact("app", &pushed, SBOM, "of an artifact").await;
        refshim.restart().await;
        assert_eq!(
            through.referrer_digests("app", &pushed.digest).await,
            std::slice::from_ref(&scan.digest)
        );
        let path = format!("/v2/app/manifests/{}", scan.digest);
        through.delete(&path).await.expect_status(202);
        refshim.restart().await;
        let path = format!("/v2/app/manifests/{}", pushed.digest);
        through.delete(&path).await.expect_status(202);
        assert_eq!(
            through.referrers("app", &image.digest).await,
            [] as [Value; 0],
            "{case}"
        );
        for reference in [&*pushed.digest, kind] {
            through.manifest("app", reference).await.expect_status(404);
        }
        through.delete(&path).await.expect_status(404);
    }
    let tags = through.get("/v2/app/tags/list").await.expect_status(200).json();
    let tags = tags["tags"].as_array().unwrap().iter();
    let tags: Vec<&Value> = tags.filter(|tag| !is_referrers_tag(tag.as_str().unwrap())).collect();
    assert_eq!(tags, ["v1"], "{upstream}");
}

#[tokio::test]
async fn on_distribution_2_which_answers_400() {
    let registry = Registry::v2().await;
    live(&registry.url(), |endpoint| endpoint).await;
}

#[tokio::test]
async fn on_distribution_3_which_answers_400() {
    let registry = Registry::v3().await;
    live(&registry.url(), |endpoint| endpoint).await;
}

#[tokio::test]
async fn on_ecr_which_answers_405() {
    let mut knobs = profiles::ecr();
    knobs.pushes.refused_members.push("refers");
    // With locked tags a second push of the same is refused, and deletes free them.
    let fake = Fake::start(knobs).await;
    live(&fake.url(), |endpoint| endpoint.basic("AWS", "ecr-token")).await;
}

#[tokio::test]
async fn on_zot_which_answers_415() {
    let fake = Fake::start(profiles::zot()).await;
    live(&fake.url(), |endpoint| endpoint).await;
}

/// Where the registry takes them as they are, there is nothing to wrap.
#[tokio::test]
async fn on_a_registry_that_knows_them_there_is_none() {
    let pushes = Pushes {
        takes_any_type: true,
        ..Pushes::default()
    };
    let fake = Fake::start(Knobs {
        pushes,
        ..Knobs::default()
    })
    .await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let (through, straight) = (refshim.endpoint(), fake.endpoint());
    through.push_blob("app", CONTENT).await;
    let image = through.push_image("app", "v1", "image").await;
    let mut expected = Vec::new();
    for (kind, pushed) in kinds(&image, "artifact") {
        let reply = through.put_bytes("app", kind, &pushed).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*image.digest), "{kind}");
        let stored = straight.manifest("app", &pushed.digest).await.expect_status(200);
        assert_eq!(
            (&stored.body, stored.header("content-type")),
            (&pushed.bytes, Some(&*pushed.media_type))
        );
        reads(&through, &pushed.digest, &pushed, kind).await;
        expected.push(pushed.listed(&image, None).digest);
    }
    expected.sort();
    assert_eq!(through.referrer_digests("app", &image.digest).await, expected);
    let tags = straight.get("/v2/app/tags/list").await.json().to_string();
    assert!(!tags.contains("envelope"), "{tags}");
    let blobs = fake.count(|seen| seen.method == "PUT" && seen.path.contains("/blobs/"));
    assert_eq!(blobs, 2, "only the caller's own");
}

#[tokio::test]
async fn what_the_proposals_forbid_is_refused_with_the_reason() {
    let registry = Registry::v2().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = Refshim::in_front_of(link.url()).await;
    let through = refshim.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let descriptor = image.descriptor();
    let node = json!({"mediaType": OCI_NODE, "digest": image.digest, "size": 2});
    let mut cases = vec![
        (
            OCI_NODE,
            json!({"schemaVersion": 3, "objects": [node], "reference": {}}),
            "another node",
        ),
        (
            OCI_NODE,
            json!({"schemaVersion": 3, "objects": [], "reference": [descriptor, descriptor]}),
            "2 descriptors",
        ),
        (
            OCI_NODE,
            json!({"objects": [], "reference": {"digest": "sha256:abc"}}),
            "'reference'",
        ),
        (
            IMAGE,
            json!({"schemaVersion": 2, "subject": {"digest": "v1"}}),
            "'subject'",
        ),
        (IMAGE, json!({"schemaVersion": 2, "refers": "v1"}), "'refers'"),
    ];
    for media_type in [OCI_ARTIFACT_MANIFEST, ORAS_ARTIFACT_MANIFEST] {
        cases.push((
            media_type,
            json!({"blobs": [], "subject": descriptor}),
            "'artifactType'",
        ));
        cases.push((
            media_type,
            json!({"artifactType": "", "subject": descriptor}),
            "'artifactType'",
        ));
        cases.push((media_type, json!({"artifactType": SBOM, "subject": 1}), "'subject'"));
    }
    link.take();
    for (media_type, manifest, reason) in cases {
        for tag in ["", "tag"] {
            let reply = through.put_bytes("app", tag, &Pushed::of(media_type, &manifest)).await;
            assert_eq!(
                (reply.status, reply.error_code().as_str()),
                (400, "MANIFEST_INVALID"),
                "{manifest}"
            );
            assert!(reply.text().contains(reason), "{manifest}: {}", reply.text());
        }
    }
    // The bytes are not those of the digest.
    for (_, pushed) in kinds(&image, "artifact") {
        let wrong = Pushed {
            digest: image.digest.clone(),
            ..pushed
        };
        let reply = through.put_bytes("app", "", &wrong).await;
        assert_eq!((reply.status, reply.error_code().as_str()), (400, "MANIFEST_INVALID"));
        assert!(reply.text().contains(&image.digest), "{}", reply.text());
    }
    let written = link.count(|seen| seen.method != "GET" && seen.method != "HEAD");
    assert_eq!(written, 0, "{:?}", link.take());
}

/// A blob that is missing is the pusher's to push, whatever the manifest.
#[tokio::test]
async fn a_missing_blob_is_no_reason_for_an_envelope() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        let image = through.push_image("app", "v1", "image").await;
        for (kind, pushed) in kinds(&image, "artifact") {
            let reply = through.put_bytes("app", "", &pushed).await;
            assert!((400..500).contains(&reply.status), "{kind}: {reply:?}");
            assert_eq!(reply.header("oci-subject"), None);
            reply.error_code();
        }
        assert_eq!(
            through.referrers("app", &image.digest).await,
            [] as [Value; 0],
            "{program:?}"
        );
    }
}

/// What nothing tags is garbage to a registry. Nothing that was pushed through refshim is.
#[tokio::test]
async fn the_registrys_own_garbage_collection_takes_nothing() {
    for program in Program::ALL {
        let mut registry = Registry::start(program).await;
        let mut refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        through.push_blob("app", CONTENT).await;
        let image = through.push_image("app", "v1", "image").await;
        let mut pushed: Vec<Pushed> = kinds(&image, "artifact")
            .into_iter()
            .map(|(_, pushed)| pushed)
            .collect();
        // As cosign, oras and notation do: by digest only.
        let mut signature = support::content::artifact(&image, SBOM, "signature");
        signature["layers"] = json!([content()]);
        pushed.push(Pushed::of(IMAGE, &signature));
        for manifest in &pushed {
            through.put_bytes("app", "", manifest).await.expect_status(201);
        }
        let garbage = registry.endpoint().push_blob("app", "what nobody refers to").await;

        registry.collect_garbage().await;
        refshim.restart().await;
        let gone = format!("/v2/app/blobs/{garbage}");
        registry.endpoint().head(&gone).await.expect_status(404);
        let mut expected = Vec::new();
        for manifest in &pushed {
            reads(&through, &manifest.digest, manifest, &format!("{program:?}")).await;
            expected.push(manifest.listed(&image, None).digest);
        }
        let listed = content();
        for digest in [listed["digest"].as_str(), empty_descriptor()["digest"].as_str()] {
            let path = format!("/v2/app/blobs/{}", digest.unwrap());
            through.get(&path).await.expect_status(200);
        }
        expected.sort();
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            expected,
            "{program:?}"
        );
    }
}

/// A digest of another algorithm than the registry's is kept in an envelope, too.
#[tokio::test]
async fn manifests_named_by_sha512() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let mut refshim = Refshim::in_front_of(&registry.url()).await;
        let through = refshim.endpoint();
        through.push_blob("app", CONTENT).await;
        let image = by_sha512(&through.push_image("app", "v1", "image").await);
        through.put_bytes("app", "", &image).await.expect_status(201);
        let mut referrers: Vec<Pushed> = kinds(&image, "artifact")
            .into_iter()
            .map(|(_, p)| by_sha512(&p))
            .collect();
        referrers.push(Pushed::of(
            IMAGE,
            &support::content::artifact(&image, SBOM, "by sha256"),
        ));
        for referrer in &referrers {
            let reply = through.put_bytes("app", "", referrer).await.expect_status(201);
            assert_eq!(reply.header("oci-subject"), Some(&*image.digest), "{program:?}");
            assert_eq!(
                reply.header("docker-content-digest"),
                Some(&*referrer.digest),
                "{program:?}"
            );
        }
        for cold in [false, true] {
            if cold {
                refshim.restart().await;
            }
            for manifest in referrers.iter().chain([&image]) {
                reads(
                    &through,
                    &manifest.digest,
                    manifest,
                    &format!("{program:?}, cold: {cold}"),
                )
                .await;
            }
            let mut expected: Vec<String> = referrers.iter().map(|p| p.listed(&image, None).digest).collect();
            expected.sort();
            assert_eq!(
                through.referrer_digests("app", &image.digest).await,
                expected,
                "{program:?}, cold: {cold}"
            );
        }
        for referrer in &referrers {
            let path = format!("/v2/app/manifests/{}", referrer.digest);
            through.delete(&path).await.expect_status(202);
        }
        assert_eq!(
            through.referrers("app", &image.digest).await,
            [] as [Value; 0],
            "{program:?}"
        );
    }
}

fn by_sha512(pushed: &Pushed) -> Pushed {
    use sha2::Digest as _;
    let hash = sha2::Sha512::digest(&pushed.bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Pushed {
        digest: format!("sha512:{hex}"),
        ..pushed.clone()
    }
}

/// oras still speaks the artifact manifest, though it no longer makes one.
#[tokio::test]
async fn oras_pulls_and_copies_an_artifact_manifest() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let (tools, through) = (Tools::new(), refshim.endpoint());
        let image = through.push_image("app", "v1", "image").await;
        through.push_blob("app", CONTENT).await;
        let mut blob = content();
        blob["annotations"] = json!({"org.opencontainers.image.title": "content.txt"});
        let manifest = json!({
            "mediaType": OCI_ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [blob], "subject": image.descriptor(),
        });
        tools.file("manifest.json", manifest.to_string());
        let name = through.image("app", "sbom");
        let push = [
            "manifest",
            "push",
            "--plain-http",
            "--media-type",
            OCI_ARTIFACT_MANIFEST,
        ];
        tools.oras(&[&push[..], &[&name, "manifest.json"]].concat()).await.ok();

        let discover = [
            "discover",
            "--plain-http",
            "--format",
            "json",
            &through.image("app", "v1"),
        ];
        let found: Value = serde_json::from_str(&tools.oras(&discover).await.ok()).unwrap();
        assert_eq!(found["referrers"][0]["artifactType"], SBOM, "{program:?}");
        assert_eq!(found["referrers"][0]["mediaType"], OCI_ARTIFACT_MANIFEST, "{program:?}");
        let fetched = tools.oras(&["manifest", "fetch", "--plain-http", &name]).await.ok();
        assert_eq!(fetched.trim(), manifest.to_string(), "{program:?}");
        tools
            .oras(&["pull", "--plain-http", &name, "--output", "pulled"])
            .await
            .ok();
        assert_eq!(
            std::fs::read(tools.folder().join("pulled/content.txt")).unwrap(),
            CONTENT
        );
        let (source, copy) = (through.image("app", "v1"), through.image("copy", "v1"));
        let plain = ["copy", "-r", "--from-plain-http", "--to-plain-http"];
        tools.oras(&[&plain[..], &[&source, &copy]].concat()).await.ok();
        let copied = through.referrers("copy", &image.digest).await;
        assert_eq!(copied[0]["mediaType"], OCI_ARTIFACT_MANIFEST, "{program:?}: {copied:?}");
        let path = format!("/v2/copy/blobs/{}", content()["digest"].as_str().unwrap());
        assert_eq!(through.get(&path).await.expect_status(200).body, CONTENT);
    }
}

/// What stands before a registry may strip the digest header, or compress whatever the client takes compressed.
#[tokio::test]
async fn a_sealed_tag_is_opened_whatever_stands_before_the_registry() {
    for is_header_gone in [true, false] {
        let fake = Fake::start(Knobs::default()).await;
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let through = refshim.endpoint();
        through.push_blob("app", CONTENT).await;
        let image = through.push_image("app", "v1", "image").await;
        let (_, sealed) = kinds(&image, "artifact").remove(0);
        through.put_bytes("app", "sealed", &sealed).await.expect_status(201);
        if is_header_gone {
            fake.trouble(Trouble::WithoutHeader("docker-content-digest"), |_| true);
        }
        let compressed = Trouble::answer(
            200,
            &[("content-type", IMAGE), ("content-encoding", "gzip")],
            "what nobody asked for",
        );
        fake.trouble(compressed, |seen| {
            let encodings = seen.headers.get("accept-encoding");
            seen.path.contains("/manifests/") && encodings.is_none_or(|encodings| encodings != "identity")
        });
        let cold = Refshim::in_front_of(&fake.url()).await;
        for endpoint in [&through, &cold.endpoint()] {
            for (reference, is_tag) in [("sealed", true), (&*sealed.digest, false)] {
                let path = format!("/v2/app/manifests/{reference}");
                let asked = [("accept", &*sealed.media_type), ("accept-encoding", "gzip")];
                for method in [http::Method::GET, http::Method::HEAD] {
                    let reply = endpoint
                        .send(method.clone(), &path, &asked, "")
                        .await
                        .expect_status(200);
                    let length = sealed.size().to_string();
                    assert_eq!(
                        reply.header("docker-content-digest"),
                        Some(&*sealed.digest),
                        "{method} {is_tag}"
                    );
                    assert_eq!(
                        reply.header("content-type"),
                        Some(&*sealed.media_type),
                        "{method} {is_tag}"
                    );
                    assert_eq!(reply.header("content-length"), Some(&*length), "{method} {is_tag}");
                    assert!(method == http::Method::HEAD || reply.body == sealed.bytes);
                }
            }
        }
    }
}

/// The envelope is what the registry has: when that is gone, so is what was in it.
#[tokio::test]
async fn what_was_sealed_is_there_as_long_as_its_envelope() {
    let fake = Fake::start(Knobs::default()).await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .start()
        .await;
    let through = refshim.endpoint();
    through.push_blob("app", CONTENT).await;
    let image = through.push_image("app", "v1", "image").await;
    let (_, sealed) = kinds(&image, "artifact").remove(0);
    through.put_bytes("app", "sealed", &sealed).await.expect_status(201);
    let path = format!("/v2/app/manifests/{}", sealed.digest);
    for _ in 0..2 {
        reads(&through, &sealed.digest, &sealed, "while the envelope is there").await;
    }
    let envelope = fake.endpoint().manifest("app", "sealed").await.expect_status(200);
    let envelope = refshim::testing::oci::Digest::sha256(&envelope.body);
    let deleted = fake.endpoint().delete(&format!("/v2/app/manifests/{envelope}")).await;
    deleted.expect_status(202);
    for api in [path, format!("/v3/app/objects/{}", sealed.digest)] {
        let reply = through.get_with(&api, &[("accept", &*sealed.media_type)]).await;
        assert!(matches!(reply.status, 404 | 500), "{api}: {reply:?}");
    }
}

/// For clients that fall back to a form of their own: they see the registry's refusal, and nothing is stored in the manifest's place.
#[tokio::test]
async fn without_envelopes_the_registrys_refusal_is_relayed() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::builder(&registry.url())
            .env("REFSHIM_WRITING__ENVELOPES", "false")
            .start()
            .await;
        let (through, straight) = (refshim.endpoint(), registry.endpoint());
        through.push_blob("app", CONTENT).await;
        let image = through.push_image("app", "v1", "image").await;
        let mut refusals = 0;
        for (kind, pushed) in kinds(&image, "artifact") {
            let own = straight.put_bytes("app", "", &pushed).await;
            let relayed = through.put_bytes("app", "", &pushed).await;
            assert_eq!(relayed.status, own.status, "{kind}: {relayed:?}");
            if own.status != 201 {
                refusals += 1;
                assert_eq!(relayed.error_code(), own.error_code(), "{kind}");
                through.manifest("app", &pushed.digest).await.expect_status(404);
            }
        }
        assert!(refusals > 0);
        let tags = straight.get("/v2/app/tags/list").await.text();
        assert!(!tags.contains("envelope"), "{tags}");
    }
}
