//! Calibration: only what seeks right may be asked to seek.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Response;
use refshim::testing::http::body::Body;
use refshim::testing::oci::SubjectKey;
use refshim::testing::registry::{Answer, CalibratedWithin, TagNames, Tags, Upstream};
use tokio::time::Instant;

use crate::registry_client::scripted::{Scripted, oci_error, parameter, reply};
use crate::registry_client::{anyone, digest, found, names, repository, upstream};
use crate::support::{CountingProxy, Registry};

const TAGS: [&str; 6] = ["1.0", "1.1", "Beta", "latest", "v1", "v2"];

/// What a registry that no longer seeks answers, of all its tags, to `last`.
type Turn = fn(&[&str], &str) -> Response<Body>;

/// Answers a listing that begins with `tags`; `more` is its link.
fn page(tags: &[&str], more: bool) -> Response<Body> {
    let link = format!(
        "</v2/team/app/tags/list?last={}>; rel=\"next\"",
        tags.last().unwrap_or(&"")
    );
    let headers: &[(&str, &str)] = if more { &[("link", &link)] } else { &[] };
    reply(
        200,
        headers,
        serde_json::json!({"name": "team/app", "tags": tags}).to_string(),
    )
}

/// Calibrates on a registry that answers a `last` as `script` says.
async fn learned(script: impl Fn(&str) -> Response<Body> + Send + Sync + 'static) -> Option<bool> {
    let server = Scripted::start(move |request| script(parameter(&request, "last").unwrap())).await;
    let all = TagNames::from_iter(TAGS);
    let seeks = upstream(&server.url()).calibrate(&repository(), &all, &anyone()).await;
    assert_eq!(server.lines().len(), 1, "one request");
    seeks.unwrap()
}

fn after(last: &str) -> &'static [&'static str] {
    const SORTED: &[&str] = &TAGS;
    &SORTED[SORTED.partition_point(|tag| *tag <= last)..]
}

#[tokio::test]
async fn exactly_the_names_that_follow_are_a_seek() {
    assert_eq!(learned(|last| page(after(last), false)).await, Some(true));
    assert_eq!(
        learned(|last| page(&after(last)[..1], true)).await,
        Some(true),
        "a page of it"
    );
    assert_eq!(
        learned(|last| page(after(last), true)).await,
        Some(true),
        "a link on the last page"
    );
}

#[tokio::test]
async fn everything_else_is_none() {
    // 2.8.2
    assert_eq!(learned(|_| page(&TAGS, false)).await, Some(false));
    // 3.0.0: a `last` that does not exist is searched for and its place skipped
    assert_eq!(learned(|last| page(&after(last)[1..], false)).await, Some(false));
    // zot
    assert_eq!(learned(|_| page(&[], false)).await, Some(false));
    // GHCR: oldest first
    assert_eq!(learned(|_| page(&["v1", "latest", "v2"], false)).await, Some(false));
    // ECR: `last` is a token of its own making
    assert_eq!(learned(|_| oci_error(400, "UNSUPPORTED")).await, Some(false));
    // others
    assert_eq!(
        learned(|last| page(&after(last)[..1], false)).await,
        Some(false),
        "cut without a link"
    );
    assert_eq!(learned(|_| reply(200, &[], "<html>")).await, Some(false));
    assert_eq!(
        learned(|last| page(&[&["1.05"], after(last)].concat(), false)).await,
        Some(false)
    );
}

#[tokio::test]
async fn refusals_teach_nothing() {
    assert_eq!(learned(|_| oci_error(401, "UNAUTHORIZED")).await, None);
    assert_eq!(learned(|_| oci_error(403, "DENIED")).await, None);
    assert_eq!(learned(|_| oci_error(404, "NAME_UNKNOWN")).await, None);
}

#[tokio::test]
async fn too_few_names_are_not_asked_about() {
    let server = Scripted::start(|_| page(&[], false)).await;
    let upstream = upstream(&server.url());
    for tags in [&TAGS[..2], &["a", "a-", "a--"]] {
        let seeks = upstream
            .calibrate(&repository(), &tags.iter().collect(), &anyone())
            .await;
        assert_eq!(seeks.unwrap(), None);
    }
    assert_eq!(server.lines().len(), 0);
}

