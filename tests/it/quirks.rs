//! What real registries do besides their tag pages, and what comes of it.

mod depth;
mod fixtures;
mod hidden;
mod kinds;
mod lag;
mod listings;
mod own_api;
mod own_api_for_some;
mod own_listings;
mod own_writes;
mod partial;
mod pushers;
mod strangers;
mod told;
mod vanished;
mod withheld;

use crate::support;
use crate::support::content::{IMAGE, INDEX, index};
use crate::support::fake::knobs::{Auth, Knobs, Pushes, Referrers};
use crate::support::fake::{Fake, Trouble, profiles};
use crate::support::{Pushed, Refshim, Seen};
use http::{Method, StatusCode};
use serde_json::{Value, json};

const REPOSITORY: &str = "team/app";
const SPDX: &str = "application/spdx+json";

/// An image with one referrer under a Proposal D tag.
struct Shelf {
    fake: Fake,
    refshim: Refshim,
    subject: Pushed,
    sbom: Pushed,
}

impl Shelf {
    /// What refshim lists of the subject to anyone.
    async fn listed(&self) -> Vec<String> {
        let endpoint = self.refshim.endpoint();
        endpoint.referrer_digests(REPOSITORY, &self.subject.digest).await
    }
}

async fn shelf(knobs: Knobs) -> Shelf {
    let fake = Fake::start(knobs).await;
    let subject = fake.image(REPOSITORY, "v1", "subject");
    let sbom = fake.tagged_artifact(REPOSITORY, &subject, SPDX, "sbom");
    Shelf {
        refshim: Refshim::in_front_of(&fake.url()).await,
        fake,
        subject,
        sbom,
    }
}

/// The value of a counter of the only upstream.
async fn counted(refshim: &Refshim, name: &str) -> f64 {
    let text = refshim.admin().get("/metrics").await.expect_status(200).text();
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let value = line.and_then(|line| line.rsplit(' ').next()).expect("the counter");
    value.parse().expect("a number")
}

fn asks_native(seen: &Seen) -> bool {
    seen.path.contains("/referrers/")
}

/// GHCR lists no referrers in two ways; through refshim both do, and it is asked for them twice: about each of the first three
/// subjects where it says that there is nothing about one.
async fn ghcr_lists(referrers: Referrers) {
    let asked = if matches!(referrers, Referrers::ManifestUnknown) {
        4
    } else {
        2
    };
    let shelf = shelf(Knobs {
        referrers,
        ..profiles::ghcr()
    })
    .await;
    let endpoint = shelf.refshim.endpoint();
    let endpoint = endpoint.authorization(&Fake::bearer(REPOSITORY, "pull"));
    let another = shelf.fake.image(REPOSITORY, "v2", "another");
    let listed = endpoint.referrer_digests(REPOSITORY, &shelf.subject.digest).await;
    assert_eq!(listed, [shelf.sbom.digest]);
    assert_eq!(endpoint.referrers(REPOSITORY, &another.digest).await, [json!(null); 0]);
    assert_eq!(shelf.fake.count(asks_native), asked);
    assert!(shelf.fake.requests_elsewhere().is_empty());
}

#[tokio::test]
async fn ghcr_without_the_list_is_no_obstacle() {
    ghcr_lists(Referrers::ManifestUnknown).await;
}

#[tokio::test]
async fn ghcr_with_a_web_page_for_a_list_is_no_obstacle() {
    ghcr_lists(Referrers::WebPage).await;
}

#[tokio::test]
async fn ghcrs_refusals_reach_the_caller_as_they_are() {
    let shelf = shelf(profiles::ghcr()).await;
    let path = format!("/v2/{REPOSITORY}/referrers/{}", shelf.subject.digest);
    let here = shelf.refshim.endpoint().get(&path).await.expect_status(401);
    let challenge = here.header("www-authenticate").unwrap();
    assert!(challenge.ends_with(&format!("service=\"ghcr.io\",scope=\"repository:{REPOSITORY}:pull\"")));
    // Allowed first, so that an answer is remembered which the others must not see.
    let allowed = shelf
        .refshim
        .endpoint()
        .authorization(&Fake::bearer(REPOSITORY, "pull"));
    allowed.get(&path).await.expect_status(200);
    let basic = shelf
        .refshim
        .endpoint()
        .basic("me", "secret")
        .get(&path)
        .await
        .expect_status(403);
    assert_eq!(basic.json()["errors"][0]["code"], "DENIED");
    let other = Fake::bearer("another/one", "pull");
    shelf
        .refshim
        .endpoint()
        .authorization(&other)
        .get(&path)
        .await
        .expect_status(401);
    let delete = shelf
        .refshim
        .endpoint()
        .authorization(&Fake::bearer(REPOSITORY, "pull,push"));
    let delete = delete
        .delete(&format!("/v2/{REPOSITORY}/manifests/{}", shelf.sbom.digest))
        .await
        .expect_status(405);
    assert_eq!(delete.json()["errors"][0]["code"], "UNSUPPORTED");
}

