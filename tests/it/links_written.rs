//! Promise: what is pushed is linked in the forms of `writing.links`, for few requests; what keeps the referrers tag from being written
//! fails a push only where nothing else keeps the link; and an entry that another writer drops is put back.

use crate::support::content::{IMAGE, INDEX, artifact, index};
use crate::support::fake::knobs::{Knobs, Pushes};
use crate::support::fake::{Fake, profiles};
use crate::support::{CountingProxy, Fault, Program, Pushed, Refshim, Registry, Reply, Seen, behind_link, eventually};
use serde_json::json;

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const LINKS: &str = "REFSHIM_WRITING__LINKS";

struct Set {
    registry: Registry,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
}

impl Set {
    async fn new(environment: &[(&str, &str)]) -> Self {
        let (registry, link, refshim, image) = behind_link(Program::V2, environment).await;
        Self {
            registry,
            link,
            refshim,
            image,
        }
    }

    fn sbom(&self, name: &str) -> Pushed {
        Pushed::of(IMAGE, &artifact(&self.image, SBOM, name))
    }

    async fn push(&self, pushed: &Pushed) -> Reply {
        self.refshim.endpoint().put_bytes("app", "", pushed).await
    }

    /// What the registry itself lists under the referrers tag, sorted; none where there is no tag.
    async fn stored(&self) -> Vec<String> {
        let straight = self.registry.endpoint();
        let stored = straight.manifest("app", &self.image.referrers_tag()).await;
        if stored.status == 404 {
            return Vec::new();
        }
        let entries = stored.json()["manifests"].as_array().cloned().unwrap_or_default();
        let mut digests: Vec<String> = entries
            .iter()
            .map(|d| d["digest"].as_str().unwrap().to_owned())
            .collect();
        digests.sort();
        digests
    }

    async fn eventually_stored(&self, pushed: &[&Pushed]) {
        let wanted = sorted(pushed.iter().copied());
        eventually("the referrers tag lists it", async || {
            (self.stored().await == wanted).then_some(())
        })
        .await;
    }

    /// Somebody who knows of nothing else writes the tag straight.
    async fn overwrite(&self, entries: &[&Pushed]) {
        let list = index(entries.iter().map(|entry| entry.descriptor()));
        let tag = self.image.referrers_tag();
        self.registry.endpoint().put_manifest("app", &tag, INDEX, &list).await;
    }

    /// All tags as the registry has them.
    async fn tags(&self) -> Vec<String> {
        let listed = self.registry.endpoint().get("/v2/app/tags/list").await.json();
        let mut tags: Vec<String> = listed["tags"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tag| tag.as_str().unwrap().to_owned())
            .collect();
        tags.sort();
        tags
    }

    fn writes_tag(&self) -> impl Fn(&Seen) -> bool + Send + use<> {
        let path = format!("/v2/app/manifests/{}", self.image.referrers_tag());
        move |seen| seen.method == "PUT" && seen.path == path
    }

    async fn outcome(&self, outcome: &str) -> f64 {
        let name = format!("refshim_referrers_tag_entries_total{{upstream=\"default\",outcome=\"{outcome}\"}}");
        self.refshim.metric(&name).await.unwrap()
    }
}

fn sorted<'a>(pushed: impl IntoIterator<Item = &'a Pushed>) -> Vec<String> {
    let mut digests: Vec<String> = pushed.into_iter().map(|p| p.digest.clone()).collect();
    digests.sort();
    digests
}

fn is_write(seen: &Seen) -> bool {
    seen.method == "PUT"
}

#[tokio::test]
async fn each_form_is_written_alone_or_with_the_other() {
    for (links, has_tag_of_its_own, is_listed) in [
        ("proposal-d,referrers-tag", true, true),
        ("proposal-d", true, false),
        ("referrers-tag", false, true),
        ("", false, false),
    ] {
        let set = Set::new(&[(LINKS, links)]).await;
        let sbom = set.sbom("sbom");
        let reply = set.push(&sbom).await.expect_status(201);
        // Without a link that it wrote, refshim promises nothing.
        let promised = (has_tag_of_its_own || is_listed).then_some(&*set.image.digest);
        assert_eq!(reply.header("oci-subject"), promised, "{links}");
        let mut tags = vec!["v1".to_owned()];
        tags.extend(is_listed.then(|| set.image.referrers_tag()));
        tags.extend(has_tag_of_its_own.then(|| sbom.proposal_d_tag(&set.image, "acme.sbom")));
        tags.sort();
        assert_eq!(set.tags().await, tags, "{links}");
        assert_eq!(
            set.stored().await,
            if is_listed { sorted([&sbom]) } else { vec![] },
            "{links}"
        );
        // Found by one that starts cold, where it was promised.
        let cold = Refshim::in_front_of(set.link.url()).await;
        let found = cold.endpoint().referrer_digests("app", &set.image.digest).await;
        assert_eq!(found.len(), usize::from(promised.is_some()), "{links}");
    }
}

