//! Promise: every entry names its subject. What is linked to an image without `subject` is listed in a form that has it, which every
//! OCI 1.1 client reads, pulls and copies as a referrer; and nothing is hidden, made up, or believed without the registry's word.

mod deleting;
mod limits;
mod replicas;
mod rights;
mod searching;

use serde_json::{Value, json};

use crate::support::content::{BUILDKIT, IMAGE, INDEX, SIGNATURE, bare_image, index};
use crate::support::{CountingProxy, Endpoint, Local, Program, Pushed, Refshim, Registry};

/// A registry with an image that cosign signed by tag.
struct Signed {
    registry: Registry,
    straight: Endpoint,
    image: Pushed,
    signature: Pushed,
}

impl Signed {
    async fn new(program: Program) -> Self {
        let registry = Registry::start(program).await;
        let straight = registry.endpoint();
        let image = straight.push_image("app", "v1", "image").await;
        let signature = sign(&straight, &image).await;
        Self {
            registry,
            straight,
            image,
            signature,
        }
    }

    fn adopted(&self) -> Pushed {
        self.signature.adopted(&self.image, Some(SIGNATURE))
    }
}

async fn sign(straight: &Endpoint, image: &Pushed) -> Pushed {
    let tag = format!("{}.sig", image.referrers_tag());
    straight
        .put_manifest("app", &tag, IMAGE, &bare_image("signature"))
        .await
}

/// What an entry says, and what is found by it.
async fn is_listed_and_given(through: &Endpoint, image: &Pushed, expected: &Pushed, artifact_type: &str) {
    let listed = through.referrers("app", &image.digest).await;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let essentials = |entry: &Value| json!([entry["mediaType"], entry["digest"], entry["size"]]);
    assert_eq!(essentials(&listed[0]), essentials(&expected.descriptor()));
    assert_eq!(listed[0]["artifactType"], artifact_type);
    let path = format!("/v2/app/manifests/{}", expected.digest);
    let got = through.manifest("app", &expected.digest).await.expect_status(200);
    assert_eq!(got.body, expected.bytes);
    let head = through.head(&path).await.expect_status(200);
    for reply in [&got, &head] {
        assert_eq!(reply.header("docker-content-digest"), Some(expected.digest.as_str()));
        assert_eq!(reply.header("content-type"), Some(expected.media_type.as_str()));
        assert_eq!(
            reply.header("content-length"),
            Some(expected.size().to_string().as_str())
        );
    }
    let manifest = got.json();
    assert_eq!(manifest["subject"], image.descriptor());
    for (key, value) in listed[0]["annotations"].as_object().into_iter().flatten() {
        assert_eq!(&manifest["annotations"][key], value);
    }
}

#[tokio::test]
async fn a_signature_of_cosigns_tags_names_its_subject() {
    for program in Program::ALL {
        let signed = Signed::new(program).await;
        let refshim = Refshim::in_front_of(&signed.registry.url()).await;
        let through = refshim.endpoint();
        is_listed_and_given(&through, &signed.image, &signed.adopted(), SIGNATURE).await;
        // The original is there as before.
        let tag = format!("{}.sig", signed.image.referrers_tag());
        for reference in [&tag, &signed.signature.digest] {
            let got = through.manifest("app", reference).await.expect_status(200);
            assert_eq!(got.body, signed.signature.bytes, "{reference}");
        }
        // What refers to the adopted form is what refers to the original: nothing.
        let none = through.referrers("app", &signed.adopted().digest).await;
        assert_eq!(none, [] as [Value; 0]);
    }
}

#[tokio::test]
async fn an_attestation_of_buildkit_is_found_by_its_type_and_its_predicate() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "", "image").await;
    let predicate = json!({"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"});
    let statement = Pushed::of("application/vnd.in-toto+json", &json!({"a": "statement"}));
    straight.push_blob("app", statement.bytes.clone()).await;
    let mut manifest = bare_image("");
    manifest["layers"] = json!([statement.annotated(predicate.clone())]);
    manifest["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
    manifest.as_object_mut().unwrap().remove("annotations");
    let attestation = straight.put_manifest("app", "", IMAGE, &manifest).await;
    let mut entry = attestation.annotated(json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
    }));
    entry["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    straight
        .put_manifest("app", "v1", INDEX, &index([image.descriptor(), entry]))
        .await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();

    let filtered = format!("/v2/app/referrers/{}?artifactType={BUILDKIT}", image.digest);
    let listed = through.get(&filtered).await.expect_status(200).json();
    assert_eq!(listed["manifests"][0]["annotations"], predicate, "{listed}");
    let adopted = listed["manifests"][0]["digest"].as_str().unwrap();
    let given = through.manifest("app", adopted).await.expect_status(200).json();
    assert_eq!(given["annotations"], predicate);
    assert_eq!(given["layers"], manifest["layers"]);
    assert_eq!(given["subject"], image.descriptor());
}

