//! Promise: whoever may push to a repository cannot break or hide what others linked (docs/security.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use serde_json::{Value, json};

use super::counted;
use crate::support::content::{IMAGE, INDEX, artifact, bare_image, index};
use crate::support::fake::knobs::Knobs;
use crate::support::fake::{Fake, Trouble};
use crate::support::{Pushed, Refshim, Seen};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
/// Requests for manifests and blobs that one search may make.
const REQUESTS: usize = 2000;

async fn front(fake: &Fake) -> Refshim {
    Refshim::in_front_of(&fake.url()).await
}

fn of_manifest(seen: &Seen) -> bool {
    seen.path.contains("/manifests/")
}

/// Asks until there is a list. Returns how often that was, and the digests.
async fn ask_on(fake: &Fake, refshim: &Refshim, subject: &Pushed) -> (usize, Vec<String>) {
    for times in 1..20 {
        let before = fake.count(of_manifest);
        let reply = refshim.endpoint().referrers_reply("app", &subject.digest).await;
        let asked = fake.count(of_manifest) - before;
        assert!(asked <= REQUESTS + 5, "question {times} made {asked} requests");
        if reply.status == 200 {
            return (times, refshim.endpoint().referrer_digests("app", &subject.digest).await);
        }
        assert_eq!(reply.status, 503, "{reply:?}");
        assert_eq!(reply.header("retry-after"), Some("1"), "{reply:?}");
    }
    panic!("no list after 20 questions");
}

#[tokio::test]
async fn a_link_tag_is_not_replaced_by_something_else() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    let tag = sbom.proposal_d_tag(&image, "sbom");
    let refshim = front(&fake).await;
    let through = refshim.endpoint();
    let own = Pushed::of(IMAGE, &artifact(&image, SBOM, "another"));
    let junk = [
        Pushed::of(IMAGE, &bare_image("junk")),
        own.clone(),
        Pushed::of(INDEX, &index([])),
        Pushed::of("application/x-unknown", &json!({"junk": true})),
    ];
    for junk in junk {
        let reply = through.put_bytes("app", &tag, &junk).await.expect_status(400);
        let message = reply.json()["errors"][0]["message"].as_str().unwrap().to_owned();
        assert!(
            message.contains(&sbom.hex()[..16]) && message.contains(&junk.digest),
            "{message}"
        );
    }
    assert_eq!(
        through.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&sbom.digest)
    );
    // What the tag links may be put there again, and anything under a tag of its own.
    through.put_bytes("app", &tag, &sbom).await.expect_status(201);
    let tag = own.proposal_d_tag(&image, "sbom");
    through.put_bytes("app", &tag, &own).await.expect_status(201);
    assert_eq!(through.referrers("app", &image.digest).await.len(), 2);
}

#[tokio::test]
async fn many_junk_tags_of_one_subject_are_read_over_several_questions() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    let another = fake.image("app", "", "another");
    let junk = fake.artifact("app", "", &another, SBOM, "junk");
    for number in 0..2 * REQUESTS + 100 {
        let tag = format!("{}.{number:x}.x", image.referrers_tag());
        fake.put_pushed("app", &tag, &junk);
    }
    let refshim = front(&fake).await;
    let (times, listed) = ask_on(&fake, &refshim, &image).await;
    assert_eq!(times, 3);
    // The junk has a subject of its own and is nobody's.
    assert_eq!(listed, [sbom.digest]);
    let tags = fake.count(|seen| of_manifest(seen) && seen.path.ends_with(".x"));
    assert!(
        tags <= 2 * REQUESTS + 100 + 64,
        "{tags} requests: what was read is read again"
    );
}

#[tokio::test]
async fn absences_are_remembered() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.artifact("app", "", &image, SBOM, "sbom");
    let gone = |number: usize| Pushed::of(IMAGE, &bare_image(&format!("gone {number}")));
    let many: Vec<_> = (0..REQUESTS).map(|number| gone(number).descriptor()).collect();
    let with_sbom = index(many.iter().cloned().chain([sbom.descriptor()]));
    fake.put("app", &image.referrers_tag(), INDEX, &with_sbom);
    let other = fake.image("app", "v2", "other");
    fake.put("app", &other.referrers_tag(), INDEX, &index(many));
    let refshim = front(&fake).await;
    let (times, listed) = ask_on(&fake, &refshim, &image).await;
    assert!(times > 1, "{times}");
    assert_eq!(listed, [sbom.digest]);
    let before = fake.count(of_manifest);
    let (times, listed) = ask_on(&fake, &refshim, &other).await;
    assert_eq!((times, listed), (1, Vec::new()));
    let asked = fake.count(of_manifest) - before;
    assert!(asked < 10, "{asked} requests for what was just said to be absent");
}