/// Believed for an hour.
fn long() -> CalibratedWithin {
    CalibratedWithin {
        age: Duration::from_secs(3600),
        since: Instant::now(),
    }
}

/// Never believed but where it was made for this question.
fn anew() -> CalibratedWithin {
    CalibratedWithin {
        age: Duration::ZERO,
        since: Instant::now(),
    }
}

async fn is_seekable(upstream: &Upstream) -> bool {
    let tags = upstream.tags_unless_seekable(&repository(), &anyone(), |_| true).await;
    matches!(found(tags), Tags::Seekable)
}

/// Puts `around` ordinary tags before and after those of a subject.
async fn filled(registry: &Registry, key: &SubjectKey, around: usize) {
    let image = registry.endpoint().push_image("team/app", "v1", "one").await;
    let ordinary = (0..around).flat_map(|n| [format!("a{n:04}"), format!("z{n:04}")]);
    let linking = ["", ".sig", ".0123.sbom"].map(|end| format!("{key}{end}"));
    let tags = ordinary.chain(linking).map(|tag| (tag, image.digest.as_str()));
    registry.write_tags("team/app", tags);
}

#[tokio::test]
async fn distribution_2_does_not_seek() {
    let key = SubjectKey::of(&digest("subject"));
    let registry = Registry::v2().await;
    filled(&registry, &key, 3).await;
    let upstream = upstream(&registry.url());
    let all = found(upstream.tags(&repository(), &anyone()).await);
    let seeks = upstream.calibrate(&repository(), &all, &anyone()).await;
    assert_eq!(seeks.unwrap(), Some(false));
    assert!(!is_seekable(&upstream).await);
}

#[tokio::test]
async fn a_large_repository_of_distribution_3_is_never_read_whole() {
    let key = SubjectKey::of(&digest("subject"));
    let registry = Registry::v3().await;
    filled(&registry, &key, 1500).await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let upstream = upstream(link.url());
    let early = upstream.tags_of(&repository(), &key, long(), &anyone()).await;
    assert!(found(early).is_none() && link.take().is_empty(), "not calibrated yet");
    assert!(is_seekable(&upstream).await);
    assert_eq!(link.take().len(), 2, "the first page, and a seek into it");
    let tags = found(upstream.tags_of(&repository(), &key, long(), &anyone()).await).unwrap();
    let expected = ["", ".0123.sbom", ".sig"].map(|end| format!("{key}{end}"));
    assert_eq!(names(&tags), expected);
    let other = SubjectKey::of(&digest("other"));
    let none = found(upstream.tags_of(&repository(), &other, long(), &anyone()).await);
    assert!(none.unwrap().is_empty());
    assert_eq!(link.take().len(), 2, "one request each");
    found(upstream.tags_of(&repository(), &key, anew(), &anyone()).await).unwrap();
    assert_eq!(link.take().len(), 2, "calibrated again");
}

/// A registry that pages by two and seeks, until it is told to answer a `last` that is no name in another way.
struct Seeking {
    server: Scripted,
    turned: Arc<AtomicBool>,
}

async fn seeking(tags: Vec<String>, otherwise: fn(&[&str], &str) -> Response<Body>) -> Seeking {
    let turned = Arc::new(AtomicBool::new(false));
    let now = Arc::clone(&turned);
    let server = Scripted::start(move |request| {
        let all: Vec<&str> = tags.iter().map(String::as_str).collect();
        let last = parameter(&request, "last").unwrap_or_default();
        if now.load(Ordering::SeqCst) && !last.is_empty() && !all.contains(&last) {
            return otherwise(&all, last);
        }
        let rest: Vec<&str> = all.into_iter().filter(|tag| *tag > last).collect();
        let size = if rest.len() > 7 { 7 } else { rest.len() };
        page(&rest[..size], size < rest.len())
    })
    .await;
    Seeking { server, turned }
}

