//! What is deleted by its adopted digest is gone: the registry has the original only.

use http::Method;
use serde_json::{Value, json};

use super::Signed;
use crate::support::content::{BUILDKIT, INDEX, index};
use crate::support::{Program, Refshim, Registry};

#[tokio::test]
async fn deleting_an_adopted_form_deletes_its_original() {
    for program in Program::ALL {
        let signed = Signed::new(program).await;
        let refshim = Refshim::in_front_of(&signed.registry.url()).await;
        let through = refshim.endpoint();
        let adopted = signed.adopted();
        // A replica that was told nothing.
        let path = format!("/v2/app/manifests/{}", adopted.digest);
        let conditional = through.send(Method::DELETE, &path, &[("if-match", "\"x\"")], "").await;
        assert!(!(200..300).contains(&conditional.status), "{conditional:?}");
        through.delete(&path).await.expect_status(202);
        assert_eq!(through.referrers("app", &signed.image.digest).await, [] as [Value; 0]);
        signed
            .straight
            .manifest("app", &signed.signature.digest)
            .await
            .expect_status(404);
        through.manifest("app", &adopted.digest).await.expect_status(404);
        through.delete(&path).await.expect_status(404);
    }
}

#[tokio::test]
async fn what_is_stored_in_both_forms_goes_in_both() {
    let signed = Signed::new(Program::V2).await;
    let refshim = Refshim::in_front_of(&signed.registry.url()).await;
    let through = refshim.endpoint();
    let adopted = signed.adopted();
    through.put_bytes("app", "", &adopted).await.expect_status(201);
    let digests = through.referrer_digests("app", &signed.image.digest).await;
    assert_eq!(digests, [&*adopted.digest]);
    let path = format!("/v2/app/manifests/{}", adopted.digest);
    through.delete(&path).await.expect_status(202);
    assert_eq!(through.referrers("app", &signed.image.digest).await, [] as [Value; 0]);
}

#[tokio::test]
async fn what_an_index_lists_is_not_deleted_out_of_it() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let image = straight.push_image("app", "", "image").await;
    let attestation = straight.push_image("app", "", "attestation").await;
    let entry = attestation.annotated(json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest,
    }));
    straight
        .put_manifest("app", "v1", INDEX, &index([image.descriptor(), entry]))
        .await;
    let refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();
    let adopted = attestation.adopted(&image, Some(BUILDKIT));
    assert_eq!(through.referrer_digests("app", &image.digest).await, [&*adopted.digest]);
    let path = format!("/v2/app/manifests/{}", adopted.digest);
    let refused = through.delete(&path).await.expect_status(405);
    assert!(refused.text().contains(&attestation.digest), "{refused:?}");
    straight.manifest("app", &attestation.digest).await.expect_status(200);
}
