//! What a question costs the upstream, counted (depth `names`; the access check of a caller is not counted).

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use crate::support::content::{IMAGE, INDEX, SIGNATURE, bare_image, index};
use crate::support::{CountingProxy, Endpoint, Local, Program, Pushed, Refshim, Registry, Seen, advance, eventually};
use serde_json::{Value, json};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

/// A registry with a few tags, refshim in front, and the link between them.
struct Setup {
    registry: Registry,
    straight: Endpoint,
    link: CountingProxy,
    refshim: Refshim,
    image: Pushed,
    others: Vec<Pushed>,
}

enum Freshness {
    /// Answers stay fresh longer than any test takes.
    Long,
    /// Every question is a refresh.
    None,
}

impl Setup {
    /// What is learned once about an upstream (has it the API itself?) is learned here.
    async fn new(program: Program, freshness: Freshness) -> Self {
        let registry = Registry::start(program).await;
        let straight = registry.endpoint();
        let link = CountingProxy::in_front_of(&registry.url()).await;
        let fresh_for = match freshness {
            Freshness::Long => "1h",
            Freshness::None => "0s",
        };
        let refshim = Refshim::builder(link.url())
            .env("REFSHIM_LINKS__DEPTH", "names")
            .env("REFSHIM_CACHE__FRESH_FOR", fresh_for)
            .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
            .start()
            .await;
        let image = straight.push_image("app", "v1", "image").await;
        let mut others = Vec::new();
        for n in 0..5 {
            others.push(
                straight
                    .push_image("app", &format!("other{n}"), &format!("other {n}"))
                    .await,
            );
        }
        let known = straight.push_image("learn", "a", "a").await;
        straight.push_image("learn", "b", "b").await;
        straight.push_image("learn", "c", "c").await;
        refshim.endpoint().referrers("learn", &known.digest).await;
        Self {
            registry,
            straight,
            link,
            refshim,
            image,
            others,
        }
    }

    /// Lets refshim know that anybody may read `app`, and by three subjects that its listing is whole, at the cost of questions
    /// about something else.
    async fn may_read(&self) {
        self.ask_others(0..3).await;
        self.link.take();
    }

    async fn ask_others(&self, which: Range<usize>) {
        for other in &self.others[which] {
            self.refshim.endpoint().referrers("app", &other.digest).await;
        }
    }

    /// The same, of which these are the listings: each begins so.
    async fn may_read_after(&self, listings: impl AsRef<[&str]>) {
        self.link.take();
        self.ask_others(0..1).await;
        let cost = self.link.take();
        self.ask_others(1..3).await;
        let asked: Vec<&str> = cost
            .iter()
            .filter_map(|line| Some(line.split_once("/tags/list?")?.1))
            .collect();
        let listings = listings.as_ref();
        assert_eq!(asked.len(), listings.len(), "{cost:?}");
        assert!(
            asked
                .iter()
                .zip(listings)
                .all(|(asked, begin)| asked.starts_with(begin)),
            "{cost:?}"
        );
    }

    /// The list, and the requests that it cost.
    async fn ask(&self) -> (Vec<Value>, Vec<String>) {
        self.link.take();
        let listed = self.refshim.endpoint().referrers("app", &self.image.digest).await;
        (listed, self.link.take())
    }

    /// An artifact under its Proposal D tag.
    async fn attach(&self, name: &str) {
        self.straight.attach("app", &self.image, TYPE, name).await;
    }
}

#[tokio::test]
async fn a_fresh_answer_costs_nothing() {
    for program in Program::ALL {
        let setup = Setup::new(program, Freshness::Long).await;
        setup.attach("one").await;
        let (first, _) = setup.ask().await;
        let (second, cost) = setup.ask().await;
        assert_eq!((first.len(), &second), (1, &first));
        assert_eq!(cost, [] as [String; 0], "{program:?}");
    }
}

