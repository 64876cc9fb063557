//! Pushing an artifact to registries that refuse part of it, forbid to repeat it, or promise what they do not keep.

use crate::support;
use crate::support::content::{IMAGE, artifact};
use crate::support::fake::knobs::{Knobs, Pushes, Uploads};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Endpoint, Pushed, Refshim};
use serde_json::json;

const REPOSITORY: &str = "team/app";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";

struct Shelf {
    fake: Fake,
    /// Keeps the process alive.
    _refshim: Refshim,
    endpoint: Endpoint,
    subject: Pushed,
}

/// An image, and refshim in front of its registry with credentials for pushing.
async fn shelf(knobs: Knobs, credentials: impl FnOnce(Endpoint) -> Endpoint) -> Shelf {
    let fake = Fake::start(knobs).await;
    let subject = fake.image(REPOSITORY, "v1", "subject");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    Shelf {
        endpoint: credentials(refshim.endpoint()),
        fake,
        _refshim: refshim,
        subject,
    }
}

impl Shelf {
    /// Pushes by digest, as cosign, oras and notation do; then it must be listed, and readable to the byte.
    async fn push_and_find(&self, pushed: &Pushed) {
        let reply = self.endpoint.put_bytes(REPOSITORY, "", pushed).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*self.subject.digest), "{reply:?}");
        assert_eq!(
            reply.header("docker-content-digest"),
            Some(&*pushed.digest),
            "{reply:?}"
        );
        let listed = self.endpoint.referrers(REPOSITORY, &self.subject.digest).await;
        let entry = json!({
            "mediaType": pushed.media_type, "digest": pushed.digest, "size": pushed.size(), "artifactType": BUNDLE,
            "annotations": {"org.opencontainers.image.title": "bundle"},
        });
        assert_eq!(listed, [entry]);
        let accept = [("accept", pushed.media_type.as_str())];
        let path = format!("/v2/{REPOSITORY}/manifests/{}", pushed.digest);
        let read = self.endpoint.get_with(&path, &accept).await.expect_status(200);
        assert_eq!(read.body, pushed.bytes);
        assert_eq!(read.header("content-type"), Some(&*pushed.media_type));
    }

    fn bundle(&self) -> Pushed {
        Pushed::of(IMAGE, &artifact(&self.subject, BUNDLE, "bundle"))
    }

    /// Proposal A's manifest, which no registry of today takes.
    fn artifact_manifest(&self) -> Pushed {
        let manifest = json!({
            "mediaType": ARTIFACT_MANIFEST, "artifactType": BUNDLE, "blobs": [], "subject": self.subject.descriptor(),
            "annotations": {"org.opencontainers.image.title": "bundle"},
        });
        Pushed::of(ARTIFACT_MANIFEST, &manifest)
    }
}

fn ecr_login(endpoint: Endpoint) -> Endpoint {
    endpoint.basic("AWS", "ecr-token")
}

#[tokio::test]
async fn ecr_which_refuses_the_fields_keeps_the_artifact_all_the_same() {
    let shelf = shelf(profiles::ecr(), ecr_login).await;
    shelf.push_and_find(&shelf.bundle()).await;
}

#[tokio::test]
async fn ecr_keeps_a_manifest_of_a_type_that_it_does_not_know() {
    let shelf = shelf(profiles::ecr(), ecr_login).await;
    shelf.push_and_find(&shelf.artifact_manifest()).await;
}

/// A client that lost the answer repeats the push; the tags that the first attempt made cannot be written again.
#[tokio::test]
async fn a_push_can_be_repeated_where_tags_are_immutable() {
    let shelf = shelf(profiles::ecr(), ecr_login).await;
    shelf.push_and_find(&shelf.bundle()).await;
    shelf.push_and_find(&shelf.bundle()).await;
    // The same without envelopes.
    shelf.fake.turn(|knobs| knobs.pushes.refused_members.clear());
    let other = Pushed::of(IMAGE, &artifact(&shelf.subject, BUNDLE, "other"));
    for _ in 0..2 {
        let reply = shelf
            .endpoint
            .put_bytes(REPOSITORY, "", &other)
            .await
            .expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*shelf.subject.digest));
    }
    let listed = shelf.endpoint.referrers(REPOSITORY, &shelf.subject.digest).await;
    assert_eq!(listed.len(), 2);
}

