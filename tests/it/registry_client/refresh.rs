//! A walked listing is asked for again by its pages. Whatever comes, goes and moves while they are read, many at once: no name is
//! left out that was there the whole time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use hyper::body::Incoming;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use refshim::testing::http::body::Body;
use refshim::testing::registry::{Answer, Upstream, UpstreamError, WalkStep, WalkedListing};

use crate::registry_client::scripted::{Scripted, oci_error, parameter, reply};
use crate::registry_client::{anyone, found, repository, upstream};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Lexical,
    /// A name that is pushed again goes to the end.
    OldestFirst,
    /// A name that is pushed again goes to the front.
    NewestFirst,
}

/// What a page is asked for by, and what becomes of a cursor whose name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// It goes on where the name was.
    Remembered,
    Empty,
    StartsOver,
    NotFound,
    /// A number of names to leave out, in words of the registry's own.
    Token,
    /// The same, refused when anything has changed since.
    Expiring,
    /// No page links to another.
    Unlinked,
}

const ORDERS: [Order; 3] = [Order::Lexical, Order::OldestFirst, Order::NewestFirst];
const CURSORS: [Cursor; 7] = [
    Cursor::Remembered,
    Cursor::Empty,
    Cursor::StartsOver,
    Cursor::NotFound,
    Cursor::Token,
    Cursor::Expiring,
    Cursor::Unlinked,
];

/// Random sequences of changes that each registry meets.
const SEEDS: u64 = 8;

/// A repository whose tags change while it is asked.
struct Tags {
    order: Order,
    cursor: Cursor,
    page: usize,
    /// The chance that something changes with a request.
    churn: f64,
    random: StdRng,
    /// Names by their places: only the order of these means anything.
    places: HashMap<String, i64>,
    present: BTreeSet<String>,
    /// Those that were there since this was last asked.
    stayed: BTreeSet<String>,
    pushes: i64,
    changes: usize,
    requests: usize,
}

impl Tags {
    fn new(order: Order, cursor: Cursor, count: usize, seed: u64) -> Self {
        let mut tags = Self {
            order,
            cursor,
            page: 3,
            churn: 0.0,
            random: StdRng::seed_from_u64(seed),
            places: HashMap::new(),
            present: BTreeSet::new(),
            stayed: BTreeSet::new(),
            pushes: 0,
            changes: 0,
            requests: 0,
        };
        for _ in 0..count {
            let name = tags.new_name();
            tags.push(name);
        }
        tags
    }

    fn new_name(&mut self) -> String {
        format!("t{:07}", self.random.random_range(0..10_000_000))
    }

    fn push(&mut self, name: String) {
        self.pushes += 1;
        self.changes += 1;
        let place = match self.order {
            Order::Lexical => name[1..].parse().unwrap(),
            Order::OldestFirst => self.pushes,
            Order::NewestFirst => -self.pushes,
        };
        self.places.insert(name.clone(), place);
        self.present.insert(name);
    }

    fn delete(&mut self, name: &str) {
        self.changes += 1;
        self.present.remove(name);
        self.stayed.remove(name);
    }

    fn listed(&self) -> Vec<String> {
        let mut all: Vec<String> = self.present.iter().cloned().collect();
        all.sort_by_key(|name| self.places[name]);
        all
    }

    /// Often one that a page ends with.
    fn any(&mut self) -> Option<String> {
        let all = self.listed();
        let index = self.random.random_range(0..all.len().max(1));
        let index = match self.random.random_bool(0.5) {
            true => (index / self.page * self.page + self.page - 1).min(all.len().saturating_sub(1)),
            false => index,
        };
        all.get(index).cloned()
    }

    fn change(&mut self) {
        match self.random.random_range(0..4) {
            0 => {
                let name = self.new_name();
                self.push(name);
            }
            1 => {
                if let Some(name) = self.any() {
                    self.delete(&name);
                }
            }
            _ => {
                if let Some(name) = self.any() {
                    self.push(name);
                }
            }
        }
    }