#[tokio::test]
async fn no_referrers_of_a_large_repository_that_seeks_cost_one_request() {
    let setup = Setup::new(Program::V3, Freshness::Long).await;
    let many = (0..3000).map(|n| (format!("t{n:04}"), setup.image.digest.as_str()));
    setup.registry.write_tags("app", many);
    setup
        .may_read_after(["n=1000", "n=2&last=", "n=1000&last=sha256-"])
        .await;
    let (listed, cost) = setup.ask().await;
    assert_eq!(listed, [] as [Value; 0]);
    assert_eq!(cost.len(), 1, "{cost:?}");
    assert!(
        cost[0].contains("/tags/list?") && cost[0].contains("last=sha256-"),
        "{cost:?}"
    );
}

/// Every question is a refresh, and calibrates anew.
#[tokio::test]
async fn seeking_is_calibrated_once_per_refresh() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    let many = (0..3000).map(|n| (format!("t{n:04}"), setup.image.digest.as_str()));
    setup.registry.write_tags("app", many);
    setup.may_read().await;
    let (_, cost) = setup.ask().await;
    assert_eq!(cost.len(), 2, "{cost:?}");
    assert!(
        cost[0].contains("n=2&last=") && cost[1].contains("last=sha256-"),
        "{cost:?}"
    );
}

/// What a first question costs in listings, by what the registry does with `n`.
#[tokio::test]
async fn how_a_listing_ends_is_learned_once_per_repository() {
    for (program, first) in [
        (Program::V2, &["n=1000", "n=1", "n=1000&last="][..]),
        (Program::V3, &["n=1000", "n=1"]),
    ] {
        let setup = Setup::new(program, Freshness::None).await;
        setup.may_read_after(first).await;
        let (_, cost) = setup.ask().await;
        assert_eq!(cost.len(), 1, "{program:?}: {cost:?}");
    }
}

#[tokio::test]
async fn new_referrers_cost_one_request_each() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    setup.may_read().await;
    for n in 0..5 {
        setup.attach(&format!("artifact {n}")).await;
    }
    let (listed, cost) = setup.ask().await;
    assert_eq!((listed.len(), cost.len()), (5, 1 + 5), "{cost:?}");
}

#[tokio::test]
async fn manifests_are_read_in_parallel_but_not_without_limit() {
    let setup = Setup::new(Program::V3, Freshness::Long).await;
    for n in 0..40 {
        setup.attach(&format!("artifact {n}")).await;
    }
    setup.may_read().await;
    let gate = setup.link.hold(|seen| seen.path.contains("/manifests/sha256-"));
    let (through, digest) = (setup.refshim.endpoint(), setup.image.digest.clone());
    let asked = tokio::spawn(async move { through.referrers("app", &digest).await });
    gate.reached_by(16).await;
    // Any more that were sent at the same time have arrived by the time that later ones are answered.
    for _ in 0..10 {
        setup.refshim.endpoint().get("/v2/").await.expect_status(200);
    }
    assert_eq!(setup.link.count(|seen| seen.path.contains("/manifests/sha256-")), 16);
    gate.open();
    assert_eq!(asked.await.unwrap().len(), 40);
}

/// What is not in any tag and was only seen in passing: manifests of their own, and indexes that hold links of others.
async fn pass_by(setup: &Setup, holders: &[Pushed]) {
    let through = setup.refshim.endpoint();
    for holder in holders {
        through.manifest("app", &holder.digest).await.expect_status(200);
    }
    eventually("all are learned from", async || {
        let (_, cost) = setup.ask().await;
        let asked = |holder: &Pushed| cost.iter().any(|line| line.ends_with(&holder.digest));
        holders.iter().all(asked).then_some(())
    })
    .await;
}

async fn holder_of(setup: &Setup, name: &str) -> Pushed {
    let held = setup.straight.push_image("app", "", name).await;
    let link = held.annotated(json!({"org.opencontainers.reference": setup.image.digest}));
    setup.straight.put_manifest("app", "", INDEX, &index([link])).await
}

