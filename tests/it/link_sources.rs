//! Every way in which a link was ever written down is read: one test each, on both registries.

use crate::support::content::{
    ATTESTATION, BUILDKIT, IMAGE, INDEX, SBOM, SIGNATURE, artifact, bare_image, empty_descriptor, index,
};
use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Refshim, Registry};
use bytes::Bytes;
use refshim::testing::oci::media_type::{OCI_ARTIFACT_MANIFEST, OCI_NODE, ORAS_ARTIFACT_MANIFEST};
use refshim::testing::oci::{Descriptor, Digest, Manifest, envelope};
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// Writes links to a subject in both registries; exactly the returned referrers must be listed, and nothing for another
/// image beside it.
async fn exactly(write: impl AsyncFn(&Endpoint, &Pushed) -> Vec<Pushed>) {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let image = registry.endpoint().push_image("app", "v1", "image").await;
        let other = registry.endpoint().push_image("app", "v2", "other").await;
        let written = write(&registry.endpoint(), &image).await;
        let mut listed = refshim.endpoint().referrers("app", &image.digest).await;
        let mut expected: Vec<Pushed> = written.iter().map(|referrer| form(referrer, &image, &listed)).collect();
        expected.sort_by(|a, b| a.digest.cmp(&b.digest));
        listed.sort_by_key(|d| d["digest"].to_string());
        let what_is_it = |d: &Value| json!([d["mediaType"], d["digest"], d["size"]]);
        let listed: Vec<Value> = listed.iter().map(what_is_it).collect();
        let expected: Vec<Value> = expected.iter().map(|p| what_is_it(&p.descriptor())).collect();
        assert_eq!(listed, expected, "{program:?}");
        let beside = refshim.endpoint().referrers("app", &other.digest).await;
        assert_eq!(beside, [] as [Value; 0], "{program:?}");
    }
}

/// The form in which `referrer` is listed: with a subject, and of whatever type its link gives it.
fn form(referrer: &Pushed, image: &Pushed, listed: &[Value]) -> Pushed {
    let types = [None, Some(SIGNATURE), Some(ATTESTATION), Some(SBOM), Some(BUILDKIT)];
    let mut forms = types.map(|named| referrer.listed(image, named)).into_iter();
    let is_listed = |form: &Pushed| listed.iter().any(|entry| entry["digest"] == *form.digest);
    forms
        .find(is_listed)
        .unwrap_or_else(|| panic!("{referrer:?} in {listed:?}"))
}

/// A manifest that names no subject.
async fn plain(registry: &Endpoint, name: &str) -> Pushed {
    registry.put_manifest("app", "", IMAGE, &bare_image(name)).await
}

#[tokio::test]
async fn proposal_d_tag() {
    exactly(async |registry, image| {
        let short = plain(registry, "short hash").await;
        registry
            .put_tag(
                "app",
                &format!("sha256-{}.{}.sbom", image.hex(), &short.hex()[..4]),
                &short,
            )
            .await;
        let dotted = plain(registry, "a type with dots and dashes").await;
        registry
            .put_tag("app", &dotted.proposal_d_tag(image, "x.y-z.v1"), &dotted)
            .await;
        let longest = plain(registry, "128 characters").await;
        registry
            .put_tag("app", &longest.proposal_d_tag(image, &"t".repeat(39)), &longest)
            .await;
        vec![short, dotted, longest]
    })
    .await;
}

#[tokio::test]
async fn proposal_d_tag_on_an_index_that_holds_annotated_entries() {
    exactly(async |registry, image| {
        let sbom = plain(registry, "sbom").await;
        let unrelated = plain(registry, "unrelated").await;
        let mut entry = sbom.annotated(json!({
            "org.opencontainers.reference": image.digest,
            "org.opencontainers.reference.type": "sbom",
        }));
        entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        let holder = Pushed::of(INDEX, &index([image.descriptor(), unrelated.descriptor(), entry]));
        registry
            .put_tag("app", &holder.proposal_d_tag(image, "sbom"), &holder)
            .await;
        vec![sbom]
    })
    .await;
}

#[tokio::test]
async fn proposal_d_annotation_in_an_index() {
    exactly(async |registry, image| {
        let sbom = plain(registry, "sbom").await;
        let entry = sbom.annotated(json!({"org.opencontainers.reference": image.digest}));
        registry
            .put_manifest("app", "multi", INDEX, &index([image.descriptor(), entry]))
            .await;
        vec![sbom]
    })
    .await;
}

