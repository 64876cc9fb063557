//! Lists made of what registries hold, in every dialect.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::oci::media_type::OCI_IMAGE_INDEX;
use crate::oci::{Digest, Manifest, Referrer, ReferrerList, ReferrersTagIndex, timestamp};
use crate::render::page::{PagedApi, Window};
use crate::render::proposal_a::{self, Shape};
use crate::render::{Filter, Query, oci11, proposal_b, proposal_c};

/// Longer lists are tried by the tests of pages; here each is printed one entry a page.
const MOST: usize = 64;

/// An index, whose entries are listed as referrers.
pub(super) fn referrers_answer(bytes: &[u8]) {
    let Ok(index) = Manifest::parse(bytes, OCI_IMAGE_INDEX) else {
        return;
    };
    let mut listed = BTreeSet::new();
    let entries = index.manifests.iter().take(MOST);
    let entries = entries.filter(|descriptor| listed.insert(descriptor.digest.clone()));
    let mut referrers: Vec<Referrer> = entries
        .map(|descriptor| Referrer {
            created: timestamp::created(&descriptor.annotations),
            descriptor: descriptor.clone(),
            sources: BTreeSet::new(),
            objects: None,
            adopted: None,
        })
        .collect();
    referrers.sort_by(Referrer::order);
    let count = referrers.len();
    let links = ReferrerList::new(Digest::sha256(bytes), referrers);

    let whole = json(&oci11::print_whole(&links));
    assert_eq!(digests(&whole["manifests"]).len(), count);
    assert_eq!(proposal_b::print(&links), oci11::print_whole(&links));
    json(&proposal_c::referrers(&links));
    let filter = Filter::default();
    let first = Window::first(PagedApi::OrasV1, &links.subject, &filter);
    let page = proposal_a::print(Shape::OrasV1, &links, &filter, &first);
    assert_eq!(json(&page.body)["referrers"], json(&page.body)["references"]);

    let mut paged = Vec::new();
    let mut asked = "n=1".to_owned();
    loop {
        let query = Query::parse(Some(&asked));
        let window = Window::from_query(PagedApi::Oci11, &links.subject, &filter, &query).expect("our own tokens open");
        let page = oci11::print(&links, &filter, &window);
        paged.extend(digests(&json(&page.body)["manifests"]));
        assert!(paged.len() <= count, "pages go round in circles");
        let Some(token) = page.next else {
            break;
        };
        asked = format!("n=1&nextToken={token}");
    }
    assert_eq!(paged, digests(&whole["manifests"]));
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("an answer is JSON")
}

fn digests(entries: &Value) -> Vec<String> {
    let entries = entries.as_array().expect("a list");
    entries.iter().map(|entry| entry["digest"].to_string()).collect()
}

/// The index behind a referrers tag, which others write too.
pub(super) fn fallback_index(bytes: &[u8]) {
    let Some(index) = ReferrersTagIndex::parse(bytes) else {
        return;
    };
    let known = index.digests();
    let mut again = ReferrersTagIndex::parse(&index.print()).expect("what was printed is an index");
    assert_eq!(again, index);
    let added = crate::oci::Descriptor::new(OCI_IMAGE_INDEX, Digest::sha256(bytes), 1);
    again.add(&added);
    again.add(&added);
    assert!(again.holds(&added.digest) && known.iter().all(|digest| again.holds(digest)));
    again.remove(&added.digest);
    assert!(!again.holds(&added.digest));
    let mut taken = ReferrersTagIndex::default();
    taken.take_over(&index, &known[..known.len().min(1)]);
    let gone = known.first();
    assert!(known.iter().all(|digest| taken.holds(digest) != (Some(digest) == gone)));
}
