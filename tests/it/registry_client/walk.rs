//! A walk through a tag listing can be left where a page fails, and gone on with.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http::Response;
use http_body::Frame;
use http_body_util::StreamBody;
use refshim::testing::http::body::{Body, BoxError};
use refshim::testing::registry::{Answer, ListingWalk, Upstream, UpstreamError, WalkStep, WalkedListing};

use crate::registry_client::scripted::{Scripted, parameter, reply};
use crate::registry_client::{anyone, repository, upstream_with};

/// A hundred names, ten on a page.
fn page(last: Option<&str>, links: bool) -> Response<Body> {
    let start = last.map_or(0, |last| last[1..].parse::<usize>().unwrap() + 1);
    let names: Vec<String> = (start..100).take(10).map(|n| format!("t{n:02}")).collect();
    let link = format!("<?last={}>; rel=next", names.last().map_or("", |name| name));
    let headers: &[(&str, &str)] = if links && start < 90 { &[("link", &link)] } else { &[] };
    reply(200, headers, serde_json::json!({ "tags": names }).to_string())
}

fn upstream(url: &str) -> Upstream {
    upstream_with(url, |config, _| config.retries = 0)
}

/// Steps until the walk ends or fails.
async fn go_on(walk: &mut ListingWalk, upstream: &Upstream) -> Result<WalkedListing, UpstreamError> {
    loop {
        match walk.step(upstream, &anyone()).await? {
            Answer::Found(WalkStep::Ended(listing)) => return Ok(listing),
            Answer::Found(WalkStep::More) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_was_read_before_a_page_failed_is_not_asked_for_again() {
    for links in [true, false] {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        let server = Scripted::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
            5 | 6 => reply(500, &[], ""),
            _ if parameter(&request, "n") == Some("1") => reply(200, &[], r#"{"tags":["t00"]}"#),
            _ => page(parameter(&request, "last"), links),
        })
        .await;
        let upstream = upstream(&server.url());
        let mut walk = upstream.walk(&repository()).unwrap();
        for _ in 0..2 {
            go_on(&mut walk, &upstream).await.unwrap_err();
            assert!(walk.names_read() >= 40, "links {links}: {}", walk.names_read());
        }
        assert_eq!(
            go_on(&mut walk, &upstream).await.unwrap().names().len(),
            100,
            "links {links}"
        );
        // Ten pages, two failures, nine to be sure; what is behind the last page and the name before its last, and without links how
        // listings go on.
        let expected = if links { 23 } else { 24 };
        assert_eq!(server.lines().len(), expected, "links {links}");
    }
}

/// Of a page that was half read nothing counts, and it is asked for again.
#[tokio::test]
async fn whoever_goes_in_the_middle_of_a_page_leaves_whole_pages() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let server = Scripted::start(move |request| match count.fetch_add(1, Ordering::SeqCst) {
        4 => stalled(r#"{"tags":["t40","t41","t4"#),
        _ => page(parameter(&request, "last"), true),
    })
    .await;
    let upstream = upstream(&server.url());
    let mut walk = upstream.walk(&repository()).unwrap();
    let left = tokio::time::timeout(Duration::from_millis(500), go_on(&mut walk, &upstream)).await;
    assert!(left.is_err() && walk.names_read() == 40, "{}", walk.names_read());
    let listing = go_on(&mut walk, &upstream).await.unwrap();
    assert_eq!((listing.names().len(), listing.page_count()), (100, 10));
    assert_eq!(server.lines().len(), 10 + 1 + 11);
}

/// A page of which no more comes than its beginning.
fn stalled(beginning: &'static str) -> Response<Body> {
    let begun = futures_util::stream::once(async move { Ok::<_, BoxError>(Frame::data(Bytes::from(beginning))) });
    Response::new(Body::stream(StreamBody::new(
        begun.chain(futures_util::stream::pending()),
    )))
}