#[tokio::test]
async fn ghcr_with_a_token_for_one_repository_takes_an_artifact() {
    let credentials = |endpoint: Endpoint| endpoint.authorization(&Fake::bearer(REPOSITORY, "pull,push"));
    let shelf = shelf(profiles::ghcr(), credentials).await;
    shelf.endpoint.push_blob(REPOSITORY, "{}").await;
    shelf.push_and_find(&shelf.bundle()).await;
    assert!(
        shelf
            .fake
            .requests_elsewhere()
            .iter()
            .all(|seen| seen.authorization().is_none())
    );
}

#[tokio::test]
async fn zot_which_does_not_know_the_type_keeps_it_all_the_same() {
    let shelf = shelf(profiles::zot(), |endpoint| endpoint).await;
    shelf.push_and_find(&shelf.artifact_manifest()).await;
}

/// `OCI-Subject` without a list: the link is made durable all the same.
#[tokio::test]
async fn a_promise_that_the_registry_does_not_keep_is_kept() {
    let claims = Knobs {
        pushes: Pushes {
            says_subject: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    };
    let shelf = shelf(claims, |endpoint| endpoint).await;
    let bundle = shelf.bundle();
    shelf.push_and_find(&bundle).await;
    let tag = bundle.proposal_d_tag(&shelf.subject, "sig");
    let kept = shelf
        .fake
        .endpoint()
        .manifest(REPOSITORY, &tag)
        .await
        .expect_status(200);
    assert_eq!(kept.body, bundle.bytes);
}

#[tokio::test]
async fn an_immutable_tag_of_the_callers_own_is_refused_in_the_registrys_words() {
    let shelf = shelf(profiles::ecr(), ecr_login).await;
    let other = Pushed::of(IMAGE, &support::content::bare_image("other"));
    let refused = shelf
        .endpoint
        .put_bytes(REPOSITORY, "v1", &other)
        .await
        .expect_status(400);
    assert_eq!(refused.json()["errors"][0]["code"], "TAG_INVALID");
}

/// A registry behind a proxy that hands on the host without its port names upload sessions where nobody listens. They go on through
/// refshim, which also finds its own there.
#[tokio::test]
async fn upload_sessions_without_the_port_go_on_through_refshim() {
    let knobs = Knobs {
        uploads: Uploads {
            portless: true,
            ..Uploads::default()
        },
        ..Knobs::default()
    };
    let shelf = shelf(knobs, |endpoint| endpoint).await;
    let straight = shelf.fake.endpoint().begin_upload(REPOSITORY).await;
    assert!(straight.starts_with("http://127.0.0.1/v2/"), "{straight}");
    let session = shelf.endpoint.begin_upload(REPOSITORY).await;
    assert!(
        session.starts_with(&format!("/v2/{REPOSITORY}/blobs/uploads/")),
        "{session}"
    );
    shelf.endpoint.push_blob(REPOSITORY, "content").await;
    shelf.push_and_find(&shelf.artifact_manifest()).await;
}

/// What stands before a registry answers in its place. A link that is nowhere is acknowledged to nobody.
#[tokio::test]
async fn a_success_that_is_not_the_registrys_is_not_taken_for_a_link() {
    let json = ("content-type", "application/json");
    let answers = [
        Trouble::html(200),
        Trouble::answer(200, &[], ""),
        Trouble::answer(204, &[], ""),
        Trouble::answer(201, &[json], r#"{"errors":[{"code":"UNKNOWN"}]}"#),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image(REPOSITORY, "v1", "subject");
        let builder = Refshim::builder(&fake.url()).env("REFSHIM_WRITING__LINKS", "proposal-d");
        let refshim = builder.start().await;
        let bundle = Pushed::of(IMAGE, &artifact(&image, BUNDLE, "bundle"));
        let place = format!("sha256-{}.", image.hex());
        fake.trouble(answer, move |seen| seen.method == "PUT" && seen.path.contains(&place));
        let endpoint = refshim.endpoint();
        let reply = endpoint.put_bytes(REPOSITORY, "", &bundle).await;
        assert_eq!(
            (reply.status, reply.header("oci-subject")),
            (502, None),
            "{number}: {reply:?}"
        );
        fake.heal();
        endpoint.put_bytes(REPOSITORY, "", &bundle).await.expect_status(201);
        let another = Refshim::in_front_of(&fake.url()).await;
        let listed = another.endpoint().referrer_digests(REPOSITORY, &image.digest).await;
        assert_eq!(listed, std::slice::from_ref(&bundle.digest), "{number}");
    }
}
