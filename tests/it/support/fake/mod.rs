//! Registries that cannot be installed, or that nobody should run: quirks and malice in front of the embedded registry.
//!
//! [`profiles`] has them by name; each is a set of [`Knobs`], which a test may turn while the fake runs. What the fake holds is
//! put in behind its back ([`Fake::put`], [`Fake::image`]): a registry that refuses uploads may still be full.

mod answer;
mod auth;
mod blobs;
pub mod knobs;
mod manifests;
pub mod motion;
mod native;
mod pages;
pub mod profiles;
pub mod quirks;
mod reply;
mod rights;
mod stock;
mod tags;
pub mod trouble;

use std::collections::{BTreeSet, HashSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use http::request::Parts;
use refshim::testing::demo;
use refshim::testing::demo::{DemoRegistry, Serving};
use tokio::net::TcpListener;

use super::refshim::is_ping;
use super::{Endpoint, Seen};
pub use knobs::Knobs;
use motion::{Motion, Motions};
pub use trouble::Trouble;

type Predicate = Box<dyn Fn(&Seen) -> bool + Send>;

struct Rule {
    matches: Predicate,
    trouble: Trouble,
    /// Matching requests that it still spares.
    spared: usize,
    /// How often it still applies; `None` for always.
    left: Option<usize>,
}

impl Rule {
    /// Whether the request meets its trouble; spares it where that is due.
    fn applies(&mut self, seen: &Seen) -> bool {
        if self.left == Some(0) || !(self.matches)(seen) {
            return false;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return false;
        }
        true
    }
}

#[derive(Default)]
struct State {
    knobs: Knobs,
    rules: Vec<Rule>,
    seen: Vec<Seen>,
    seen_elsewhere: Vec<Seen>,
    /// Repositories and tags that were asked for by name.
    asked: HashSet<(String, String)>,
    motions: Motions,
    /// Manifests that were fetched.
    pulls: usize,
    /// Paths of manifests by digest that were deleted while their tags stay ([`knobs::Delete::DigestAlone`]).
    deleted: BTreeSet<String>,
}

/// What the fake's own listener and the foreign host's share.
struct Shared {
    registry: DemoRegistry,
    state: Mutex<State>,
    /// `http://host:port` of the foreign host, which is storage, login page and trap in one.
    elsewhere: String,
}

/// A running fake; it ends when this is dropped.
pub struct Fake {
    shared: Arc<Shared>,
    serving: Serving,
    _elsewhere: Serving,
}

impl Fake {
    pub async fn start(knobs: Knobs) -> Self {
        let here = listener(Ipv4Addr::LOCALHOST).await;
        // Another address of the loopback network stands for another host.
        let elsewhere = listener(Ipv4Addr::new(127, 0, 0, 2)).await;
        let state = State {
            knobs,
            ..State::default()
        };
        let shared = Arc::new(Shared {
            registry: DemoRegistry::default(),
            state: Mutex::new(state),
            elsewhere: format!("http://{}", elsewhere.local_addr().expect("a bound address")),
        });
        let (one, other) = (shared.clone(), shared.clone());
        let serving = demo::serve(here, move |request| answer::answer(one.clone(), request));
        let foreign = demo::serve(elsewhere, move |request| blobs::elsewhere(other.clone(), request));
        Self {
            shared,
            serving: serving.expect("a listening fake"),
            _elsewhere: foreign.expect("a listening foreign host"),
        }
    }

    /// With the path prefix, if the fake stands behind one.
    pub fn url(&self) -> String {
        let base = self.shared.change(|state| state.knobs.base);
        format!("http://{}{base}", self.serving.address())
    }

    /// The fake itself, as a client sees it that bypasses refshim.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&self.url())
    }

    /// `http://host:port` of the foreign host.
    pub fn elsewhere(&self) -> &str {
        &self.shared.elsewhere
    }

    /// Turns knobs while the fake runs.
    pub fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        self.shared.change(|state| change(&mut state.knobs));
    }

    /// Tags of the repository come, go and move while its pages are given.
    pub fn set_in_motion(&self, repository: &str, motions: Vec<Motion>) {
        self.shared
            .change(|state| state.motions = Motions::of(repository, motions));
    }

    /// Every matching request meets `trouble`.
    pub fn trouble(&self, trouble: Trouble, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        self.rule(trouble, 0, None, Box::new(matches));
    }

    /// Only the next `times` matching requests do.
    pub fn trouble_times(&self, times: usize, trouble: Trouble, matches: impl Fn(&Seen) -> bool + Send + 'static) {
        self.rule(trouble, 0, Some(times), Box::new(matches));
    }

    /// Only `times` matching requests do, or all, after `spared` that do not.
    pub fn trouble_after(
        &self,
        spared: usize,
        times: Option<usize>,
        trouble: Trouble,
        matches: impl Fn(&Seen) -> bool + Send + 'static,
    ) {
        self.rule(trouble, spared, times, Box::new(matches));
    }

    /// No more trouble.
    pub fn heal(&self) {
        self.shared.change(|state| state.rules.clear());
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Seen> {
        self.shared.change(|state| state.seen.clone())
    }

    pub fn count(&self, matches: impl Fn(&Seen) -> bool) -> usize {
        self.shared
            .change(|state| state.seen.iter().filter(|seen| matches(seen)).count())
    }

    /// The requests so far as lines (`GET /v2/…`), forgotten here.
    pub fn take(&self) -> Vec<String> {
        self.shared
            .change(|state| state.seen.drain(..).map(|seen| seen.line()).collect())
    }

    /// What reached the foreign host.
    pub fn requests_elsewhere(&self) -> Vec<Seen> {
        self.shared.change(|state| state.seen_elsewhere.clone())
    }

    fn rule(&self, trouble: Trouble, spared: usize, left: Option<usize>, matches: Predicate) {
        let rule = Rule {
            matches,
            trouble,
            spared,
            left,
        };
        self.shared.change(|state| state.rules.push(rule));
    }
}

async fn listener(address: Ipv4Addr) -> TcpListener {
    TcpListener::bind((address, 0)).await.expect("a loopback port")
}

impl Shared {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().expect("no test panics in here"))
    }

    /// Whether anybody asked for this tag by name.
    fn was_asked(&self, name: &str, tag: &str) -> bool {
        self.change(|state| state.asked.contains(&(name.to_owned(), tag.to_owned())))
    }

    /// Writes a request down; the knobs as they are now, and the trouble that it meets.
    fn arrived(&self, head: &Parts) -> (Knobs, Option<Trouble>) {
        let seen = seen(head);
        self.change(|state| {
            let rule = state
                .rules
                .iter_mut()
                .find_map(|rule| rule.applies(&seen).then_some(rule));
            let trouble = rule.map(|rule| {
                rule.left = rule.left.map(|left| left - 1);
                rule.trouble.clone()
            });
            if let Some((name, tag)) = asked_for(&seen) {
                state.asked.insert((name.to_owned(), tag.to_owned()));
            }
            if !is_ping(&seen.headers) {
                state.seen.push(seen);
            }
            (state.knobs.clone(), trouble)
        })
    }
}

/// Repository and tag of a request for a manifest by tag.
fn asked_for(seen: &Seen) -> Option<(&str, &str)> {
    let (name, tag) = seen.path.split_once("/v2/")?.1.split_once("/manifests/")?;
    (!tag.contains(':')).then_some((name, tag))
}

fn seen(head: &Parts) -> Seen {
    Seen {
        method: head.method.clone(),
        path: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        headers: head.headers.clone(),
        status: None,
    }
}