#[tokio::test]
async fn ghcrs_uploads_and_blobs_work_from_where_the_caller_stands() {
    let shelf = shelf(profiles::ghcr()).await;
    let endpoint = shelf
        .refshim
        .endpoint()
        .authorization(&Fake::bearer(REPOSITORY, "pull,push"));
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let opened = endpoint.send(Method::POST, &uploads, &[], "").await.expect_status(202);
    let octets = [("content-type", "application/octet-stream")];
    let location = opened.header("location").unwrap();
    assert!(
        location.starts_with(&format!("/v2/{REPOSITORY}/blobs/upload/")),
        "{location}"
    );
    let chunk = endpoint
        .send(Method::PATCH, location, &octets, "con")
        .await
        .expect_status(202);
    let digest = refshim::testing::oci::Digest::sha256(b"content");
    let last = format!("{}&digest={digest}", chunk.header("location").unwrap());
    endpoint
        .send(Method::PUT, &last, &octets, "tent")
        .await
        .expect_status(201);
    let blob = endpoint
        .get(&format!("/v2/{REPOSITORY}/blobs/{digest}"))
        .await
        .expect_status(307);
    let signed = blob.header("location").unwrap();
    assert!(
        signed.starts_with(shelf.fake.elsewhere()) && signed.ends_with("&sig=a%2Bb%3D"),
        "{signed}"
    );
}

#[tokio::test]
async fn a_limit_that_says_how_long_in_words_is_waited_out() {
    let shelf = shelf(Knobs::default()).await;
    let listing = |seen: &Seen| seen.path.contains("/tags/list");
    shelf.fake.trouble_times(1, Trouble::ghcr_limit("880.092µs"), listing);
    let listed = shelf.listed().await;
    assert_eq!(listed, [shelf.sbom.digest]);
}

#[tokio::test]
async fn a_limit_that_lasts_is_told_to_the_caller() {
    let shelf = shelf(Knobs::default()).await;
    shelf.fake.trouble(Trouble::ghcr_limit("1m30.5s"), |_| true);
    let reply = shelf
        .refshim
        .endpoint()
        .referrers_reply(REPOSITORY, &shelf.subject.digest)
        .await;
    let reply = reply.expect_status(429);
    assert_eq!(reply.header("retry-after"), Some("91"));
    assert_eq!(reply.json()["errors"][0]["code"], "TOOMANYREQUESTS");
}

/// What passes through, and what refshim writes for its caller: the header is there, the words stay.
#[tokio::test]
async fn a_limit_that_is_relayed_says_how_long_in_a_header_too() {
    let shelf = shelf(Knobs::default()).await;
    let endpoint = shelf.refshim.endpoint();
    shelf.fake.trouble(Trouble::ghcr_limit("1m30.5s"), |_| true);
    let manifest = format!("/v2/{REPOSITORY}/manifests/v2");
    let blob = format!("/v2/{REPOSITORY}/blobs/{}", shelf.subject.digest);
    let uploads = format!("/v2/{REPOSITORY}/blobs/uploads/");
    let image = [("content-type", IMAGE)];
    for (method, path, body) in [
        (Method::GET, &manifest, ""),
        (Method::GET, &blob, ""),
        (Method::POST, &uploads, ""),
        (Method::PUT, &manifest, "{}"),
        (Method::DELETE, &manifest, ""),
    ] {
        let reply = endpoint
            .send(method.clone(), path, &image, body)
            .await
            .expect_status(429);
        assert_eq!(reply.header("retry-after"), Some("91"), "{method} {path}");
        let words = "retry-after: 1m30.5s, allowed: 44000/minute";
        assert_eq!(reply.json()["errors"][0]["message"], words, "{method} {path}");
    }
}

#[tokio::test]
async fn a_login_page_is_no_list() {
    let shelf = shelf(profiles::gar()).await;
    let endpoint = shelf.refshim.endpoint().authorization("Bearer secret");
    let listed = endpoint.referrer_digests(REPOSITORY, &shelf.subject.digest).await;
    assert_eq!(listed, [shelf.sbom.digest]);
    let told = shelf.fake.requests_elsewhere();
    assert!(told.iter().all(|seen| seen.authorization().is_none()), "{told:?}");
}