/// docs/migration.md has the table.
#[tokio::test]
async fn a_push_costs_at_most_four_requests_more() {
    let set = Set::new(&[]).await;
    for name in ["first", "second"] {
        let sbom = set.sbom(name);
        set.link.take();
        set.push(&sbom).await.expect_status(201);
        let tag = format!("/v2/app/manifests/{}", set.image.referrers_tag());
        let own = sbom.proposal_d_tag(&set.image, "acme.sbom");
        let expected = [
            format!("PUT /v2/app/manifests/{}", sbom.digest),
            format!("PUT /v2/app/manifests/{own}"),
            format!("GET {tag}"),
            format!("HEAD {tag}"),
            format!("PUT {tag}"),
            format!("GET {tag}"),
        ];
        assert_eq!(set.link.take(), expected, "{name}");
    }
}

/// A writer that comes between costs the caller nothing: what is missing after the first attempt is put in later.
#[tokio::test]
async fn what_another_writer_drops_meanwhile_does_not_keep_the_caller_waiting() {
    let set = Set::new(&[]).await;
    let sbom = set.sbom("sbom");
    set.link.fail_times(1, Fault::status(412), set.writes_tag());
    set.link.take();
    set.push(&sbom).await.expect_status(201);
    let before_the_answer = set.link.take();
    assert!(before_the_answer.len() <= 6, "{before_the_answer:?}");
    set.eventually_stored(&[&sbom]).await;
}

/// The registry's own API keeps the link: nothing is written besides, and nothing asked.
#[tokio::test]
async fn where_the_registry_keeps_links_itself_a_push_costs_what_it_costs_there() {
    let knobs = profiles::keeping_links();
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    refshim.endpoint().referrers("app", &image.digest).await;
    fake.take();
    let sbom = refshim.endpoint().push_artifact("app", &image, SBOM, "sbom").await;
    let writes: Vec<String> = fake
        .requests()
        .iter()
        .filter(|seen| is_write(seen))
        .map(Seen::line)
        .collect();
    assert_eq!(writes.last(), Some(&format!("PUT /v2/app/manifests/{}", sbom.digest)));
    assert!(
        !writes.iter().any(|line| line.contains("/manifests/sha256-")),
        "{writes:?}"
    );
}

/// Each writer looks again, two seconds later for the first time.
#[tokio::test]
async fn an_entry_that_another_writer_drops_is_put_back() {
    let set = Set::new(&[]).await;
    let (one, two) = (set.sbom("one"), set.sbom("two"));
    for pushed in [&one, &two] {
        set.push(pushed).await.expect_status(201);
    }
    let own = set
        .registry
        .endpoint()
        .push_artifact("app", &set.image, SBOM, "own")
        .await;
    set.overwrite(&[&own]).await;
    set.eventually_stored(&[&one, &two, &own]).await;
    eventually("it is counted", async || {
        (set.outcome("put-back").await == 2.0).then_some(())
    })
    .await;
    // And once more: whoever drops entries is at work.
    set.overwrite(&[&own]).await;
    set.eventually_stored(&[&one, &two, &own]).await;
}

#[tokio::test]
async fn an_entry_of_a_deleted_manifest_is_not_put_back() {
    let set = Set::new(&[]).await;
    let (kept, gone) = (set.sbom("kept"), set.sbom("gone"));
    for pushed in [&kept, &gone] {
        set.push(pushed).await.expect_status(201);
    }
    let path = format!("/v2/app/manifests/{}", gone.digest);
    set.registry.endpoint().delete(&path).await.expect_status(202);
    set.overwrite(&[]).await;
    set.eventually_stored(&[&kept]).await;
    eventually("it is looked for no more", async || {
        let watched = set.refshim.metric("entries_watched{upstream=\"default\"}").await;
        (watched == Some(1.0)).then_some(())
    })
    .await;
    assert_eq!(set.stored().await, sorted([&kept]));
}