/// Clients that list by the referrers tag alone fetch what it names.
#[tokio::test]
async fn the_synthesised_referrers_tag_names_adopted_forms() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "v1", "image").await;
    let sbom = straight.put_manifest("app", "", IMAGE, &bare_image("sbom")).await;
    straight
        .put_tag("app", &sbom.proposal_d_tag(&image, "sbom"), &sbom)
        .await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();
    let stored = through
        .manifest("app", &image.referrers_tag())
        .await
        .expect_status(200)
        .json();
    let adopted = sbom.adopted(&image, Some("application/vnd.dev.cosign.artifact.sbom.v1+json"));
    assert_eq!(stored["manifests"][0]["digest"], *adopted.digest);
    through.manifest("app", &adopted.digest).await.expect_status(200);
}

#[tokio::test]
async fn they_can_be_listed_as_they_are_or_not_at_all() {
    let signed = Signed::new(Program::V2).await;
    let named = signed
        .straight
        .attach("app", &signed.image, "application/vnd.acme", "named")
        .await;
    let with = async |choice: &str| {
        let refshim = Refshim::builder(&signed.registry.url())
            .env("REFSHIM_LINKS__WITHOUT_SUBJECT", choice)
            .start()
            .await;
        let digests = refshim.endpoint().referrer_digests("app", &signed.image.digest).await;
        let given = refshim
            .endpoint()
            .manifest("app", &signed.adopted().digest)
            .await
            .status;
        (digests, given)
    };
    let sorted = |one: &Pushed| {
        let mut digests = vec![one.digest.clone(), named.digest.clone()];
        digests.sort();
        digests
    };
    assert_eq!(with("adopt").await, (sorted(&signed.adopted()), 200));
    assert_eq!(with("list").await, (sorted(&signed.signature), 404));
    assert_eq!(with("omit").await, (vec![named.digest], 404));
}

#[tokio::test]
async fn an_artifact_that_is_there_in_both_forms_is_listed_once() {
    let signed = Signed::new(Program::V2).await;
    let refshim = Local::in_front_of(&signed.registry.url()).await;
    let through = refshim.endpoint();
    let mut own = bare_image("signature");
    own["subject"] = signed.image.descriptor();
    let own = Pushed::of(IMAGE, &own);
    let other = signed.adopted();
    for form in [own, other] {
        signed
            .straight
            .put_tag("app", &form.proposal_d_tag(&signed.image, "sig"), &form)
            .await;
        let refshim = Local::in_front_of(&signed.registry.url()).await;
        let listed = refshim.endpoint().referrers("app", &signed.image.digest).await;
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0]["digest"], *form.digest);
        // Found by the type that its tag gives it, as before.
        assert_eq!(listed[0]["artifactType"], SIGNATURE);
        let path = format!("/v2/app/manifests/{}", form.digest);
        through.delete(&path).await;
        signed.straight.delete(&path).await;
        sign(&signed.straight, &signed.image).await;
    }
}

/// What hides nothing: another artifact with the same content that goes by another type.
#[tokio::test]
async fn a_twin_of_another_type_takes_nothing_away() {
    let signed = Signed::new(Program::V2).await;
    let mut twin = bare_image("signature");
    twin["subject"] = signed.image.descriptor();
    twin["artifactType"] = "application/vnd.acme".into();
    let twin = Pushed::of(IMAGE, &twin);
    signed
        .straight
        .put_tag("app", &twin.proposal_d_tag(&signed.image, "x"), &twin)
        .await;
    let refshim = Refshim::in_front_of(&signed.registry.url()).await;
    let mut expected = [twin.digest, signed.adopted().digest];
    expected.sort();
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &signed.image.digest).await,
        expected
    );
}

/// One HEAD of the subject at first; what is listed is given without another question.
#[tokio::test]
async fn adopting_costs_one_head_of_the_subject() {
    let signed = Signed::new(Program::V2).await;
    let link = CountingProxy::in_front_of(&signed.registry.url()).await;
    let asked = async |choice: &str| {
        let refshim = Refshim::builder(link.url())
            .env("REFSHIM_LINKS__WITHOUT_SUBJECT", choice)
            .env("REFSHIM_CACHE__FRESH_FOR", "1h")
            .start()
            .await;
        link.take();
        let listed = refshim.endpoint().referrers("app", &signed.image.digest).await;
        let mut cost = link.take();
        let entry = listed[0]["digest"].as_str().unwrap().to_owned();
        refshim.endpoint().manifest("app", &entry).await.expect_status(200);
        refshim.endpoint().manifest("app", &entry).await.expect_status(200);
        let pulls = link.take();
        cost.sort();
        (cost, pulls)
    };
    let (mut listed, _) = asked("list").await;
    let (adopted, pulls) = asked("adopt").await;
    // Where nothing else proves who may read, the subject is asked for in any case.
    let head = format!("HEAD /v2/app/manifests/{}", signed.image.digest);
    assert_eq!(adopted.iter().filter(|line| **line == head).count(), 1, "{adopted:?}");
    if !listed.contains(&head) {
        listed.push(head);
        listed.sort();
    }
    assert_eq!(adopted, listed);
    // The tag gave the original; by its digest it is asked for once.
    let original = format!("/v2/app/manifests/{}", signed.signature.digest);
    assert!(
        pulls.iter().filter(|line| line.ends_with(&original)).count() <= 1,
        "{pulls:?}"
    );
    assert!(pulls.len() <= 2, "{pulls:?}");
}
