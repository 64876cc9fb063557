//! Promise: what stands behind ordinary tags is found, nobody's list fails because of it, and registries that count pulls are
//! spared.

use http::Method;
use serde_json::{Value, json};

use super::counted;
use crate::support::content::{ANY, BUILDKIT, IMAGE, INDEX, artifact, bare_image, empty_descriptor, index};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{CountingProxy, Endpoint, Pushed, Refshim, Registry, Reply, Seen};

pub(super) const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const FAILS: (u16, &str, &str) = (500, "UNKNOWN", "unknown error");

/// Every question is a refresh, and nothing stale is served.
pub(super) async fn refreshing(upstream: &str, more: &[(&str, &str)]) -> Refshim {
    let mut builder = Refshim::builder(upstream)
        .env("REFSHIM_CACHE__FRESH_FOR", "0s")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .env("REFSHIM_CACHE__STALE_IF_ERROR", "0s");
    for (name, value) in more {
        builder = builder.env(name, value);
    }
    builder.start().await
}

/// BuildKit's attestation of an image, in an index with it, as it is listed.
fn attested(fake: &Fake, tag: &str, name: &str) -> (Pushed, Pushed) {
    let image = fake.image("app", "", &format!("image {name}"));
    let attestation = fake.image("app", "", &format!("attestation {name}"));
    let annotations = json!({"vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.digest});
    let both = index([image.descriptor(), attestation.annotated(annotations)]);
    fake.put("app", tag, INDEX, &both);
    let adopted = attestation.adopted(&image, Some(BUILDKIT));
    (image, adopted)
}

async fn head(endpoint: &Endpoint, tag: &str) -> Reply {
    let accept = [("accept", ANY)];
    let path = format!("/v2/app/manifests/{tag}");
    endpoint.send(Method::HEAD, &path, &accept, "").await
}

fn of_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

fn pulls(fake: &Fake) -> usize {
    fake.count(|seen| of_manifest(seen) && seen.method == Method::GET)
}

/// The layers of a BuildKit cache: blobs that an index lists where others have manifests.
fn cache_layers() -> Vec<(String, Value)> {
    let types = [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        "application/vnd.buildkit.cacheconfig.v0",
        "",
    ];
    let layers = types.into_iter().enumerate().map(|(number, media_type)| {
        let bytes = format!("layer {number}");
        let digest = refshim::testing::oci::Digest::sha256(bytes.as_bytes()).to_string();
        let listed = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
        (bytes, listed)
    });
    layers.collect()
}

fn is_of_cache(seen: &Seen) -> bool {
    let layers = cache_layers();
    let mut digests = layers.iter().filter_map(|(_, listed)| listed["digest"].as_str());
    of_manifest(seen) && digests.any(|digest| seen.path.contains(digest))
}

/// docker/buildx: `--cache-to type=registry` writes an index of layers. Distribution 2.8 fails (500) where it is asked for
/// them as manifests.
#[tokio::test]
async fn a_build_cache_is_an_index_of_layers_and_not_of_manifests() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = refreshing(link.url(), &[]).await;
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight.attach("app", &image, SBOM, "sbom").await;
    let mut listed = Vec::new();
    for (bytes, layer) in cache_layers() {
        straight.push_blob("app", bytes).await;
        listed.push(layer);
    }
    straight.put_manifest("app", "buildcache", INDEX, &index(listed)).await;
    for _ in 0..2 {
        let found = refshim.endpoint().referrer_digests("app", &image.digest).await;
        assert_eq!(found, std::slice::from_ref(&sbom.digest));
    }
    assert_eq!(link.count(is_of_cache), 0);
}

/// Registries that say 404 of a layer that they are asked for as a manifest are asked as little.
#[tokio::test]
async fn a_build_cache_costs_a_refresh_nothing() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    let layers = cache_layers().into_iter().map(|(_, listed)| listed);
    fake.put("app", "buildcache", INDEX, &index(layers));
    let refshim = refreshing(&fake.url(), &[]).await;
    for _ in 0..2 {
        fake.take();
        let found = refshim.endpoint().referrer_digests("app", &image.digest).await;
        assert_eq!(found, std::slice::from_ref(&sbom.digest));
        assert_eq!(fake.count(is_of_cache), 0);
    }
    let cost = fake.take();
    assert!(cost.len() <= 2, "{cost:?}");
}

