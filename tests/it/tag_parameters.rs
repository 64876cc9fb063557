//! Promise: a push by digest tags whatever its `tag` parameters name, in front of every registry, and `OCI-Tag` says what was written.

use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::knobs::{Knobs, Pushes};
use crate::support::fake::{Fake, Trouble};
use crate::support::{Endpoint, Program, Pushed, Refshim, Registry, Reply, Seen};
use http::Method;
use serde_json::json;

const REPOSITORY: &str = "team/app";
const SBOM: &str = "application/spdx+json";

async fn push(through: &Endpoint, pushed: &Pushed, query: &str, headers: &[(&str, &str)]) -> Reply {
    let path = format!("/v2/{REPOSITORY}/manifests/{}?{query}", pushed.digest);
    let headers = [&[("content-type", pushed.media_type.as_str())], headers].concat();
    through.send(Method::PUT, &path, &headers, pushed.bytes.clone()).await
}

/// What `OCI-Tag` states, in its order.
fn stated(reply: &Reply) -> Vec<&str> {
    let lines = reply.headers.get_all("oci-tag").iter();
    let lines = lines.map(|line| line.to_str().expect("text"));
    lines.flat_map(|line| line.split(',')).map(str::trim).collect()
}

fn writes(fake: &Fake) -> Vec<String> {
    let seen = fake.requests().into_iter();
    let written = seen.filter(|seen| !matches!(seen.method, Method::GET | Method::HEAD));
    written.map(|seen| seen.line()).collect()
}

fn puts(reference: String) -> impl Fn(&Seen) -> bool + Send + 'static {
    move |seen| seen.method == Method::PUT && seen.path == format!("/v2/{REPOSITORY}/manifests/{reference}")
}

async fn set(pushes: Pushes) -> (Fake, Refshim) {
    let knobs = Knobs {
        pushes,
        ..Knobs::default()
    };
    let fake = Fake::start(knobs).await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    (fake, refshim)
}

#[tokio::test]
async fn registries_that_do_not_know_the_parameter_tag_through_refshim() {
    for program in Program::ALL {
        let registry = Registry::start(program).await;
        let refshim = Refshim::in_front_of(&registry.url()).await;
        let (straight, through) = (registry.endpoint(), refshim.endpoint());
        let image = straight.push_image(REPOSITORY, "v1", "image").await;
        let sbom = Pushed::of(IMAGE, &artifact(&image, SBOM, "sbom"));
        let pushed = push(&through, &sbom, "tag=sbom-1&tag=sbom%2dlatest&tag=sbom-1", &[]).await;
        let pushed = pushed.expect_status(201);
        assert_eq!(stated(&pushed), ["sbom-1", "sbom-latest"], "{program:?}");
        assert_eq!(pushed.header("oci-subject"), Some(&*image.digest));
        for tag in ["sbom-1", "sbom-latest"] {
            let stored = straight.manifest(REPOSITORY, tag).await.expect_status(200);
            assert_eq!(stored.body, sbom.bytes, "{program:?} {tag}");
        }
        let listed = through.get(&format!("/v2/{REPOSITORY}/tags/list")).await.json();
        assert_eq!(
            listed["tags"],
            json!(["sbom-1", "sbom-latest", image.referrers_tag(), "v1"]),
            "{program:?}"
        );
        assert_eq!(
            through.referrer_digests(REPOSITORY, &image.digest).await,
            [&*sbom.digest]
        );
    }
}

#[tokio::test]
async fn a_registry_that_knows_the_parameter_is_asked_once() {
    let (fake, refshim) = set(Pushes {
        takes_tag_parameters: true,
        ..Pushes::default()
    })
    .await;
    fake.image(REPOSITORY, "v1", "old");
    let through = refshim.endpoint();
    // Listed and cached, so that the writes must be noticed.
    through.manifest(REPOSITORY, "v1").await.expect_status(200);
    through
        .get(&format!("/v2/{REPOSITORY}/tags/list"))
        .await
        .expect_status(200);
    let image = Pushed::of(IMAGE, &bare_image("new"));
    let pushed = push(&through, &image, "tag=v1&x=%20&tag=v2", &[])
        .await
        .expect_status(201);
    assert_eq!(stated(&pushed), ["v1", "v2"]);
    let digest = &image.digest;
    assert_eq!(
        writes(&fake),
        [format!("PUT /v2/{REPOSITORY}/manifests/{digest}?tag=v1&x=%20&tag=v2")]
    );
    let listed = through.get(&format!("/v2/{REPOSITORY}/tags/list")).await.json();
    assert_eq!(listed["tags"], json!(["v1", "v2"]));
    assert_eq!(through.manifest(REPOSITORY, "v1").await.body, image.bytes);
}

