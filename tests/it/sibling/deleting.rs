//! What is kept beside is deleted at the image's repository, by whoever may delete it there.

use http::Method;

use super::stage::{APP, REFS, SBOM, Stage, keeps_beside};
use crate::support::fake::{Fake, Knobs};
use crate::support::{Endpoint, Local, Reply};

async fn delete(through: &Endpoint, reference: &str) -> Reply {
    through
        .send(Method::DELETE, &format!("/v2/{APP}/manifests/{reference}"), &[], "")
        .await
}

#[tokio::test]
async fn whose_own_rights_reach_there_deletes_it() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let keeper = stage.as_user("keeper");
    let sbom = keeper.push_artifact(APP, &image, SBOM, "sbom").await;
    assert_eq!(keeper.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    delete(&keeper, &sbom.digest).await.expect_status(202);
    assert_eq!(keeper.referrers(APP, &image.digest).await.len(), 0);
    assert_eq!(keeper.manifest(APP, &sbom.digest).await.status, 404);
    let left = stage.fake.tags(REFS);
    assert!(!left.contains(&sbom.proposal_d_tag(&image, "acme.sbom")), "{left:?}");
}

#[tokio::test]
async fn the_account_deletes_for_nobody() {
    let stage = Stage::new(Knobs::default()).await;
    let image = stage.fake.image(APP, "v1", "image");
    let writer = stage.as_user("writer");
    let sbom = writer.push_artifact(APP, &image, SBOM, "sbom").await;
    let refused = delete(&writer, &sbom.digest).await;
    assert_eq!(
        (refused.status, refused.text().contains(REFS)),
        (403, true),
        "{refused:?}"
    );
    assert_eq!(writer.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    // The image itself is the writer's to delete.
    delete(&writer, &image.digest).await.expect_status(202);
}

#[tokio::test]
async fn what_is_in_both_goes_from_both() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(APP, "v1", "image");
    let sbom = fake.tagged_artifact(APP, &image, SBOM, "sbom");
    fake.tagged_artifact(REFS, &image, SBOM, "sbom");
    let refshim = Local::configured(&fake.url(), keeps_beside).await;
    let through = refshim.endpoint();
    assert_eq!(through.referrer_digests(APP, &image.digest).await, [&*sbom.digest]);
    delete(&through, &sbom.digest).await.expect_status(202);
    assert_eq!(through.referrers(APP, &image.digest).await.len(), 0);
    for repository in [APP, REFS] {
        assert_eq!(
            fake.endpoint().manifest(repository, &sbom.digest).await.status,
            404,
            "{repository}"
        );
    }
}