#[tokio::test]
async fn where_there_is_no_such_api_what_the_tags_say_is_listed() {
    for (status, media_type) in [(404, "text/html"), (405, "text/plain"), (501, "text/plain")] {
        let shelf = shelf(Knobs {
            referrers: Referrers::Says {
                status: StatusCode::from_u16(status).unwrap(),
                media_type,
                body: "no such page",
            },
            ..Knobs::default()
        })
        .await;
        let listed = shelf.listed().await;
        assert_eq!(listed, [shelf.sbom.digest], "{status}");
    }
}

#[tokio::test]
async fn an_empty_list_of_the_registrys_own_hides_nothing() {
    let body = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let shelf = shelf(Knobs {
        referrers: Referrers::Says {
            status: StatusCode::OK,
            media_type: INDEX,
            body,
        },
        ..Knobs::default()
    })
    .await;
    let listed = shelf.listed().await;
    assert_eq!(listed, [shelf.sbom.digest]);
}

#[tokio::test]
async fn a_registrys_own_list_and_the_tags_are_one_list() {
    let shelf = shelf(profiles::quay(false)).await;
    let untagged = shelf
        .fake
        .artifact(REPOSITORY, "", &shelf.subject, "application/x-bundle", "untagged");
    let mut expected = vec![untagged.digest, shelf.sbom.digest];
    expected.sort();
    let endpoint = shelf.refshim.endpoint();
    assert_eq!(
        endpoint.referrer_digests(REPOSITORY, &shelf.subject.digest).await,
        expected
    );
    // Quay refuses to list what it does not know.
    let unknown = format!("sha256:{}", "0".repeat(64));
    assert_eq!(endpoint.referrers(REPOSITORY, &unknown).await, [json!(null); 0]);
}

/// Quay's refusal comes first here, when it is not known yet whether there is a list at all.
#[tokio::test]
async fn an_unknown_subject_does_not_teach_that_there_is_no_list() {
    let shelf = shelf(profiles::quay(false)).await;
    let untagged = shelf
        .fake
        .artifact(REPOSITORY, "", &shelf.subject, "application/x-bundle", "untagged");
    let endpoint = shelf.refshim.endpoint();
    let unknown = format!("sha256:{}", "0".repeat(64));
    assert_eq!(endpoint.referrers(REPOSITORY, &unknown).await, [json!(null); 0]);
    let listed = endpoint.referrer_digests(REPOSITORY, &shelf.subject.digest).await;
    assert!(listed.contains(&untagged.digest), "{listed:?}");
}