/// Nothing is tagged whose manifest is refused; of tags, one that is refused ends the push, and what was written before is said.
#[tokio::test]
async fn a_tag_that_is_refused_fails_the_push_and_the_error_says_what_was_written() {
    let (fake, refshim) = set(Pushes::default()).await;
    let through = refshim.endpoint();
    let image = fake.image(REPOSITORY, "base", "image");
    let next = Pushed::of(IMAGE, &bare_image("next"));
    fake.trouble(
        Trouble::oci(409, "TAG_INVALID", "v2 is immutable"),
        puts("v2".to_owned()),
    );
    let failed = push(&through, &next, "tag=v1&tag=v2&tag=v3", &[])
        .await
        .expect_status(409);
    let message = failed.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    for said in [
        "stored and tagged v1, but not tagged v2, v3",
        "push it again",
        "v2 is immutable",
    ] {
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(fake.tags(REPOSITORY), ["base", "v1"]);
    fake.heal();
    let healed = push(&through, &next, "tag=v1&tag=v2&tag=v3", &[])
        .await
        .expect_status(201);
    assert_eq!(stated(&healed), ["v1", "v2", "v3"]);

    fake.trouble(
        Trouble::oci(403, "DENIED", "no"),
        puts(format!("{}?tag=v9", image.digest)),
    );
    push(&through, &image, "tag=v9", &[]).await.expect_status(403);
    assert_eq!(fake.tags(REPOSITORY), ["base", "v1", "v2", "v3"]);
}

/// A locked tag that has this very content already is no obstacle: the push can be repeated.
#[tokio::test]
async fn a_locked_tag_with_the_same_content_counts_as_written() {
    let (fake, refshim) = set(Pushes {
        immutable_tags: true,
        ..Pushes::default()
    })
    .await;
    let image = fake.image(REPOSITORY, "v1", "image");
    let again = push(&refshim.endpoint(), &image, "tag=v1&tag=v2", &[])
        .await
        .expect_status(201);
    assert_eq!(stated(&again), ["v1", "v2"]);
}

#[tokio::test]
async fn what_is_no_tag_and_what_would_replace_a_link_is_refused_before_anything_is_written() {
    let (fake, refshim) = set(Pushes::default()).await;
    let through = refshim.endpoint();
    let image = fake.image(REPOSITORY, "v1", "image");
    let other = fake.artifact(REPOSITORY, "", &image, SBOM, "other");
    let many: Vec<String> = (0..101).map(|number| format!("tag=v{number}")).collect();
    let link = format!("tag={}", other.proposal_d_tag(&image, "spdx"));
    for (query, status, code) in [
        ("tag=v1&tag=-x", 400, "TAG_INVALID"),
        ("tag=", 400, "TAG_INVALID"),
        (&*many.join("&"), 414, "TAG_INVALID"),
        (&*link, 400, "MANIFEST_INVALID"),
    ] {
        let refused = push(&through, &image, query, &[]).await.expect_status(status);
        assert_eq!(refused.error_code(), code, "{query}");
    }
    assert_eq!(writes(&fake), [""; 0]);
}

/// The condition was about the digest. What the registry says is all that is said then.
#[tokio::test]
async fn a_condition_is_not_stretched_to_tags() {
    let (fake, refshim) = set(Pushes::default()).await;
    let image = fake.image(REPOSITORY, "v1", "image");
    let next = Pushed::of(IMAGE, &bare_image("next"));
    let condition = [("if-none-match", "*")];
    let pushed = push(&refshim.endpoint(), &next, "tag=v1", &condition)
        .await
        .expect_status(201);
    assert_eq!(stated(&pushed), [""; 0]);
    let v1 = fake.endpoint().manifest(REPOSITORY, "v1").await;
    assert_eq!(v1.body, image.bytes, "not overwritten");
}

/// The envelope goes where the manifest was to go, so that the tags give the original back.
#[tokio::test]
async fn what_needs_an_envelope_is_tagged_all_the_same() {
    const ARTIFACT_MANIFEST: &str = "application/vnd.oci.artifact.manifest.v1+json";
    let (fake, refshim) = set(Pushes::default()).await;
    let image = fake.image(REPOSITORY, "v1", "image");
    let manifest = json!({
        "mediaType": ARTIFACT_MANIFEST, "artifactType": SBOM, "blobs": [], "subject": image.descriptor(),
    });
    let sealed = Pushed::of(ARTIFACT_MANIFEST, &manifest);
    let pushed = push(&refshim.endpoint(), &sealed, "tag=sbom&tag=sbom-2", &[]).await;
    assert_eq!(stated(&pushed.expect_status(201)), ["sbom", "sbom-2"]);
    for tag in ["sbom", "sbom-2"] {
        let given = refshim.endpoint().manifest(REPOSITORY, tag).await.expect_status(200);
        assert_eq!(given.body, sealed.bytes);
        assert_eq!(given.header("docker-content-digest"), Some(&*sealed.digest));
    }
}

/// A client that writes a list of referrers this way loses no more than one that pushes to the tag.
#[tokio::test]
async fn a_list_of_referrers_is_merged_under_its_tag() {
    let pushes = Pushes {
        takes_tag_parameters: true,
        ..Pushes::default()
    };
    let fake = Fake::start(Knobs {
        pushes,
        ..Knobs::default()
    })
    .await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let image = fake.image(REPOSITORY, "v1", "image");
    let (one, other) = (
        fake.artifact(REPOSITORY, "", &image, SBOM, "one"),
        fake.artifact(REPOSITORY, "", &image, SBOM, "other"),
    );
    let tag = image.referrers_tag();
    fake.put(REPOSITORY, &tag, INDEX, &index([one.descriptor()]));
    let theirs = Pushed::of(INDEX, &index([other.descriptor()]));
    let pushed = push(&refshim.endpoint(), &theirs, &format!("tag={tag}&tag=list"), &[]).await;
    let pushed = pushed.expect_status(201);
    let mut said = stated(&pushed);
    said.sort_unstable();
    assert_eq!(said, ["list", &*tag]);
    let stored = fake.endpoint().manifest(REPOSITORY, &tag).await.json();
    let mut listed: Vec<&str> = stored["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap())
        .collect();
    listed.sort_unstable();
    let mut expected = [&*one.digest, &*other.digest];
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert_eq!(fake.endpoint().manifest(REPOSITORY, "list").await.body, theirs.bytes);
}
