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

/// How a page leads to the next one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cursor {
    /// By a `Link` with the name that it begins after.
    Name,
    /// By a `Link` with the number of names to leave out.
    Place,
    /// Not at all.
    Unlinked,
}

/// Tags in the order in which they were pushed, ten on a page.
struct Tags {
    order: Vec<String>,
    cursor: Cursor,
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
            Some(place) if self.cursor == Cursor::Place => place.parse().unwrap(),
            // Nothing follows a name that is not there.
            Some(last) => self
                .order
                .iter()
                .position(|name| name == last)
                .map_or(self.order.len(), |at| at + 1),
        };
        let asked = parameter(request, "n").and_then(|n| n.parse().ok()).unwrap_or(PAGE);
        let page: Vec<String> = self.order.iter().skip(start).take(PAGE.min(asked)).cloned().collect();
        let end = start + page.len();
        let next = match self.cursor {
            Cursor::Place => end.to_string(),
            Cursor::Name | Cursor::Unlinked => page.last().cloned().unwrap_or_default(),
        };
        let link = format!("</v2/team/app/tags/list?last={next}>; rel=\"next\"");
        let headers: &[(&str, &str)] = if end < self.order.len() && self.cursor != Cursor::Unlinked {
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
    async fn start(count: usize, cursor: Cursor, change: Option<Change>) -> Self {
        let order = (0..count).map(|n| format!("t{n:02}")).collect();
        let tags = Arc::new(Mutex::new(Tags { order, cursor, change }));
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
fn changes() -> Vec<(&'static str, usize, Cursor, Change)> {
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
        ("the next page is empty", 25, Cursor::Name, moved.clone()),
        ("the next page is empty, of many", 95, Cursor::Name, moved),
        (
            "the next page begins after a name that is gone",
            25,
            Cursor::Name,
            gone.clone(),
        ),
        ("the same of many", 95, Cursor::Name, gone),
        ("a page and more follow what moved", 98, Cursor::Name, followed),
        (
            "what moved is followed by what comes behind the end",
            58,
            Cursor::Name,
            grown,
        ),
        ("places shift", 25, Cursor::Place, shifted.clone()),
        ("places shift, of many", 65, Cursor::Place, shifted),
    ]
}

#[tokio::test]
async fn a_walk_leaves_out_no_name_that_stayed() {
    for (what, count, cursor, change) in changes() {
        let registry = Registry::start(count, cursor, Some(change)).await;
        let listing = registry.walk().await.unwrap();
        registry.assert_whole(&listing, what);
    }
}

/// Nothing follows the last name that was read, because that is now the end, and it was read in an order that looks like that of names.
#[tokio::test]
async fn without_links_no_listing_ends_where_a_name_moved() {
    let moved = Change {
        pushed: owned(&["t19"]),
        ..nothing("t19")
    };
    let gone = Change {
        deleted: owned(&["t19"]),
        ..nothing("t19")
    };
    for (what, change) in [("moved", moved), ("gone", gone)] {
        let registry = Registry::start(25, Cursor::Unlinked, Some(change)).await;
        match registry.walk().await {
            Ok(listing) => registry.assert_whole(&listing, what),
            // By age, and no Link: it may not be told how it goes on.
            Err(UpstreamError::Invalid(_)) => {}
            Err(error) => panic!("{what}: {error:?}"),
        }
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
        Cursor::Name,
        last,
    );
    for (what, count, cursor, change) in changes().into_iter().chain([of_last]) {
        let registry = Registry::start(count, cursor, None).await;
        let known = registry.walk().await.unwrap();
        registry.tags.lock().unwrap().change = Some(change);
        let again = registry.upstream.refresh(&repository(), &known, &anyone()).await;
        match found(again) {
            Some(listing) => registry.assert_whole(&listing, what),
            None => registry.assert_whole(&registry.walk().await.unwrap(), what),
        }
    }
}
