//! `tags/list` of a repository that was never walked: the registry's own pages, without the tags that only link.

use std::collections::BTreeSet;

use super::{TYPE, lists, registry};
use crate::support::fake::Fake;
use crate::support::fake::Trouble;
use crate::support::fake::knobs::{Rights, Shown};
use crate::support::{Endpoint, Pushed, Refshim};

/// Also two link tags on one page.
async fn registry_with_links() -> (Fake, Vec<Pushed>) {
    let (fake, images) = registry().await;
    for name in ["one", "two"] {
        fake.tagged_artifact("app", &images[5], TYPE, name);
    }
    for number in 64..90 {
        fake.image("app", &format!("v{number}"), &format!("image {number}"));
    }
    (fake, images)
}

fn expected() -> Vec<String> {
    (0..90).map(|number| format!("v{number:02}")).collect()
}

/// The names of a page, and where the next one is.
async fn page(endpoint: &Endpoint, path: &str) -> (Vec<String>, Option<String>) {
    let reply = endpoint.get(path).await.expect_status(200);
    let json = reply.json();
    let names = json["tags"].as_array().expect("tags is a list").iter();
    let names = names.map(|name| name.as_str().expect("a name").to_owned()).collect();
    let link = reply.header("link").and_then(|link| link.split(['<', '>']).nth(1));
    (names, link.map(str::to_owned))
}

async fn pages(endpoint: &Endpoint, path: &str) -> Vec<Vec<String>> {
    let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next.take() {
        let names;
        (names, next) = page(endpoint, &path).await;
        all.push(names);
    }
    all
}

#[tokio::test]
async fn nobody_waits_for_a_walk_to_see_the_first_tags() {
    let (fake, _) = registry_with_links().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let (first, next) = page(&refshim.endpoint(), "/v2/app/tags/list?n=10").await;
    assert_eq!((first.len(), fake.count(lists)), (10, 1), "{:#?}", fake.take());
    let mut all = pages(&refshim.endpoint(), &next.expect("more follow")).await;
    all.insert(0, first);
    assert_eq!(all.concat(), expected(), "in the registry's order, without link tags");
    // Where tags are hidden, an answer begins in the middle of a page. And the first again: it tells that the last one was not cut.
    assert!(fake.count(lists) <= 2 * 10 + 1, "{:#?}", fake.take());
}

#[tokio::test]
async fn whoever_asks_for_no_page_is_given_the_whole_where_it_is_read_in_time() {
    let (fake, _) = registry_with_links().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let (all, next) = page(&refshim.endpoint(), "/v2/app/tags/list").await;
    assert_eq!((all, next), (expected(), None));
}

#[tokio::test]
async fn whoever_would_wait_too_long_for_the_whole_is_given_its_first_page() {
    let (fake, _) = registry_with_links().await;
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__PATIENCE", "300ms")
        .start()
        .await;
    fake.trouble(Trouble::Silence, |seen| seen.path.contains("last=v39"));
    let (first, next) = page(&refshim.endpoint(), "/v2/app/tags/list").await;
    assert_eq!(first, expected()[..10]);
    fake.heal();
    let rest = pages(&refshim.endpoint(), &next.expect("more follow")).await;
    assert_eq!(rest.concat(), expected()[10..]);
}

#[tokio::test]
async fn pages_have_as_many_names_as_are_asked_for() {
    let (fake, _) = registry_with_links().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    for n in [1, 7, 10, 25] {
        let all = pages(&refshim.endpoint(), &format!("/v2/app/tags/list?n={n}")).await;
        assert!(all.iter().rev().skip(1).all(|page| page.len() == n), "{n}: {all:?}");
        assert_eq!(all.concat(), expected(), "n={n}");
    }
    let (none, next) = page(&refshim.endpoint(), "/v2/app/tags/list?n=0").await;
    assert_eq!((none.len(), next), (0, None));
}

/// A listing that was begun in the registry's order goes on in it, and a `last` of the caller's own means the order of names.
#[tokio::test]
async fn what_was_walked_meanwhile_changes_no_order() {
    let (fake, images) = registry_with_links().await;
    fake.image("app", "a0", "the last, but the first by name");
    let refshim = Refshim::builder(&fake.url())
        .env("REFSHIM_LINKS__DEPTH", "names")
        .start()
        .await;
    let endpoint = refshim.endpoint();
    let (first, next) = page(&endpoint, "/v2/app/tags/list?n=30").await;
    assert_eq!(endpoint.referrers("app", &images[5].digest).await.len(), 2);
    let rest = pages(&endpoint, &next.expect("more follow")).await.concat();
    assert_eq!([&first[..], &rest[..]].concat().last().map(String::as_str), Some("a0"));
    let all: BTreeSet<_> = first.into_iter().chain(rest).collect();
    assert_eq!(all.len(), 91);
    let sorted = pages(&endpoint, "/v2/app/tags/list?n=30").await.concat();
    assert_eq!(sorted, all.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_last_of_the_callers_own_goes_by_the_order_of_names() {
    let (fake, _) = registry_with_links().await;
    fake.image("app", "a0", "the last, but the first by name");
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let (names, _) = page(&refshim.endpoint(), "/v2/app/tags/list?last=a&n=2").await;
    assert_eq!(names, ["a0", "v00"]);
}

/// The place of a tag that was deleted is gone: then a page is no end because nothing is on it.
#[tokio::test]
async fn a_page_whose_place_is_gone_ends_no_listing() {
    let (fake, images) = registry_with_links().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let (_, next) = page(&refshim.endpoint(), "/v2/app/tags/list?n=10").await;
    let tag = format!("/v2/app/manifests/{}", images[9].digest);
    fake.endpoint().delete(&tag).await.expect_status(202);
    let reply = refshim.endpoint().get(&next.expect("more follow")).await;
    assert_eq!(reply.status, 502, "{reply:?}");
}

#[tokio::test]
async fn what_was_pushed_just_now_is_on_the_last_page_though_the_registry_lags() {
    let (fake, _) = registry_with_links().await;
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let endpoint = refshim.endpoint();
    endpoint.push_image("app", "pushed", "an image").await;
    fake.turn(|knobs| {
        let pages = knobs.tags.as_mut().expect("pages");
        pages.shown = Shown::Except(["pushed".to_owned()].into());
    });
    let all = pages(&endpoint, "/v2/app/tags/list?n=50").await.concat();
    assert_eq!(all[..90], expected());
    assert_eq!(all[90..], ["pushed"]);
}

#[tokio::test]
async fn each_page_is_listed_to_the_caller_alone() {
    let (fake, _) = registry_with_links().await;
    fake.turn(|knobs| {
        knobs.rights = Rights {
            insider: Some("Basic aW46aW4="),
            listing: Some(403),
            ..Rights::default()
        };
    });
    let refshim = Refshim::in_front_of(&fake.url()).await;
    let insider = refshim.endpoint().basic("in", "in");
    let (_, next) = page(&insider, "/v2/app/tags/list?n=10").await;
    let next = next.expect("more follow");
    page(&insider, &next).await;
    for path in ["/v2/app/tags/list", "/v2/app/tags/list?n=10", &next] {
        refshim.endpoint().get(path).await.expect_status(403);
    }
    let asked = fake.take();
    let foreign = "/v2/app/tags/list?cursor=x";
    let reply = insider.get(foreign).await.expect_status(400);
    assert_eq!(reply.error_code(), "PAGINATION_NUMBER_INVALID", "{asked:?}");
}
