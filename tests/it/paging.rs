//! Pages: put together they are the whole list, whatever comes and goes between them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use proptest::prelude::*;
use refshim::testing::oci::{Descriptor, Digest, Referrer, ReferrerList};
use refshim::testing::render::page::{MAX_BODY, PagedApi};
use refshim::testing::render::proposal_a;
use refshim::testing::render::proposal_a::Shape;
use refshim::testing::render::{Filter, Query, QueryError, RenderedPage, Window, oci11};
use serde_json::Value;

const TYPES: [&str; 3] = ["", "a/b+c", "d/e"];

fn subject() -> Digest {
    Digest::sha256(b"subject")
}

fn referrer(index: usize, created: Option<i8>, artifact_type: &str) -> Referrer {
    let digest = Digest::sha256(&index.to_be_bytes());
    let mut descriptor = Descriptor::new("application/vnd.oci.image.manifest.v1+json", digest, 1);
    descriptor.artifact_type = Some(artifact_type.to_owned()).filter(|t| !t.is_empty());
    Referrer {
        descriptor,
        created: created.map(i128::from),
        sources: BTreeSet::new(),
        objects: None,
        adopted: None,
    }
}

fn links<'a>(referrers: impl IntoIterator<Item = &'a Referrer>) -> ReferrerList {
    let mut referrers: Vec<_> = referrers.into_iter().cloned().collect();
    referrers.sort_by(Referrer::order);
    ReferrerList::new(subject(), referrers)
}

/// One request: `n`, the filter and the token arrive as a query string, as they would from a client.
fn ask(api: PagedApi, links: &ReferrerList, query: &str) -> Result<RenderedPage, QueryError> {
    let query = Query::parse(Some(query));
    let filter = Filter::from_query(&query);
    let window = Window::from_query(api, &links.subject, &filter, &query)?;
    Ok(match api {
        PagedApi::Oci11 => oci11::print(links, &filter, &window),
        PagedApi::ProposalA => proposal_a::print(Shape::ProposalA, links, &filter, &window),
        PagedApi::Oras => proposal_a::print(Shape::Oras, links, &filter, &window),
        PagedApi::OrasV1 => proposal_a::print(Shape::OrasV1, links, &filter, &window),
    })
}

fn digests(page: &RenderedPage) -> Vec<String> {
    let json: Value = serde_json::from_slice(&page.body).unwrap();
    let list = json.get("manifests").or_else(|| json.get("referrers")).unwrap();
    let entries = list.as_array().unwrap().iter();
    entries.map(|e| e["digest"].as_str().unwrap().to_owned()).collect()
}

#[derive(Debug, Clone)]
struct Walk {
    universe: Vec<Referrer>,
    /// Which of the universe are there while page `i` is read.
    present: Vec<Vec<bool>>,
    n: usize,
    query: String,
    api: PagedApi,
}

fn walks() -> impl Strategy<Value = Walk> {
    let universe = prop::collection::vec(
        (any::<Option<i8>>().prop_map(|c| c.map(|c| c / 50)), 0..TYPES.len()),
        0..30,
    );
    let present = prop::collection::vec(prop::collection::vec(prop::bool::weighted(0.8), 30), 1..6);
    let query = prop::sample::select(vec![
        "",
        "&artifactType=a/b+c",
        "&artifactType=d%2Fe&artifactType=a/b%2Bc",
    ]);
    let api = prop::sample::select(vec![
        PagedApi::Oci11,
        PagedApi::ProposalA,
        PagedApi::Oras,
        PagedApi::OrasV1,
    ]);
    (universe, present, 1..8usize, query, api).prop_map(|(universe, present, n, query, api)| Walk {
        universe: universe
            .into_iter()
            .enumerate()
            .map(|(index, (created, t))| referrer(index, created, TYPES[t]))
            .collect(),
        present,
        n,
        query: query.to_owned(),
        api,
    })
}