#[tokio::test]
async fn holders_of_links_are_read_in_parallel_but_not_without_limit() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    let mut holders = Vec::new();
    for n in 0..40 {
        holders.push(holder_of(&setup, &format!("held {n}")).await);
    }
    pass_by(&setup, &holders).await;
    setup.link.take();
    let is_holder = move |seen: &Seen| holders.iter().any(|holder| seen.path.ends_with(&holder.digest));
    let gate = setup.link.hold(is_holder.clone());
    let (through, digest) = (setup.refshim.endpoint(), setup.image.digest.clone());
    let asked = tokio::spawn(async move { through.referrers("app", &digest).await });
    gate.reached_by(16).await;
    // As above.
    for _ in 0..10 {
        setup.refshim.endpoint().get("/v2/").await.expect_status(200);
    }
    assert_eq!(setup.link.count(is_holder), 16);
    gate.open();
    assert_eq!(asked.await.unwrap().len(), 40);
}

#[tokio::test]
async fn what_was_seen_in_passing_and_is_gone_is_asked_for_once_more() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    let straight = &setup.straight;
    let artifact = straight.push_artifact("app", &setup.image, TYPE, "artifact").await;
    let (holder, kept) = (holder_of(&setup, "gone").await, holder_of(&setup, "kept").await);
    pass_by(&setup, &[artifact.clone(), holder.clone(), kept.clone()]).await;
    for gone in [&artifact, &holder] {
        let path = format!("/v2/app/manifests/{}", gone.digest);
        straight.delete(&path).await.expect_status(202);
    }
    let asks_for_gone = |cost: &[String]| {
        let gone = cost
            .iter()
            .filter(|line| line.contains(artifact.hex()) || line.contains(holder.hex()));
        gone.count()
    };
    let (listed, cost) = setup.ask().await;
    assert!(listed.len() == 1 && asks_for_gone(&cost) > 0, "{listed:?} {cost:?}");
    let (listed, cost) = setup.ask().await;
    assert_eq!((listed.len(), asks_for_gone(&cost)), (1, 0), "{cost:?}");
    assert!(cost.iter().any(|line| line.ends_with(&kept.digest)), "{cost:?}");

    // Who is pushed again is learned from again.
    straight.put_bytes("app", "", &artifact).await.expect_status(201);
    pass_by(&setup, std::slice::from_ref(&artifact)).await;
    assert_eq!(setup.ask().await.0.len(), 2);
}

#[tokio::test]
async fn refreshing_immutable_tags_costs_one_request() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    for n in 0..5 {
        setup.attach(&format!("artifact {n}")).await;
    }
    setup.ask().await;
    let (listed, cost) = setup.ask().await;
    assert_eq!((listed.len(), cost.len()), (5, 1), "{cost:?}");
    setup.attach("one more").await;
    let (listed, cost) = setup.ask().await;
    assert_eq!((listed.len(), cost.len()), (6, 2), "{cost:?}");
}

#[tokio::test]
async fn refreshing_mutable_tags_costs_a_head_each() {
    let setup = Setup::new(Program::V3, Freshness::None).await;
    let straight = &setup.straight;
    for suffix in ["sig", "att"] {
        let tag = format!("sha256-{}.{suffix}", setup.image.hex());
        straight.put_manifest("app", &tag, IMAGE, &bare_image(suffix)).await;
    }
    let listed = straight.push_artifact("app", &setup.image, TYPE, "listed").await;
    straight
        .put_manifest(
            "app",
            &setup.image.referrers_tag(),
            INDEX,
            &index([listed.descriptor()]),
        )
        .await;
    setup.ask().await;
    let (listed, cost) = setup.ask().await;
    let heads = cost.iter().filter(|line| line.starts_with("HEAD ")).count();
    assert_eq!((listed.len(), cost.len(), heads), (3, 1 + 3, 3), "{cost:?}");

    // Moved: the head says so, and the new manifest is read.
    let tag = format!("sha256-{}.sig", setup.image.hex());
    let moved = straight.put_manifest("app", &tag, IMAGE, &bare_image("moved")).await;
    let (listed, cost) = setup.ask().await;
    let adopted = moved.listed(&setup.image, Some(SIGNATURE));
    assert!(listed.iter().any(|d| d["digest"] == json!(adopted.digest)));
    assert!(cost.len() <= 1 + 3 + 1, "{cost:?}");
}