/// Harbor 2.9.1 says `application/json`.
#[tokio::test]
async fn a_list_counts_whatever_its_content_type() {
    let shelf = shelf(profiles::harbor()).await;
    let untagged = shelf
        .fake
        .artifact(REPOSITORY, "", &shelf.subject, "application/x-bundle", "untagged");
    let endpoint = shelf.refshim.endpoint();
    let listed = endpoint.referrer_digests(REPOSITORY, &shelf.subject.digest).await;
    let mut expected = vec![shelf.sbom.digest, untagged.digest];
    expected.sort();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_referrers_tag_that_is_the_subject_itself_lists_nothing() {
    let shelf = shelf(profiles::gitlab()).await;
    // There in the tag list, as where somebody wrote it before.
    shelf
        .fake
        .put_pushed(REPOSITORY, &shelf.subject.referrers_tag(), &shelf.subject);
    let listed = shelf.listed().await;
    assert_eq!(listed, [shelf.sbom.digest]);
}

/// `OCI-Subject` without a list: ECR for some weeks, Docker Hub at times.
#[tokio::test]
async fn a_registry_that_claims_the_subject_and_lists_nothing_is_not_believed() {
    let shelf = shelf(Knobs {
        pushes: Pushes {
            says_subject: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    })
    .await;
    let listed = shelf.listed().await;
    assert_eq!(listed, [shelf.sbom.digest]);
}

#[tokio::test]
async fn ecrs_expired_token_is_a_refusal_and_never_an_empty_list() {
    let shelf = shelf(profiles::ecr()).await;
    let endpoint = shelf.refshim.endpoint().basic("AWS", "ecr-token");
    shelf.fake.turn(|knobs| {
        knobs.auth = Auth::Aws {
            password: "ecr-token".to_owned(),
            expired: true,
        };
    });
    let reply = endpoint
        .referrers_reply(REPOSITORY, &shelf.subject.digest)
        .await
        .expect_status(403);
    assert!(String::from_utf8_lossy(&reply.body).contains("Your authorization token has expired"));
    let anonymous = shelf
        .refshim
        .endpoint()
        .referrers_reply(REPOSITORY, &shelf.subject.digest)
        .await;
    let challenge = anonymous.expect_status(401);
    assert!(
        challenge
            .header("www-authenticate")
            .unwrap()
            .starts_with("Basic realm=")
    );
}

/// As cosign and others write it: neither the artifact type nor the annotations of the manifest, and a size that is not its.
fn lying_index(bundle: &Pushed) -> Value {
    let mut entry = bundle.descriptor();
    entry["artifactType"] = json!("application/vnd.oci.empty.v1+json");
    entry["annotations"] = json!({"org.example.lie": "yes"});
    entry["size"] = json!(7);
    index([entry])
}

/// On GHCR, valid cosign bundles are "no signatures found" because the stored index gives them an empty type.
#[tokio::test]
async fn what_a_stored_index_says_of_its_entries_is_not_believed() {
    let shelf = shelf(Knobs::default()).await;
    let bundle_type = "application/vnd.dev.sigstore.bundle.v0.3+json";
    let bundle = shelf
        .fake
        .artifact(REPOSITORY, "", &shelf.subject, bundle_type, "bundle");
    shelf
        .fake
        .put(REPOSITORY, &shelf.subject.referrers_tag(), INDEX, &lying_index(&bundle));
    let endpoint = shelf.refshim.endpoint();
    let listed = endpoint.referrers(REPOSITORY, &shelf.subject.digest).await;
    let entry = listed
        .iter()
        .find(|entry| entry["digest"] == bundle.digest.as_str())
        .unwrap();
    assert_eq!(
        entry,
        &json!({
            "mediaType": IMAGE, "digest": bundle.digest, "size": bundle.size(), "artifactType": bundle_type,
            "annotations": {"org.opencontainers.image.title": "bundle"},
        })
    );
    let path = format!(
        "/v2/{REPOSITORY}/referrers/{}?artifactType={}",
        shelf.subject.digest,
        bundle_type.replace('+', "%2B")
    );
    let filtered = endpoint.get(&path).await.expect_status(200).json();
    assert_eq!(filtered["manifests"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn what_a_stored_index_claims_for_others_is_not_believed() {
    let shelf = shelf(Knobs::default()).await;
    let another = shelf.fake.image(REPOSITORY, "v2", "another");
    let foreign = shelf.fake.artifact(REPOSITORY, "", &another, SPDX, "of another");
    let gone = Pushed::of(IMAGE, &support::content::bare_image("gone"));
    let claims = index([foreign.descriptor(), gone.descriptor(), shelf.subject.descriptor()]);
    shelf
        .fake
        .put(REPOSITORY, &shelf.subject.referrers_tag(), INDEX, &claims);
    let listed = shelf.listed().await;
    assert_eq!(listed, [shelf.sbom.digest]);
}

/// What cannot be compared with what else refers to the image would hide that, were it given as it is.
#[tokio::test]
async fn a_referrers_tag_that_comes_compressed_or_in_part_is_an_error() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    fake.tagged_artifact("app", &image, SPDX, "behind another tag");
    let tag = image.referrers_tag();
    fake.endpoint().put_manifest("app", &tag, INDEX, &index([])).await;
    let refshim = Refshim::builder(&fake.url()).start().await;
    let odd = [203, 206, 304].map(|status| Trouble::Status(StatusCode::from_u16(status).unwrap()));
    for trouble in odd.into_iter().chain([Trouble::Gzip]) {
        let of_tag = format!("/v2/app/manifests/{tag}");
        fake.heal();
        fake.trouble(trouble, move |seen| seen.path == of_tag);
        let reply = refshim.endpoint().manifest("app", &tag).await;
        assert_eq!(
            (reply.status, reply.error_code()),
            (502, "UNAVAILABLE".to_owned()),
            "{reply:?}"
        );
    }
    fake.heal();
    let asked = [
        ("accept", INDEX),
        ("if-modified-since", "Fri, 27 Nov 2099 00:00:00 GMT"),
        ("range", "bytes=0-9"),
    ];
    let path = format!("/v2/app/manifests/{tag}");
    let whole = refshim.endpoint().get_with(&path, &asked).await.expect_status(200);
    assert_eq!(whole.json()["manifests"].as_array().map(Vec::len), Some(1));
    let passed_on = |seen: &Seen| {
        seen.path == path
            && ["if-modified-since", "range"]
                .iter()
                .any(|name| seen.headers.contains_key(*name))
    };
    assert_eq!(fake.count(passed_on), 0);
}