/// With tags of their own, links do not depend on the referrers tag.
#[tokio::test]
async fn a_list_that_cannot_be_written_fails_no_push_and_heals() {
    for fault in [Fault::status(500), Fault::Close, Fault::Lose] {
        let set = Set::new(&[]).await;
        let sbom = set.sbom("sbom");
        set.link.fail(fault, set.writes_tag());
        let reply = set.push(&sbom).await.expect_status(201);
        assert_eq!(reply.header("oci-subject"), Some(&*set.image.digest));
        set.link.heal();
        set.eventually_stored(&[&sbom]).await;
    }
}

/// What is due later is done when the process is told to end.
#[tokio::test]
async fn the_end_of_the_process_looks_once_more() {
    let mut set = Set::new(&[]).await;
    let sbom = set.sbom("sbom");
    set.push(&sbom).await.expect_status(201);
    set.overwrite(&[]).await;
    set.refshim.terminate();
    set.refshim.ended().await;
    assert_eq!(set.stored().await, sorted([&sbom]));
}

/// Nothing else keeps the link: without it, the push is not acknowledged, and can be repeated.
#[tokio::test]
async fn where_it_is_the_only_form_a_list_that_cannot_be_written_fails_the_push() {
    let set = Set::new(&[(LINKS, "referrers-tag")]).await;
    let sbom = set.sbom("sbom");
    for fault in [Fault::status(500), Fault::status(403), Fault::status(400), Fault::Close] {
        set.link.fail(fault, set.writes_tag());
        let reply = set.push(&sbom).await;
        set.link.heal();
        assert!(
            reply.status >= 400 && reply.header("oci-subject").is_none(),
            "{reply:?}"
        );
        reply.error_code();
        assert!(reply.text().contains("push it again"), "{reply:?}");
    }
    set.push(&sbom).await.expect_status(201);
    assert_eq!(set.stored().await, sorted([&sbom]));

    let other = set.registry.endpoint().push_image("app", "v2", "other").await;
    set.registry
        .endpoint()
        .put_tag("app", &other.referrers_tag(), &other)
        .await;
    let of_other = Pushed::of(IMAGE, &artifact(&other, SBOM, "sbom"));
    let refused = set.push(&of_other).await.expect_status(409);
    assert_eq!(refused.error_code(), "TAG_INVALID");
    assert!(refused.text().contains(&other.referrers_tag()), "{refused:?}");
}

/// Another field than `subject` has no place in a referrers tag: clients that read one expect the field.
#[tokio::test]
async fn only_what_names_its_subject_as_oci_11_does_is_listed() {
    for (links, promised) in [("proposal-d,referrers-tag", true), ("referrers-tag", false)] {
        let set = Set::new(&[(LINKS, links)]).await;
        let mut manifest = artifact(&set.image, SBOM, "refers");
        let subject = manifest.as_object_mut().unwrap().remove("subject").unwrap();
        manifest["refers"] = subject;
        let pushed = Pushed::of(IMAGE, &manifest);
        let reply = set.push(&pushed).await.expect_status(201);
        assert_eq!(reply.header("oci-subject").is_some(), promised, "{links}");
        assert_eq!(set.stored().await, Vec::<String>::new(), "{links}");
    }
}

/// An envelope is found by its Proposal D tag alone.
#[tokio::test]
async fn without_proposal_d_a_refusal_of_a_media_type_is_relayed() {
    let manifest = |set: &Set| {
        let manifest = json!({
            "mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": SBOM, "blobs": [],
            "subject": set.image.descriptor(),
        });
        Pushed::of("application/vnd.oci.artifact.manifest.v1+json", &manifest)
    };
    for (links, status) in [("referrers-tag", 400), ("", 400), ("proposal-d", 201)] {
        let set = Set::new(&[(LINKS, links)]).await;
        set.push(&manifest(&set)).await.expect_status(status);
    }
}