    fn answer(&mut self, request: &Request<Incoming>) -> Response<Body> {
        self.requests += 1;
        if self.random.random_bool(self.churn) {
            self.change();
        }
        let all = self.listed();
        let start = match parameter(request, "last") {
            None => 0,
            Some(last) => match self.start(&all, last) {
                Ok(start) => start,
                Err(refusal) => return *refusal,
            },
        };
        let n = parameter(request, "n")
            .and_then(|n| n.parse().ok())
            .unwrap_or(self.page);
        let page: Vec<&String> = all.iter().skip(start).take(self.page.min(n)).collect();
        let end = start + page.len();
        let next = match self.cursor {
            Cursor::Token => format!("token-{end}"),
            Cursor::Expiring => format!("token-{end}-{}", self.changes),
            _ => page.last().map_or(String::new(), |name| (*name).clone()),
        };
        let link = format!("</v2/team/app/tags/list?last={next}&n={n}>; rel=\"next\"");
        let links = end < all.len() && self.cursor != Cursor::Unlinked;
        let headers: &[(&str, &str)] = if links { &[("link", &link)] } else { &[] };
        reply(200, headers, serde_json::json!({ "tags": page }).to_string())
    }

    fn start(&self, all: &[String], last: &str) -> Result<usize, Box<Response<Body>>> {
        let after = |name: &str| {
            self.places
                .get(name)
                .map(|place| all.partition_point(|n| self.places[n] <= *place))
        };
        let is_there = self.present.contains(last);
        match self.cursor {
            Cursor::Remembered | Cursor::Unlinked => after(last).ok_or_else(|| Box::new(oci_error(400, "UNSUPPORTED"))),
            _ if is_there => Ok(after(last).unwrap()),
            Cursor::Empty => Ok(all.len()),
            Cursor::StartsOver => Ok(0),
            Cursor::NotFound => Err(Box::new(oci_error(404, "NAME_UNKNOWN"))),
            Cursor::Token | Cursor::Expiring => {
                let mut parts = last.split('-').skip(1).filter_map(|part| part.parse::<usize>().ok());
                let (start, changes) = (parts.next(), parts.next());
                let holds = changes.is_none_or(|changes| changes == self.changes);
                start
                    .filter(|_| holds)
                    .ok_or_else(|| Box::new(oci_error(405, "UNSUPPORTED")))
            }
        }
    }
}

/// A registry that holds these tags.
struct Changing {
    tags: Arc<Mutex<Tags>>,
    _server: Scripted,
    upstream: Upstream,
}

impl Changing {
    async fn start(tags: Tags) -> Self {
        let tags = Arc::new(Mutex::new(tags));
        let served = tags.clone();
        let server = Scripted::start(move |request| served.lock().unwrap().answer(&request)).await;
        Self {
            tags,
            upstream: upstream(&server.url()),
            _server: server,
        }
    }

    fn with<T>(&self, f: impl FnOnce(&mut Tags) -> T) -> T {
        f(&mut self.tags.lock().unwrap())
    }

    /// From now on it is noted which names stay.
    fn begin(&self, churn: f64) {
        self.with(|tags| {
            tags.churn = churn;
            tags.stayed = tags.present.clone();
            tags.requests = 0;
        });
    }

    /// `None` where a page is refused: a token that has expired.
    async fn walk(&self) -> Result<Option<WalkedListing>, UpstreamError> {
        let mut walk = self.upstream.walk(&repository()).unwrap();
        loop {
            match walk.step(&self.upstream, &anyone()).await? {
                Answer::Found(WalkStep::Ended(listing)) => return Ok(Some(listing)),
                Answer::Found(WalkStep::More) => {}
                Answer::Absent => panic!("no such repository"),
                Answer::Refused(_) => return Ok(None),
            }
        }
    }

    async fn refresh(&self, known: &WalkedListing) -> Result<Option<WalkedListing>, UpstreamError> {
        Ok(found(Ok(self
            .upstream
            .refresh(&repository(), known, &anyone())
            .await?)))
    }

    fn lacks(&self, listing: &WalkedListing) -> Vec<String> {
        self.with(|tags| {
            let lacking = tags.stayed.iter().filter(|name| !listing.names().contains(name));
            lacking.cloned().collect()
        })
    }

