//! Calibration: only what seeks right may be asked to seek.

use http::Response;
use refshim::body::Body;
use refshim::oci::SubjectKey;
use refshim::upstream::{Answer, TagNames, Upstream};

use crate::scripted::{Scripted, oci_error, parameter, reply};
use crate::support::{CountingProxy, Registry};
use crate::{anyone, digest, found, invalid, names, repository, upstream};

const TAGS: [&str; 6] = ["1.0", "1.1", "Beta", "latest", "v1", "v2"];

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
    let upstream = upstream(&server.url());
    assert_eq!(upstream.seeks(), None);
    let all = TagNames::from_iter(TAGS);
    upstream.calibrate(&repository(), &all, &anyone()).await.unwrap();
    assert_eq!(server.lines().len(), 1, "one request");
    upstream.seeks()
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
        learned(|last| page(&[after(last), &["zz"]].concat(), false)).await,
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
        upstream
            .calibrate(&repository(), &tags.iter().collect(), &anyone())
            .await
            .unwrap();
    }
    assert_eq!((upstream.seeks(), server.lines().len()), (None, 0));
}

/// Puts `around` ordinary tags before and after those of a subject, and calibrates.
async fn calibrated(registry: &Registry, url: &str, key: &SubjectKey, around: usize) -> Upstream {
    let image = registry.endpoint().push_image("team/app", "v1", "one").await;
    let ordinary = (0..around).flat_map(|n| [format!("a{n:04}"), format!("z{n:04}")]);
    let linking = ["", ".sig", ".0123.sbom"].map(|end| format!("{key}{end}"));
    let tags = ordinary.chain(linking).map(|tag| (tag, image.digest.as_str()));
    registry.write_tags("team/app", tags);
    let upstream = upstream(url);
    let all = found(upstream.tags(&repository(), &anyone()).await);
    assert_eq!(all.len(), 2 * around + 4);
    upstream.calibrate(&repository(), &all, &anyone()).await.unwrap();
    upstream
}

#[tokio::test]
async fn distribution_2_does_not_seek() {
    let key = SubjectKey::of(&digest("subject"));
    let registry = Registry::v2().await;
    let upstream = calibrated(&registry, &registry.url(), &key, 3).await;
    assert_eq!(upstream.seeks(), Some(false));
}

#[tokio::test]
async fn distribution_3_seeks_with_one_request() {
    let key = SubjectKey::of(&digest("subject"));
    let registry = Registry::v3().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    // More than one page.
    let upstream = calibrated(&registry, link.url(), &key, 550).await;
    assert_eq!(upstream.seeks(), Some(true));
    link.take();
    let tags = found(upstream.tags_of(&repository(), &key, &anyone()).await);
    let expected = ["", ".0123.sbom", ".sig"].map(|end| format!("{key}{end}"));
    assert_eq!(names(&tags), expected);
    let other = SubjectKey::of(&digest("other"));
    assert!(found(upstream.tags_of(&repository(), &other, &anyone()).await).is_empty());
    assert_eq!(link.take().len(), 2, "one request each");
}

#[tokio::test]
async fn a_subjects_tags_are_read_to_their_end_over_pages() {
    let key = SubjectKey::of(&digest("subject"));
    let tags: Vec<String> = (10..30)
        .map(|n| format!("{key}.{n}.sig"))
        .chain(["zz".into(), "zzz".into()])
        .collect();
    let server = Scripted::start(move |request| {
        let last = parameter(&request, "last").unwrap();
        let rest: Vec<&str> = tags.iter().map(String::as_str).filter(|tag| *tag > last).collect();
        page(&rest[..rest.len().min(7)], rest.len() > 7)
    })
    .await;
    let tags = found(upstream(&server.url()).tags_of(&repository(), &key, &anyone()).await);
    assert_eq!((tags.len(), server.lines().len()), (20, 3));
}

#[tokio::test]
async fn a_seek_that_goes_wrong_is_an_error_and_remembered() {
    let key = SubjectKey::of(&digest("subject"));
    for wrong in [vec!["a", "b"], vec!["z", "y"], vec!["z", "z"]] {
        let server = Scripted::start(move |_| page(&wrong, false)).await;
        let upstream = upstream(&server.url());
        invalid(upstream.tags_of(&repository(), &key, &anyone()).await);
        assert_eq!(upstream.seeks(), Some(false));
    }
    let server = Scripted::start(|_| oci_error(404, "NAME_UNKNOWN")).await;
    let absent = upstream(&server.url()).tags_of(&repository(), &key, &anyone()).await;
    assert!(matches!(absent, Ok(Answer::Absent)));
}