#[tokio::test]
async fn a_tag_that_the_registry_fails_at_is_left_out_alone() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    fake.image("app", "broken", "broken");
    let lost = fake.artifact("app", "", &image, SBOM, "lost");
    let mut listed = lost.descriptor();
    listed["artifactType"] = SBOM.into();
    fake.put("app", "half", INDEX, &index([listed]));
    let path = format!("/v2/app/manifests/{}", lost.digest);
    fake.trouble(Trouble::oci(FAILS.0, FAILS.1, FAILS.2), move |seen| {
        seen.path.ends_with("/broken") || seen.path == path
    });
    let refshim = Refshim::in_front_of(&fake.url()).await;
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        [sbom.digest]
    );
    assert_eq!(counted(&refshim, "refshim_depth_cuts_total").await, 2.0);
}

#[tokio::test]
async fn what_was_known_of_a_tag_that_fails_now_stays() {
    let fake = Fake::start(Knobs::default()).await;
    let (image, attestation) = attested(&fake, "latest", "one");
    let refshim = refreshing(&fake.url(), &[("REFSHIM_LINKS__DEEP_REFRESH", "0s")]).await;
    for fails in [false, true] {
        if fails {
            fake.trouble(Trouble::oci(FAILS.0, FAILS.1, FAILS.2), |seen| {
                seen.path.ends_with("/latest")
            });
        }
        let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
        assert_eq!(listed, std::slice::from_ref(&attestation.digest), "fails: {fails}");
    }
}

#[tokio::test]
async fn one_question_is_few_pulls_where_pulls_are_counted() {
    for (depth, few) in [("auto", true), ("names", true), ("manifests", false)] {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
        for number in 0..50 {
            fake.image("app", &format!("t{number}"), &format!("image {number}"));
        }
        fake.trouble(Trouble::header("ratelimit-limit", "100;w=21600"), of_manifest);
        let refshim = refreshing(&fake.url(), &[("REFSHIM_LINKS__DEPTH", depth)]).await;
        for _ in 0..3 {
            let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
            assert_eq!(listed, std::slice::from_ref(&sbom.digest), "{depth}");
        }
        assert_eq!(pulls(&fake) <= 2, few, "{depth}: {} pulls", pulls(&fake));
    }
}

#[tokio::test]
async fn a_registry_that_begins_to_count_pulls_makes_nothing_forgotten() {
    let fake = Fake::start(Knobs::default()).await;
    let (image, attestation) = attested(&fake, "latest", "one");
    let (next, _) = attested(&fake, "next", "two");
    let refshim = refreshing(&fake.url(), &[("REFSHIM_LINKS__DEEP_REFRESH", "0s")]).await;
    let through = refshim.endpoint();
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&attestation.digest)
    );
    assert_eq!(through.referrers("app", &next.digest).await.len(), 1);
    fake.trouble(Trouble::header("ratelimit-limit", "100;w=21600"), of_manifest);
    head(&through, "next").await.expect_status(200);
    let before = pulls(&fake);
    // Also where the tag says nothing of it any more.
    attested(&fake, "latest", "three");
    for _ in 0..2 {
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            std::slice::from_ref(&attestation.digest)
        );
    }
    assert_eq!(through.referrers("app", &next.digest).await.len(), 1);
    assert_eq!(pulls(&fake), before);
    assert!(counted(&refshim, "refshim_scans_by_names_total").await >= 3.0);
}