proptest! {
    #[test]
    fn what_was_there_throughout_is_neither_skipped_nor_doubled(walk in walks()) {
        let mut seen = Vec::new();
        let mut token = String::new();
        let mut presences = Vec::new();
        for round in 0.. {
            prop_assert!(round <= walk.universe.len(), "paging ends");
            let present = &walk.present[round % walk.present.len()];
            presences.push(present);
            let list = links(walk.universe.iter().zip(present).filter(|(_, here)| **here).map(|(r, _)| r));
            let page = ask(walk.api, &list, &format!("n={}{}{token}", walk.n, walk.query)).unwrap();
            let found = digests(&page);
            prop_assert!(found.len() <= walk.n);
            seen.extend(found);
            match page.next {
                Some(next) => token = format!("&nextToken={next}"),
                None => break,
            }
        }
        let filter = Filter::from_query(&Query::parse(Some(&walk.query)));
        let throughout = |index: usize| presences.iter().all(|p| p[index]);
        let constant = walk.universe.iter().enumerate().filter(|(index, r)| throughout(*index) && filter.matches(r));
        for (_, referrer) in constant {
            let times = seen.iter().filter(|d| **d == referrer.descriptor.digest.as_str()).count();
            prop_assert_eq!(times, 1, "{:?}", referrer);
        }
        prop_assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "none is doubled");
        // The order is one order, also across pages.
        let order = links(&walk.universe);
        let rank = |d: &String| order.referrers.iter().position(|r| r.descriptor.digest.as_str() == d);
        prop_assert!(seen.is_sorted_by_key(rank));
    }

    #[test]
    fn pages_of_a_list_at_rest_are_the_list(walk in walks()) {
        let list = links(&walk.universe);
        let whole = digests(&ask(walk.api, &list, &walk.query).unwrap());
        let mut seen = Vec::new();
        let mut page = ask(walk.api, &list, &format!("n={}{}", walk.n, walk.query)).unwrap();
        seen.extend(digests(&page));
        while let Some(next) = page.next {
            page = ask(walk.api, &list, &format!("n={}{}&nextToken={next}", walk.n, walk.query)).unwrap();
            prop_assert!(!digests(&page).is_empty(), "no page is empty but a first one");
            seen.extend(digests(&page));
        }
        prop_assert_eq!(seen, whole);
    }

    #[test]
    fn foreign_tokens_are_refused(token in "[A-Za-z0-9_=-]{0,200}") {
        let answer = ask(PagedApi::Oci11, &links(&[]), &format!("nextToken={token}"));
        prop_assert_eq!(answer, Err(QueryError::InvalidToken));
    }
}

/// Referrers of which each fills `bytes` of a body.
fn heavy(count: usize, bytes: usize) -> ReferrerList {
    let referrers: Vec<_> = (0..count)
        .map(|index| {
            let mut referrer = referrer(index, None, "a/b");
            referrer
                .descriptor
                .annotations
                .insert("k".to_owned(), "x".repeat(bytes));
            referrer
        })
        .collect();
    links(&referrers)
}

#[test]
fn a_list_longer_than_a_body_is_paged_without_being_asked() {
    for api in [PagedApi::Oci11, PagedApi::ProposalA, PagedApi::OrasV1] {
        let list = heavy(11, 1_000_000);
        let mut page = ask(api, &list, "artifactType=a/b").unwrap();
        let mut seen = digests(&page);
        while let Some(next) = page.next {
            page = ask(api, &list, &format!("artifactType=a/b&nextToken={next}")).unwrap();
            assert!(page.body.len() <= MAX_BODY, "{} bytes", page.body.len());
            seen.extend(digests(&page));
        }
        let whole: Vec<_> = list.referrers.iter().map(|r| r.descriptor.digest.to_string()).collect();
        assert_eq!(seen, whole);
    }
}

#[test]
fn an_entry_larger_than_a_body_stands_alone() {
    let list = heavy(2, MAX_BODY);
    let first = ask(PagedApi::Oci11, &list, "").unwrap();
    assert_eq!(digests(&first).len(), 1);
    let second = ask(PagedApi::Oci11, &list, &format!("nextToken={}", first.next.unwrap())).unwrap();
    assert_eq!((digests(&second).len(), second.next), (1, None));
}