/// A tag that is locked keeps the list of its first writing.
#[tokio::test]
async fn a_locked_tag_is_logged_and_counted() {
    let knobs = Knobs {
        pushes: Pushes {
            immutable_tags: true,
            ..Pushes::default()
        },
        ..Knobs::default()
    };
    let fake = Fake::start(knobs).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let first = refshim.endpoint().push_artifact("app", &image, SBOM, "first").await;
    let second = refshim.endpoint().push_artifact("app", &image, SBOM, "second").await;
    let refused = "refshim_referrers_tag_entries_total{upstream=\"default\",outcome=\"refused\"}";
    eventually("it is counted", async || {
        (refshim.metric(refused).await == Some(1.0)).then_some(())
    })
    .await;
    assert!(
        refshim.output().contains("does not let the referrers tag be written"),
        "{}",
        refshim.output()
    );
    let check = ["check", "--upstream", &fake.url(), "--repository", "app"];
    let said = crate::support::cli::refshim(&check).await.ok();
    assert!(said.contains("1 of 1 referrers tags lack links"), "{said}");
    // Through refshim nothing is missing, by the tag either.
    let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
    assert_eq!(listed, sorted([&first, &second]));
    let by_tag = refshim.endpoint().manifest("app", &image.referrers_tag()).await.json();
    assert_eq!(by_tag["manifests"].as_array().map(Vec::len), Some(2));
}

/// GitLab answers the referrers tag with the subject itself.
#[tokio::test]
async fn a_tag_that_is_the_subject_itself_is_counted() {
    let fake = Fake::start(profiles::gitlab()).await;
    let image = fake.image("app", "v1", "image");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    refshim.endpoint().push_artifact("app", &image, SBOM, "sbom").await;
    let taken = "refshim_referrers_tag_entries_total{upstream=\"default\",outcome=\"taken\"}";
    assert_eq!(refshim.metric(taken).await, Some(1.0));
}

/// A client that keeps the tag itself reads all that was found, and what it writes back is stored, whatever of it the registry does not
/// have as a manifest.
#[tokio::test]
async fn a_client_that_keeps_the_tag_reads_all_and_writes_back_what_it_read() {
    let set = Set::new(&[]).await;
    let through = set.refshim.endpoint();
    let sealed = json!({
        "mediaType": "application/vnd.oci.artifact.manifest.v1+json", "artifactType": SBOM, "blobs": [],
        "subject": set.image.descriptor(),
    });
    let sealed = Pushed::of("application/vnd.oci.artifact.manifest.v1+json", &sealed);
    through.put_bytes("app", "", &sealed).await.expect_status(201);
    let listed = set.sbom("listed");
    set.push(&listed).await.expect_status(201);
    let tag = set.image.referrers_tag();
    let read = through.manifest("app", &tag).await.expect_status(200);
    let head = through
        .head(&format!("/v2/app/manifests/{tag}"))
        .await
        .expect_status(200);
    assert_eq!(
        head.header("docker-content-digest"),
        read.header("docker-content-digest")
    );
    let mut list = read.json();
    let entries = list["manifests"].as_array_mut().unwrap();
    assert_eq!(entries.len(), 2, "the one in an envelope, too");
    let own = set
        .registry
        .endpoint()
        .push_artifact("app", &set.image, SBOM, "own")
        .await;
    entries.push(own.descriptor());
    let list = Pushed::of(INDEX, &list);
    through.put_bytes("app", &tag, &list).await.expect_status(201);
    assert_eq!(set.stored().await, sorted([&listed, &own]));
    let found = through.referrer_digests("app", &set.image.digest).await;
    assert_eq!(found, sorted([&sealed, &listed, &own]));
}

/// What the registry's list says is passed on to the byte where it is complete, and asked for anew each time.
#[tokio::test]
async fn a_stored_list_that_is_complete_is_passed_on_as_it_is() {
    let set = Set::new(&[]).await;
    let sbom = set.sbom("sbom");
    set.push(&sbom).await.expect_status(201);
    let (through, tag) = (set.refshim.endpoint(), set.image.referrers_tag());
    let stored = set.registry.endpoint().manifest("app", &tag).await;
    let read = through.manifest("app", &tag).await.expect_status(200);
    assert_eq!(read.body, stored.body);
    // A list that lacks entries is not "the same still".
    let etag = stored.header("etag").unwrap().to_owned();
    set.registry
        .endpoint()
        .attach("app", &set.image, SBOM, "attached")
        .await;
    let fresh = Refshim::in_front_of(set.link.url()).await;
    let path = format!("/v2/app/manifests/{tag}");
    let read = fresh
        .endpoint()
        .get_with(&path, &[("if-none-match", &etag), ("accept", INDEX)])
        .await;
    assert_eq!(
        read.expect_status(200).json()["manifests"].as_array().map(Vec::len),
        Some(2)
    );
}