#[tokio::test]
async fn proposal_d_annotation_on_the_manifest_itself() {
    exactly(async |registry, image| {
        let mut manifest = bare_image("annotated");
        manifest["annotations"]["org.opencontainers.reference"] = image.digest.as_str().into();
        vec![registry.put_manifest("app", "sbom-of-v1", IMAGE, &manifest).await]
    })
    .await;
}

#[tokio::test]
async fn proposal_f_annotation_in_an_index_and_in_one_inside_it() {
    exactly(async |registry, image| {
        let (near, far) = (plain(registry, "near").await, plain(registry, "far").await);
        let entry = |of: &Pushed| {
            of.annotated(json!({
                "org.opencontainers.reference.digest": image.digest,
                "org.opencontainers.reference.type": "sbom",
                "org.opencontainers.reference.description": "what is in it",
            }))
        };
        let inner = registry.put_manifest("app", "", INDEX, &index([entry(&far)])).await;
        registry
            .put_manifest("app", "multi", INDEX, &index([entry(&near), inner.descriptor()]))
            .await;
        vec![near, far]
    })
    .await;
}

#[tokio::test]
async fn cosign_tags() {
    exactly(async |registry, image| {
        let mut referrers = Vec::new();
        for suffix in ["sig", "att", "sbom"] {
            let pushed = plain(registry, suffix).await;
            registry
                .put_tag("app", &format!("sha256-{}.{suffix}", image.hex()), &pushed)
                .await;
            referrers.push(pushed);
        }
        referrers
    })
    .await;
}

#[tokio::test]
async fn cosign_tag_on_an_index_means_each_of_its_manifests() {
    exactly(async |registry, image| {
        let (one, two) = (plain(registry, "one").await, plain(registry, "two").await);
        let tag = format!("sha256-{}.sig", image.hex());
        registry
            .put_manifest("app", &tag, INDEX, &index([one.descriptor(), two.descriptor()]))
            .await;
        vec![one, two]
    })
    .await;
}

