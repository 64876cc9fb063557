//! Names that move, come or go at one certain moment of a walk or a refresh, where that would leave out others without a trace.

use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::Incoming;
use refshim::testing::http::body::Body;
use refshim::testing::registry::{Answer, Upstream, UpstreamError, WalkStep, WalkedListing};

use crate::registry_client::scripted::{Scripted, parameter, reply};
use crate::registry_client::{anyone, found, repository, upstream};

const PAGE: usize = 10;

/// What happens once, before the page that begins after the name or place `at` is given.
#[derive(Clone)]
struct Change {
    at: &'static str,
    /// Pushed again, which puts it at the end.
    pushed: Vec<String>,
    deleted: Vec<String>,
    /// Pushed again when that page was given.
    then_pushed: Vec<String>,
}

fn nothing(at: &'static str) -> Change {
    Change {
        at,
        pushed: Vec::new(),
        deleted: Vec::new(),
        then_pushed: Vec::new(),
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The name that was pushed again, and a page and more of new ones behind it.
fn followed(name: &str) -> Vec<String> {
    let new = (0..PAGE + 2).map(|n| format!("n{n:02}"));
    [name.to_owned()].into_iter().chain(new).collect()
}

/// Tags in the order in which they were pushed, ten on a page.
struct Tags {
    order: Vec<String>,
    /// Cursors are numbers of names to leave out rather than names.
    by_place: bool,
    change: Option<Change>,
}

impl Tags {
    fn take_out(&mut self, names: &[String]) {
        self.order.retain(|name| !names.contains(name));
    }

    fn push(&mut self, names: Vec<String>) {
        self.take_out(&names);
        self.order.extend(names);
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Response<Body> {
        let after = parameter(request, "last");
        let change = self.change.take_if(|change| after == Some(change.at));
        if let Some(change) = &change {
            self.take_out(&change.deleted);
            self.push(change.pushed.clone());
        }
        let start = match after {
            None => 0,
            Some(place) if self.by_place => place.parse().unwrap(),
            // Nothing follows a name that is not there.
            Some(last) => self
                .order
                .iter()
                .position(|name| name == last)
                .map_or(self.order.len(), |at| at + 1),
        };
        let page: Vec<String> = self.order.iter().skip(start).take(PAGE).cloned().collect();
        let end = start + page.len();
        let next = match self.by_place {
            true => end.to_string(),
            false => page.last().cloned().unwrap_or_default(),
        };
        let link = format!("</v2/team/app/tags/list?last={next}>; rel=\"next\"");
        let headers: &[(&str, &str)] = if end < self.order.len() {
            &[("link", &link)]
        } else {
            &[]
        };
        if let Some(change) = change {
            self.push(change.then_pushed);
        }
        reply(200, headers, serde_json::json!({ "tags": page }).to_string())
    }
}

struct Registry {
    tags: Arc<Mutex<Tags>>,
    _server: Scripted,
    upstream: Upstream,
}

impl Registry {
    async fn start(count: usize, by_place: bool, change: Option<Change>) -> Self {
        let order = (0..count).map(|n| format!("t{n:02}")).collect();
        let tags = Arc::new(Mutex::new(Tags {
            order,
            by_place,
            change,
        }));
        let served = tags.clone();
        let server = Scripted::start(move |request| served.lock().unwrap().answer(&request)).await;
        Self {
            tags,
            upstream: upstream(&server.url()),
            _server: server,
        }
    }

    async fn walk(&self) -> Result<WalkedListing, UpstreamError> {
        let mut walk = self.upstream.walk(&repository()).unwrap();
        loop {
            match walk.step(&self.upstream, &anyone()).await? {
                Answer::Found(WalkStep::Ended(listing)) => return Ok(listing),
                Answer::Found(WalkStep::More) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn assert_whole(&self, listing: &WalkedListing, what: &str) {
        let tags = self.tags.lock().unwrap();
        assert!(tags.change.is_none(), "{what}: nothing changed");
        let lacking = tags.order.iter().filter(|name| !listing.names().contains(name));
        assert_eq!(lacking.collect::<Vec<_>>(), [""; 0], "{what}");
    }
}

/// Each is of as many names as there are pages to read before it and behind it.
fn changes() -> Vec<(&'static str, usize, bool, Change)> {
    let moved = Change {
        pushed: owned(&["t19"]),
        ..nothing("t19")
    };
    let gone = Change {
        deleted: owned(&["t19"]),
        ..nothing("t19")
    };
    let followed = Change {
        pushed: followed("t49"),
        ..nothing("t49")
    };
    let grown = Change {
        pushed: owned(&["t39"]),
        then_pushed: owned(&["t52"]),
        ..nothing("t39")
    };
    let shifted = Change {
        deleted: owned(&["t03"]),
        ..nothing("10")
    };
    vec![
        ("the next page is empty", 25, false, moved.clone()),
        ("the next page is empty, of many", 95, false, moved),
        (
            "the next page begins after a name that is gone",
            25,
            false,
            gone.clone(),
        ),
        ("the same of many", 95, false, gone),
        ("a page and more follow what moved", 98, false, followed),
        ("what moved is followed by what comes behind the end", 58, false, grown),
        ("places shift", 25, true, shifted.clone()),
        ("places shift, of many", 65, true, shifted),
    ]
}

#[tokio::test]
async fn a_walk_leaves_out_no_name_that_stayed() {
    for (what, count, by_place, change) in changes() {
        let registry = Registry::start(count, by_place, Some(change)).await;
        let listing = registry.walk().await.unwrap();
        registry.assert_whole(&listing, what);
    }
}

#[tokio::test]
async fn nor_does_a_refresh() {
    let last = Change {
        pushed: followed("t49"),
        ..nothing("t49")
    };
    let of_last = (
        "a page and more follow the name that the last page began after",
        58,
        false,
        last,
    );
    for (what, count, by_place, change) in changes().into_iter().chain([of_last]) {
        let registry = Registry::start(count, by_place, None).await;
        let known = registry.walk().await.unwrap();
        registry.tags.lock().unwrap().change = Some(change);
        let again = registry.upstream.refresh(&repository(), &known, &anyone()).await;
        match found(again) {
            Some(listing) => registry.assert_whole(&listing, what),
            None => registry.assert_whole(&registry.walk().await.unwrap(), what),
        }
    }
}
