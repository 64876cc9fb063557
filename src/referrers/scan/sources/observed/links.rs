//! What is remembered of the links to one subject: which are there, and which are gone, so that no other process brings them back.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{Cached, from_json, to_json};
use crate::oci::Digest;
use crate::oci::weight::allocated;
use crate::referrers::scan::held_links::HeldLink;

/// Links remembered per subject; what lies beyond is still found by tag.
const PER_SUBJECT: usize = 4096;
/// For so long it is remembered of a link that it is gone: other processes that still know it are told.
const GONE_FOR: Duration = Duration::from_secs(60 * 60);

/// A link, and when something was last heard of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ObservedLink {
    #[serde(flatten)]
    pub link: HeldLink,
    /// When it was learned last, or was not there any more: milliseconds since 1970.
    #[serde(default)]
    at: u64,
    /// Its holder was not there any more. It is kept so that no other process brings it back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    gone: bool,
}

impl ObservedLink {
    /// Whether it says something later than `other`; at the same time, that it is there.
    fn is_newer(&self, other: &Self) -> bool {
        (self.at, !self.gone) > (other.at, !other.gone)
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::referrers) struct ObservedLinks(Vec<ObservedLink>);

impl Cached for ObservedLinks {
    fn weight(&self) -> usize {
        allocated(self.0.len() * size_of::<ObservedLink>()) + self.0.iter().map(|link| link.link.held()).sum::<usize>()
    }

    fn encode(&self) -> Option<Vec<u8>> {
        to_json(self)
    }

    fn decode(_: &str, bytes: Bytes) -> Option<Self> {
        from_json(&bytes)
    }

    /// What was learned elsewhere is worth as much.
    fn join(&self, other: &Self) -> Option<Self> {
        Some(newest(self.0.iter().chain(&other.0).cloned()))
    }
}

impl ObservedLinks {
    pub(super) fn there(&self) -> impl Iterator<Item = &ObservedLink> {
        self.0.iter().filter(|link| !link.gone)
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of each link what was learned last. Those that are there come first.
fn newest(links: impl IntoIterator<Item = ObservedLink>) -> ObservedLinks {
    let mut kept: Vec<ObservedLink> = Vec::new();
    let mut places: HashMap<Digest, Vec<usize>> = HashMap::new();
    for link in links {
        let of_holder = places.entry(link.link.holder.clone()).or_default();
        match of_holder.iter().find(|place| kept[**place].link == link.link) {
            Some(&place) if link.is_newer(&kept[place]) => kept[place] = link,
            Some(_) => {}
            None => {
                of_holder.push(kept.len());
                kept.push(link);
            }
        }
    }
    let last = kept.iter().map(|link| link.at).max().unwrap_or_default();
    let gone_since = last.saturating_sub(milliseconds(GONE_FOR));
    kept.retain(|link| !link.gone || link.at > gone_since);
    kept.sort_by_key(|link| link.gone);
    kept.truncate(PER_SUBJECT);
    ObservedLinks(kept)
}

/// What is known with `links`, learned at the time `now`, whatever was gone before by another process' clock.
pub(super) fn with(known: &ObservedLinks, links: Vec<HeldLink>, now: u64) -> ObservedLinks {
    let gone = |link: &HeldLink| {
        let gone = known.0.iter().find(|known| known.gone && known.link == *link);
        gone.map(|gone| gone.at)
    };
    let links = links.into_iter().map(|link| ObservedLink {
        at: gone(&link).map_or(now, |gone| now.max(gone + 1)),
        gone: false,
        link,
    });
    newest(known.0.iter().cloned().chain(links))
}

/// What is known without what `gone` held at the time `asked`; `None` where that is the same.
pub(super) fn without(known: &ObservedLinks, gone: &HashSet<Digest>, asked: u64) -> Option<ObservedLinks> {
    let is_gone = |link: &ObservedLink| !link.gone && link.at <= asked && gone.contains(&link.link.holder);
    known.0.iter().any(is_gone).then(|| {
        newest(known.0.iter().map(|link| match is_gone(link) {
            true => ObservedLink {
                at: asked,
                gone: true,
                ..link.clone()
            },
            false => link.clone(),
        }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{LinkSource, LinkTarget};

    fn link(name: &str) -> HeldLink {
        HeldLink {
            target: LinkTarget::This,
            holder: Digest::sha256(name.as_bytes()),
            source: LinkSource::Subject,
        }
    }

    fn learned(known: &ObservedLinks, names: &[&str], now: u64) -> ObservedLinks {
        with(known, names.iter().map(|name| link(name)).collect(), now)
    }

    fn gone(names: &[&str]) -> HashSet<Digest> {
        names.iter().map(|name| link(name).holder).collect()
    }

    fn there(known: &ObservedLinks) -> Vec<Digest> {
        known.there().map(|known| known.link.holder.clone()).collect()
    }

    fn holders(names: &[&str]) -> Vec<Digest> {
        names.iter().map(|name| link(name).holder).collect()
    }

    #[test]
    fn only_so_much_is_learned_and_nothing_twice() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let more = learned(&known, &["b", "c"], 2);
        assert_eq!(there(&more), holders(&["a", "b", "c"]));
        let many = (0..PER_SUBJECT + 1).map(|n| link(&n.to_string())).collect();
        assert_eq!(with(&known, many, 3).0.len(), PER_SUBJECT);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        assert_eq!(there(&without(&known, &gone(&["a"]), 2).unwrap()), holders(&["b"]));
        assert!(without(&known, &gone(&["c"]), 2).is_none());
    }

    /// Another process still knows it, and puts what it knows with what it learns.
    #[test]
    fn what_is_gone_does_not_come_back_from_elsewhere() {
        let elsewhere = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let here = without(&elsewhere, &gone(&["a"]), 2).unwrap();
        let elsewhere = learned(&elsewhere, &["c"], 3);
        for joined in [here.join(&elsewhere), elsewhere.join(&here)] {
            let mut joined = there(&joined.unwrap());
            joined.sort_unstable();
            let mut expected = holders(&["b", "c"]);
            expected.sort_unstable();
            assert_eq!(joined, expected);
        }
    }

    #[test]
    fn what_is_learned_after_the_registry_was_asked_stays() {
        let known = learned(&ObservedLinks::default(), &["a"], 1);
        let pushed_again = learned(&known, &["a"], 3);
        assert!(without(&pushed_again, &gone(&["a"]), 2).is_none());
        // By a clock that is behind, too.
        let forgotten = without(&known, &gone(&["a"]), 5).unwrap();
        let pushed_again = learned(&forgotten, &["a"], 4);
        assert_eq!(there(&forgotten.join(&pushed_again).unwrap()), holders(&["a"]));
    }

    #[test]
    fn that_something_is_gone_is_remembered_for_an_hour() {
        let known = learned(&ObservedLinks::default(), &["a", "b"], 1);
        let forgotten = without(&known, &gone(&["a"]), 2).unwrap();
        assert_eq!(forgotten.0.len(), 2);
        let later = 3 + milliseconds(GONE_FOR);
        assert_eq!(learned(&forgotten, &["c"], later).0.len(), 2);
    }

    #[test]
    fn what_older_versions_wrote_is_read() {
        let old = serde_json::json!([{"target": LinkTarget::This, "holder": link("a").holder, "dialect": LinkSource::Subject}]);
        let read = ObservedLinks::decode("", old.to_string().into()).unwrap();
        assert_eq!(there(&read), holders(&["a"]));
    }
}