#[tokio::test]
async fn a_none_for_an_unknown_digest_asks_where_tags_point_now() {
    let fake = Fake::start(Knobs::default()).await;
    let (image, attestation) = attested(&fake, "latest", "one");
    fake.image("app", "v1", "other");
    let refshim = refreshing(&fake.url(), &[]).await;
    let through = refshim.endpoint();
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        [attestation.digest]
    );
    let (moved, attestation) = attested(&fake, "latest", "two");
    assert_eq!(
        through.referrer_digests("app", &moved.digest).await,
        [attestation.digest]
    );
    // A digest that a known manifest mentions, and one that nothing has: no tag is asked again for these.
    fake.take();
    let zero = format!("sha256:{}", "0".repeat(64));
    for digest in [&moved.digest, &zero] {
        through.referrers("app", digest).await;
    }
    let asked = fake.count(|seen| seen.path.ends_with("/latest") || seen.path.ends_with("/v1"));
    assert_eq!(asked, 0);
}

#[tokio::test]
async fn a_head_that_passes_through_shows_that_a_tag_moved() {
    let fake = Fake::start(Knobs::default()).await;
    attested(&fake, "latest", "one");
    let image = fake.image("app", "", "image two");
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_CACHE__FRESH_FOR", "1h")
        .start()
        .await;
    let through = refshim.endpoint();
    assert_eq!(through.referrers("app", &image.digest).await, [] as [Value; 0]);
    let (_, attestation) = attested(&fake, "latest", "two");
    head(&through, "latest").await.expect_status(200);
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        [attestation.digest]
    );
}

#[tokio::test]
async fn a_repository_that_outgrows_deep_limit_forgets_no_link() {
    let fake = Fake::start(Knobs::default()).await;
    let (image, attestation) = attested(&fake, "latest", "one");
    let (other, other_attestation) = attested(&fake, "stable", "other");
    let limits = [
        ("REFSHIM_LINKS__DEEP_LIMIT", "5"),
        ("REFSHIM_LINKS__DEEP_REFRESH", "0s"),
    ];
    let refshim = refreshing(&fake.url(), &limits).await;
    let through = refshim.endpoint();
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&attestation.digest)
    );
    for number in 0..6 {
        fake.image("app", &format!("junk{number}"), &format!("junk {number}"));
    }
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        [attestation.digest]
    );
    let junk = fake.count(|seen| of_manifest(seen) && seen.path.contains("/junk"));
    assert_eq!(junk, 0, "no other tag is read");
    // A tag that is known to have links is followed, and forgotten when it is gone.
    let (moved, attestation) = attested(&fake, "latest", "two");
    assert_eq!(
        through.referrer_digests("app", &moved.digest).await,
        [attestation.digest]
    );
    assert_eq!(
        through.referrer_digests("app", &other.digest).await,
        [other_attestation.digest]
    );
    let index = fake.endpoint().manifest("app", "stable").await;
    let index = index.header("docker-content-digest").unwrap().to_owned();
    fake.endpoint().delete(&format!("/v2/app/manifests/{index}")).await;
    assert_eq!(through.referrers("app", &other.digest).await, [] as [Value; 0]);
}

#[tokio::test]
async fn every_artifact_of_a_large_index_is_listed() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let mut artifacts = Vec::new();
    for number in 0..300 {
        let pushed = fake.artifact("app", "", &image, SBOM, &number.to_string());
        let mut listed = pushed.descriptor();
        listed["artifactType"] = SBOM.into();
        artifacts.push(listed);
    }
    fake.put("app", "all", INDEX, &index(artifacts));
    let refshim = Refshim::in_front_of(&fake.url()).await;
    assert_eq!(refshim.endpoint().referrers("app", &image.digest).await.len(), 300);
}

/// A digest by a registered algorithm other than sha256.
fn blake3(manifest: &Value) -> Pushed {
    let mut pushed = Pushed::of(IMAGE, manifest);
    pushed.digest = format!(
        "blake3:{}",
        refshim::testing::oci::Digest::encoded_by_all(&pushed.bytes)[3]
    );
    pushed
}

#[tokio::test]
async fn blake3_is_read_and_pushed() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let listed = blake3(&artifact(&image, SBOM, "listed"));
    fake.put_pushed("app", "", &listed);
    fake.put("app", &image.referrers_tag(), INDEX, &index([listed.descriptor()]));
    let through = refshim.endpoint();
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&listed.digest)
    );
    let pushed = blake3(&artifact(&image, SBOM, "pushed"));
    let reply = through.put_bytes("app", "", &pushed).await.expect_status(201);
    assert_eq!(reply.header("oci-subject"), Some(image.digest.as_str()));
    let found = through.referrer_digests("app", &image.digest).await;
    assert!(
        found.contains(&pushed.digest) && found.contains(&listed.digest),
        "{found:?}"
    );
}