    fn requests(&self) -> usize {
        self.with(|tags| tags.requests)
    }
}

/// Every order with every cursor that goes with it.
fn forms() -> impl Iterator<Item = (Order, Cursor)> {
    let all = ORDERS
        .into_iter()
        .flat_map(|order| CURSORS.map(|cursor| (order, cursor)));
    // Without links, only names in order can be gone on after.
    all.filter(|(order, cursor)| *cursor != Cursor::Unlinked || *order == Order::Lexical)
}

#[tokio::test]
async fn a_listing_that_nobody_changed_costs_its_pages_and_two_to_be_sure() {
    for (order, cursor) in forms() {
        let changing = Changing::start(Tags::new(order, cursor, 40, 1)).await;
        let known = changing.walk().await.unwrap().unwrap();
        changing.begin(0.0);
        let again = changing.refresh(&known).await.unwrap().unwrap();
        // Without links, an empty page ends the listing, and the last name is seen to be where it was.
        let spare = if cursor == Cursor::Unlinked { 2 } else { 0 };
        assert_eq!(again, known, "{order:?} {cursor:?}");
        assert_eq!(changing.requests(), 14 + 2 + spare, "{order:?} {cursor:?}");
    }
}

#[tokio::test]
async fn what_was_pushed_and_deleted_since_is_seen() {
    for (order, cursor) in forms() {
        for seed in 0..8 {
            let changing = Changing::start(Tags::new(order, cursor, 44, seed)).await;
            let known = changing.walk().await.unwrap().unwrap();
            changing.with(|tags| (0..seed).for_each(|_| tags.change()));
            changing.begin(0.0);
            let Some(again) = changing.refresh(&known).await.unwrap() else {
                let is_token = matches!(cursor, Cursor::Token | Cursor::Expiring);
                assert!(is_token, "{order:?} {cursor:?} {seed}: walked anew");
                continue;
            };
            let names: BTreeSet<String> = again.names().iter().map(str::to_owned).collect();
            assert_eq!(
                names,
                changing.with(|tags| tags.present.clone()),
                "{order:?} {cursor:?} {seed}"
            );
        }
    }
}

#[tokio::test]
async fn no_name_is_left_out_that_was_there_the_whole_time() {
    let (mut refreshed, mut anew, mut failed) = (0, 0, 0);
    for (order, cursor) in forms() {
        for seed in 0..SEEDS {
            let what = format!("{order:?} {cursor:?} {seed}");
            let changing = Changing::start(Tags::new(order, cursor, 40, seed)).await;
            let known = changing.walk().await.unwrap().unwrap();
            changing.with(|tags| (0..seed % 4).for_each(|_| tags.change()));
            changing.begin([0.03, 0.1, 0.3][seed as usize % 3]);
            match changing.refresh(&known).await {
                Ok(Some(listing)) => {
                    refreshed += 1;
                    assert_eq!(changing.lacks(&listing), [""; 0], "{what}");
                }
                Ok(None) => anew += 1,
                Err(_) => failed += 1,
            }
        }
    }
    assert!(
        refreshed > 10 * SEEDS,
        "{refreshed} refreshed, {anew} anew, {failed} failed"
    );
}

#[tokio::test]
async fn nor_is_one_left_out_of_a_walk() {
    let (mut walked, mut failed) = (0, 0);
    for (order, cursor) in forms() {
        for seed in 0..SEEDS {
            let what = format!("{order:?} {cursor:?} {seed}");
            let changing = Changing::start(Tags::new(order, cursor, 40, seed)).await;
            changing.begin([0.03, 0.1, 0.3][seed as usize % 3]);
            match changing.walk().await {
                Ok(Some(listing)) => {
                    walked += 1;
                    assert_eq!(changing.lacks(&listing), [""; 0], "{what}");
                }
                Ok(None) | Err(UpstreamError::Invalid(_)) => failed += 1,
                Err(other) => panic!("{what}: {other}"),
            }
        }
    }
    assert!(walked > 10 * SEEDS, "{walked} walked, {failed} failed");
}