/// A registry like Distribution 2.8 takes an index of what it holds, be it blobs, and fails at each that is asked for.
#[tokio::test]
async fn a_blob_that_is_listed_as_a_signature_breaks_no_list() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    let signature = fake.image("app", "", "signature");
    let blob = fake.blob("app", "no manifest at all");
    let listed = json!({"mediaType": IMAGE, "digest": blob, "size": 18});
    let signatures = index([signature.descriptor(), listed]);
    fake.put("app", &format!("{}.sig", image.referrers_tag()), INDEX, &signatures);
    let path = format!("/v2/app/manifests/{blob}");
    fake.trouble(Trouble::oci(500, "UNKNOWN", "unknown error"), move |seen| {
        seen.path == path
    });
    let refshim = front(&fake).await;
    let adopted = signature.adopted_by_suffix(&image, ".sig");
    let mut expected = [sbom.digest, adopted.digest];
    expected.sort();
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        expected
    );
    assert_eq!(counted(&refshim, "refshim_manifests_skipped_total").await, 1.0);
}

/// What the registry fails at, and holds no such blob, may be a signature.
#[tokio::test]
async fn a_candidate_that_the_registry_fails_at_is_an_error() {
    for (status, code) in [(500, "UNKNOWN"), (502, "UNAVAILABLE"), (403, "DENIED")] {
        let fake = Fake::start(Knobs::default()).await;
        let image = fake.image("app", "v1", "image");
        fake.tagged_artifact("app", &image, SBOM, "sbom");
        let signature = fake.image("app", "", "signature");
        fake.put(
            "app",
            &format!("{}.sig", image.referrers_tag()),
            INDEX,
            &index([signature.descriptor()]),
        );
        let path = format!("/v2/app/manifests/{}", signature.digest);
        fake.trouble(Trouble::oci(status, code, "no"), move |seen| seen.path == path);
        let refshim = front(&fake).await;
        let reply = refshim.endpoint().referrers_reply("app", &image.digest).await;
        assert!(reply.status >= 400, "{status} {code}: {reply:?}");
    }
}

#[tokio::test]
async fn garbage_under_a_link_tag_and_wrong_sizes_hide_nothing() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let sbom = fake.tagged_artifact("app", &image, SBOM, "sbom");
    let wrong = fake.artifact("app", "", &image, SBOM, "wrong size");
    let mut descriptor = wrong.descriptor();
    descriptor["size"] = json!(1);
    fake.put("app", &image.referrers_tag(), INDEX, &index([descriptor]));
    let garbage = fake.put("app", "", "application/octet-stream", &json!("garbage"));
    for suffix in [
        ".sig".to_owned(),
        format!(".{}.sbom", &garbage.hex()[..16]),
        ".0123.x".to_owned(),
    ] {
        fake.put_pushed("app", &format!("{}{suffix}", image.referrers_tag()), &garbage);
    }
    let refshim = front(&fake).await;
    let listed = refshim.endpoint().referrers("app", &image.digest).await;
    assert_eq!(listed.len(), 2, "{listed:?}");
    let size = listed.iter().find(|entry| entry["digest"] == wrong.digest.as_str());
    assert_eq!(size.map(|entry| &entry["size"]), Some(&json!(wrong.size())));
    assert!(listed.iter().any(|entry| entry["digest"] == sbom.digest.as_str()));
    assert_eq!(counted(&refshim, "refshim_manifests_skipped_total").await, 3.0);
}

/// The descriptor with the manifest itself in it.
fn inlined(manifest: &Pushed) -> Value {
    let mut descriptor = manifest.descriptor();
    descriptor["data"] = STANDARD.encode(&manifest.bytes).into();
    descriptor
}

#[tokio::test]
async fn what_an_index_holds_itself_is_listed_only_while_the_registry_has_it() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let held = fake.artifact("app", "", &image, SBOM, "held");
    let gone = Pushed::of(IMAGE, &artifact(&image, SBOM, "gone"));
    let signature = Pushed::of(IMAGE, &bare_image("signature"));
    let both = index([inlined(&held), inlined(&gone)]);
    fake.put("app", &image.referrers_tag(), INDEX, &both);
    fake.put(
        "app",
        &format!("{}.sig", image.referrers_tag()),
        INDEX,
        &index([inlined(&signature)]),
    );
    let refshim = front(&fake).await;
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&held.digest)
    );
    let asked = |method: Method| fake.count(|seen| seen.path.ends_with(&held.digest) && seen.method == method);
    assert_eq!((asked(Method::HEAD), asked(Method::GET)), (1, 0), "its bytes are known");
}

#[tokio::test]
async fn entries_that_are_no_descriptors_are_counted_and_hide_no_others() {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image("app", "v1", "image");
    let (one, other) = (
        fake.artifact("app", "", &image, SBOM, "one"),
        fake.artifact("app", "", &image, SBOM, "other"),
    );
    let mut odd = one.descriptor();
    odd["size"] = json!(-1);
    odd["mediaType"] = json!(7);
    let listed = [
        json!({"mediaType": IMAGE, "size": 5}),
        json!({"mediaType": IMAGE, "digest": "sha256:abc", "size": 5}),
        json!("text"),
        odd,
        other.descriptor(),
    ];
    fake.put("app", &image.referrers_tag(), INDEX, &index(listed));
    let refshim = front(&fake).await;
    let mut expected = [one.digest, other.digest];
    expected.sort();
    assert_eq!(
        refshim.endpoint().referrer_digests("app", &image.digest).await,
        expected
    );
    assert_eq!(counted(&refshim, "refshim_manifests_skipped_total").await, 3.0);
}
