//! Links that are kept in a repository beside the image's are told by the image's name, once each.

use super::{Receiver, telling, webhook};
use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::{Endpoint, Registry};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";

#[tokio::test]
async fn what_is_kept_in_another_registry_is_told_as_of_the_images() {
    let (images, links) = (Registry::v2().await, Registry::v2().await);
    let receiver = Receiver::start().await;
    let keys = format!(
        "name = 'images'\nlinks_repository = '{{name}}.refs'\nlinks_upstream = 'links'\n\
         [[upstream]]\nname = 'links'\nurl = '{}'\nhosts = ['localhost']\n\
         [links.credentials.links]\nkind = 'static'\nusername = 'x'\npassword = 'y'\n{}",
        links.url(),
        webhook(&receiver, "")
    );
    let proxy = telling(&images.url(), &keys).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("o/app", "v1", "one").await;
    let one = through.push_artifact("o/app", &image, SBOM, "one").await;
    // Addressed by the other registry's own name, it is the same.
    let straight = Endpoint::new(&through.url().replace("127.0.0.1", "localhost"));
    let two = straight.push_artifact("o/app.refs", &image, SBOM, "two").await;
    let told = receiver.receives(2).await;
    for (event, pushed) in told.iter().zip([&one, &two]) {
        let data = &event["data"];
        assert_eq!(
            (&data["repository"], &data["subject"], &data["referrer"]["digest"]),
            (
                &"o/app".into(),
                &image.digest.clone().into(),
                &pushed.digest.clone().into()
            ),
            "{event}"
        );
    }
}

#[tokio::test]
async fn what_is_kept_beside_is_told_by_the_name_that_callers_use() {
    let (registry, receiver) = (Registry::v2().await, Receiver::start().await);
    let keys = format!("links_repository = '{{name}}.refs'\n{}", webhook(&receiver, ""));
    let proxy = telling(&registry.url(), &keys).start().await;
    let through = proxy.endpoint();
    let image = through.push_image("o/app", "v1", "one").await;
    let by_digest = through.push_artifact("o/app", &image, SBOM, "by digest").await;
    // It has a tag of its owner's, and its link is kept beside.
    let tagged = through
        .put_manifest("o/app", "mine", IMAGE, &artifact(&image, SBOM, "tagged"))
        .await;
    let attestation = through.push_image("o/app", "attestation", "attestation").await;
    let stated = serde_json::json!({
        "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest
    });
    let listing = index([image.descriptor(), attestation.annotated(stated)]);
    through.put_manifest("o/app", "v2", INDEX, &listing).await;
    let path = format!("/v2/o/app/manifests/{}", by_digest.digest);
    through.delete(&path).await.expect_status(202);

    let told: Vec<_> = receiver
        .receives(4)
        .await
        .iter()
        .map(|event| {
            let (kind, data) = (event["type"].as_str().unwrap_or_default(), &event["data"]);
            assert_eq!(
                (&data["repository"], &data["subject"]),
                (&"o/app".into(), &image.digest.clone().into())
            );
            (
                kind.to_owned(),
                data["referrer"]["digest"].as_str().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let linked = "io.refshim.referrer.linked.v1";
    let expected = [
        (linked, by_digest.digest.clone()),
        (linked, tagged.digest.clone()),
        (linked, attestation.digest.clone()),
        ("io.refshim.referrer.removed.v1", by_digest.digest.clone()),
    ];
    assert_eq!(told, expected.map(|(kind, digest)| (kind.to_owned(), digest)));
}