#[tokio::test]
async fn an_upstream_that_cannot_seek_is_listed_once_for_all_subjects() {
    let setup = Setup::new(Program::V2, Freshness::Long).await;
    setup.attach("one").await;
    setup.ask().await;
    // The listing was tried by the first subject, and is by two more.
    setup.ask_others(0..2).await;
    assert_eq!(setup.link.count(|seen| !seen.path.contains("/manifests/sha256")), 0);
    setup.link.take();
    setup.ask_others(2..5).await;
    assert_eq!(setup.link.take(), [] as [String; 0]);

    let setup = Setup::new(Program::V2, Freshness::None).await;
    setup.attach("one").await;
    setup.ask().await;
    let (listed, cost) = setup.ask().await;
    assert_eq!((listed.len(), cost.len()), (1, 1), "{cost:?}");
}

#[tokio::test]
async fn identical_questions_at_once_cost_as_much_as_one() {
    const CALLERS: usize = 32;
    let alone = Setup::new(Program::V2, Freshness::Long).await;
    alone.attach("one").await;
    let (expected, cost) = alone.ask().await;

    let crowd = Setup::new(Program::V2, Freshness::Long).await;
    crowd.attach("one").await;
    crowd.link.take();
    let gate = crowd.link.hold(|seen| seen.path.contains("/tags/list"));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (through, digest) = (crowd.refshim.endpoint(), crowd.image.digest.clone());
        callers.spawn(async move { through.referrers("app", &digest).await });
    }
    let all = Some(CALLERS as f64);
    eventually("all callers wait", async || {
        (crowd.refshim.metric("requests_in_flight").await == all).then_some(())
    })
    .await;
    gate.reached_by(1).await;
    gate.open();
    let answers: HashSet<String> = callers
        .join_all()
        .await
        .into_iter()
        .map(|a| json!(a).to_string())
        .collect();
    assert_eq!(answers, HashSet::from([json!(expected).to_string()]));
    let crowd_cost = crowd.link.take();
    assert_eq!(crowd_cost.len(), cost.len(), "{crowd_cost:?} instead of {cost:?}");
}

/// What is made of a remembered listing is no younger than that: what was pushed past refshim shows within `fresh_for`, whoever
/// asked what before.
#[tokio::test]
async fn an_answer_is_no_fresher_than_the_listing_it_is_made_of() {
    let registry = Registry::v2().await;
    let straight = registry.endpoint();
    let first = straight.push_image("app", "v1", "first").await;
    let second = straight.push_image("app", "v2", "second").await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let refshim = Local::configured(link.url(), |config| {
        config.cache.fresh_for = Duration::from_secs(30);
        config.cache.stale_while_revalidate = Duration::ZERO;
    })
    .await;
    let through = refshim.endpoint();
    assert!(through.referrers("app", &first.digest).await.is_empty());

    advance(20).await;
    link.take();
    assert!(through.referrers("app", &second.digest).await.is_empty());
    let asked = link.take();
    assert!(
        !asked.iter().any(|line| line.contains("/tags/list")),
        "the listing is remembered"
    );
    straight.attach("app", &second, TYPE, "sbom").await;
    advance(11).await;
    assert_eq!(through.referrers("app", &second.digest).await.len(), 1);
}