/// Whoever pushes a referrer by an algorithm that nobody here computes neither hides it nor blocks the image.
#[tokio::test]
async fn an_unknown_algorithm_is_listed_as_the_registry_gives_it() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
    let strange = format!("blake2b:{}", "ab".repeat(64));
    let entry = json!({"mediaType": IMAGE, "digest": strange, "size": 7, "artifactType": SBOM,
        "annotations": {"org.acme": "yes"}});
    fake.put(
        "app",
        &image.referrers_tag(),
        INDEX,
        &index([sbom.descriptor(), entry.clone()]),
    );
    let refshim = refreshing(&fake.url(), &[]).await;
    let through = refshim.endpoint();
    let path = format!("/v2/app/manifests/{strange}");
    let asks = {
        let path = path.clone();
        move |seen: &Seen| seen.path == path
    };
    let head = [
        ("content-type", IMAGE),
        ("docker-content-digest", strange.as_str()),
        ("content-length", "7"),
    ];
    fake.trouble(Trouble::answer(200, &head, "1234567"), asks.clone());
    for _ in 0..2 {
        fake.take();
        let listed = through.referrers("app", &image.digest).await;
        assert!(listed.len() == 2 && listed.contains(&entry), "{listed:?}");
        assert_eq!(fake.count(asks.clone()), 1, "it is never cached");
    }
    for answer in [
        Trouble::oci(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        Trouble::oci(400, "DIGEST_INVALID", "unsupported digest algorithm"),
    ] {
        fake.heal();
        fake.trouble(answer, asks.clone());
        assert_eq!(
            through.referrer_digests("app", &image.digest).await,
            std::slice::from_ref(&sbom.digest)
        );
    }
    // Distribution 2.8 says 500 of what it does not understand; a gateway's 502 says nothing.
    fake.heal();
    fake.trouble(Trouble::oci(FAILS.0, FAILS.1, FAILS.2), asks.clone());
    let listed = through.referrers("app", &image.digest).await;
    assert!(listed.len() == 2 && listed.contains(&entry), "{listed:?}");
    fake.heal();
    fake.trouble(Trouble::html(502), asks);
    let reply = through.referrers_reply("app", &image.digest).await;
    assert!(reply.status >= 500, "{}", reply.status);
}

#[tokio::test]
async fn an_image_in_no_index_is_its_own_and_has_none() {
    let fake = Fake::start(Knobs::default()).await;
    fake.blob("app", "{}");
    let image = fake.put("app", "v1", IMAGE, &bare_image("image"));
    fake.put(
        "app",
        "untyped",
        INDEX,
        &index([json!({"digest": image.digest}), empty_descriptor()]),
    );
    let refshim = Refshim::in_front_of(&fake.url()).await;
    assert_eq!(
        refshim.endpoint().referrers("app", &image.digest).await,
        [] as [Value; 0]
    );
}

/// Only what is for a platform to run on is taken for an image without links.
#[tokio::test]
async fn an_artifact_in_an_index_needs_no_artifact_type_there() {
    let platforms = [
        (None, true),
        (Some(json!({"os": "unknown", "architecture": "unknown"})), true),
        (Some(json!({"os": "linux", "architecture": "arm64"})), false),
    ];
    for (platform, is_read) in platforms {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
        let mut listed = sbom.descriptor();
        if let Some(platform) = &platform {
            listed["platform"] = platform.clone();
        }
        fake.put("app", "bundle", INDEX, &index([listed]));
        let refshim = Refshim::in_front_of(&fake.url()).await;
        let found = refshim.endpoint().referrer_digests("app", &image.digest).await;
        assert_eq!(found.contains(&sbom.digest), is_read, "{platform:?}");
        let asked = fake.count(|seen| seen.path.ends_with(&sbom.digest));
        assert_eq!(asked > 0, is_read, "{platform:?}");
    }
}