/// Their config says "runnable image"; clients that filter by type must not see that.
#[tokio::test]
async fn cosign_tags_are_typed_by_their_suffix() {
    let registry = Registry::v2().await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let mut manifest = bare_image("signature");
    manifest["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    let tag = format!("sha256-{}.sig", image.hex());
    straight.put_manifest("app", &tag, IMAGE, &manifest).await;
    let listed = refshim.endpoint().referrers("app", &image.digest).await;
    assert_eq!(
        listed[0]["artifactType"],
        "application/vnd.dev.cosign.artifact.sig.v1+json"
    );
}

#[tokio::test]
async fn referrers_tag() {
    exactly(async |registry, image| {
        let named = registry.push_artifact("app", image, TYPE, "names its subject").await;
        let listed_only = plain(registry, "listed only").await;
        let stored = index([named.descriptor(), listed_only.descriptor()]);
        registry
            .put_manifest("app", &image.referrers_tag(), INDEX, &stored)
            .await;
        vec![named, listed_only]
    })
    .await;
}

#[tokio::test]
async fn subject_of_an_image_and_of_an_index_behind_ordinary_tags() {
    exactly(async |registry, image| {
        let manifest = artifact(image, TYPE, "image");
        let as_image = registry.put_manifest("app", "sbom-of-v1", IMAGE, &manifest).await;
        let mut holder = index([]);
        holder["subject"] = image.descriptor();
        let as_index = registry.put_manifest("app", "bundle-of-v1", INDEX, &holder).await;
        vec![as_image, as_index]
    })
    .await;
}

#[tokio::test]
async fn proposal_e_refers() {
    exactly(async |registry, image| {
        let mut manifest = bare_image("refers");
        manifest["refers"] = image.descriptor();
        vec![registry.put_manifest("app", "sbom-of-v1", IMAGE, &manifest).await]
    })
    .await;
}

#[tokio::test]
async fn proposal_b_reference_on_a_manifest_and_on_a_listed_one() {
    exactly(async |registry, image| {
        let mut manifest = bare_image("reference");
        manifest["reference"] = image.descriptor();
        let own = registry.put_manifest("app", "sbom-of-v1", IMAGE, &manifest).await;
        let listed = plain(registry, "listed").await;
        let mut entry = listed.descriptor();
        entry["reference"] = image.descriptor();
        registry.put_manifest("app", "multi", INDEX, &index([entry])).await;
        vec![own, listed]
    })
    .await;
}

#[tokio::test]
async fn proposal_b_reference_on_a_layer() {
    exactly(async |registry, image| {
        let content = json!({"signed": "yes"});
        let blob = Pushed::of("application/vnd.acme.signature", &content);
        registry.push_blob("app", blob.bytes.clone()).await;
        let mut layer = blob.descriptor();
        layer["reference"] = image.descriptor();
        let mut manifest = bare_image("holds a signature");
        manifest["layers"] = json!([layer]);
        registry.put_manifest("app", "signatures", IMAGE, &manifest).await;
        vec![blob]
    })
    .await;
}

#[tokio::test]
async fn buildkit_attestation() {
    exactly(async |registry, image| {
        let attestation = plain(registry, "attestation").await;
        let mut entry = attestation.annotated(json!({
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.digest,
        }));
        entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
        registry
            .put_manifest("app", "multi", INDEX, &index([image.descriptor(), entry]))
            .await;
        vec![attestation]
    })
    .await;
}

/// Stores what the registry refuses as refshim does (and another replica may have done): sealed in a plain image.
async fn sealed(registry: &Endpoint, image: &Pushed, media_type: &str, manifest: Value) -> Pushed {
    let original = Pushed::of(media_type, &manifest);
    registry.push_blob("app", original.bytes.clone()).await;
    registry.push_blob("app", Bytes::from_static(envelope::CONFIG)).await;
    let digest = Digest::parse(&original.digest).unwrap();
    let parsed = Manifest::parse(&original.bytes, media_type).unwrap();
    let bytes = envelope::seal(
        &Descriptor::new(media_type.to_owned(), digest, original.size() as u64),
        &parsed,
    );
    let sealed = Pushed::of(IMAGE, &serde_json::from_slice(&bytes).unwrap());
    registry
        .put_tag("app", &original.proposal_d_tag(image, "sbom"), &sealed)
        .await;
    original
}

#[tokio::test]
async fn proposal_a_and_oras_artifact_manifests_in_envelopes() {
    exactly(async |registry, image| {
        let mut referrers = Vec::new();
        for media_type in [OCI_ARTIFACT_MANIFEST, ORAS_ARTIFACT_MANIFEST] {
            let manifest = json!({
                "mediaType": media_type,
                "artifactType": TYPE,
                "blobs": [empty_descriptor()],
                "subject": image.descriptor(),
            });
            referrers.push(sealed(registry, image, media_type, manifest).await);
        }
        referrers
    })
    .await;
}

#[tokio::test]
async fn proposal_c_nodes_in_envelopes() {
    exactly(async |registry, image| {
        let node = json!({
            "schemaVersion": 3,
            "mediaType": OCI_NODE,
            "description": "an sbom",
            "objects": [empty_descriptor()],
            "reference": image.descriptor(),
        });
        vec![sealed(registry, image, OCI_NODE, node).await]
    })
    .await;
}

/// An upstream that has the API itself is asked too; what only it knows is listed.
#[tokio::test]
async fn native() {
    let registry = Registry::v3().await;
    let proxy = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = Refshim::in_front_of(proxy.url()).await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight.push_artifact("app", &image, TYPE, "sbom").await;
    let own = index([sbom.descriptor()]).to_string();
    proxy.fail(Fault::answer(200, &[("content-type", INDEX)], &own), |seen| {
        seen.path.contains("/referrers/")
    });
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        [sbom.digest]
    );
}

/// What some registries answer on `/referrers` is a page or a redirect to one: no API, and no failure either.
#[tokio::test]
async fn what_is_not_really_native_is_not_believed() {
    let setup = async |answer: Fault| {
        let registry = Registry::v2().await;
        let proxy = CountingProxy::in_front_of(&registry.url()).await;
        let refshim = Refshim::in_front_of(proxy.url()).await;
        let straight = registry.endpoint();
        let image = straight.push_image("app", "v1", "image").await;
        let sbom = straight.attach("app", &image, TYPE, "sbom").await;
        proxy.fail(answer, |seen| seen.path.contains("/referrers/"));
        let reply = refshim.endpoint().referrers_reply("app", &image.digest).await;
        (reply, sbom)
    };
    // No sign of an API, and no sign of a missing one.
    for answer in [
        Fault::answer(200, &[("content-type", "text/html")], "<html>Sign in</html>"),
        Fault::answer(200, &[("content-type", "application/json")], "{}"),
    ] {
        setup(answer).await.0.expect_status(502);
    }
    for answer in [
        Fault::answer(303, &[("location", "http://127.0.0.2:9/login")], ""),
        Fault::answer(404, &[("content-type", "text/plain")], "404 page not found"),
    ] {
        let (reply, sbom) = setup(answer).await;
        assert_eq!(reply.expect_status(200).json()["manifests"][0]["digest"], *sbom.digest);
    }
}