fn many(key: &SubjectKey) -> Vec<String> {
    let ordinary = (10..40).map(|n| format!("a{n}"));
    ordinary.chain((10..30).map(|n| format!("{key}.{n}.sig"))).collect()
}

#[tokio::test]
async fn a_subjects_tags_are_read_to_their_end_over_pages() {
    let key = SubjectKey::of(&digest("subject"));
    let seeking = seeking(many(&key), |_, _| page(&[], false)).await;
    let upstream = upstream(&seeking.server.url());
    assert!(is_seekable(&upstream).await);
    seeking.server.take();
    let tags = found(upstream.tags_of(&repository(), &key, long(), &anyone()).await);
    assert_eq!(tags.unwrap().len(), 20);
    let asked = seeking.server.lines();
    // Three pages; and as nothing sorts behind them, a look whether it seeks still.
    assert_eq!(asked.len(), 4, "{asked:?}");
}

#[tokio::test]
async fn where_a_registry_seeks_no_longer_the_whole_listing_decides() {
    let key = SubjectKey::of(&digest("subject"));
    let turns: [Turn; 6] = [
        // zot
        |_, _| page(&[], false),
        // 2.8.2
        |all, _| page(all, false),
        // 3.0.0
        |all, last| page(&all[all.partition_point(|tag| *tag <= last) + 1..], false),
        |_, _| oci_error(400, "UNSUPPORTED"),
        |_, _| oci_error(404, "NAME_UNKNOWN"),
        |_, _| page(&["sha256-z", "sha256-y"], false),
    ];
    for (number, turn) in turns.into_iter().enumerate() {
        // Within what is believed, and after.
        for within in [long, anew] {
            let seeking = seeking(many(&key), turn).await;
            let upstream = upstream(&seeking.server.url());
            assert!(is_seekable(&upstream).await);
            seeking.turned.store(true, Ordering::SeqCst);
            let sought = upstream.tags_of(&repository(), &key, within(), &anyone()).await;
            assert!(
                !matches!(sought, Ok(Answer::Found(Some(_)) | Answer::Absent)),
                "{number}: {sought:?}"
            );
            let all = found(upstream.tags(&repository(), &anyone()).await);
            assert_eq!(all.with_prefix(key.as_str()).count(), 20, "{number}");
        }
    }
}

#[tokio::test]
async fn what_one_repository_does_says_nothing_of_another() {
    let key = SubjectKey::of(&digest("subject"));
    let seeking = seeking(many(&key), |_, _| page(&[], false)).await;
    let upstream = upstream(&seeking.server.url());
    assert!(is_seekable(&upstream).await);
    seeking.server.take();
    let other = refshim::testing::oci::RepositoryName::parse("team/other").unwrap();
    let sought = upstream.tags_of(&other, &key, long(), &anyone()).await;
    assert!(found(sought).is_none() && seeking.server.lines().is_empty());
}

#[tokio::test]
async fn a_seek_is_cut_by_no_page_without_a_link() {
    let key = SubjectKey::of(&digest("subject"));
    let before: Vec<String> = (10..40).map(|n| format!("a{n}")).collect();
    let signatures: Vec<String> = (1000..1120).map(|n| format!("{key}.{n}.sig")).collect();
    let all: Vec<String> = before.into_iter().chain(signatures).collect();
    // Links, but not from a page of a hundred names.
    let server = Scripted::start(move |request| {
        let last = parameter(&request, "last").unwrap_or_default();
        let count: usize = parameter(&request, "n").unwrap().parse().unwrap();
        let rest: Vec<&str> = all.iter().map(String::as_str).filter(|tag| *tag > last).collect();
        let size = rest.len().min(count).min(if last.is_empty() { 20 } else { 100 });
        page(&rest[..size], size < rest.len() && size < 100)
    })
    .await;
    let upstream = upstream(&server.url());
    assert!(is_seekable(&upstream).await);
    let tags = found(upstream.tags_of(&repository(), &key, long(), &anyone()).await);
    assert_eq!(tags.unwrap().len(), 120);
}
