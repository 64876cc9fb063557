//! Plays a draw: the registry, refshim in front of it, one step after the other.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::content::{Shelf, Since, TYPE};
use crate::draw::{BYSTANDER, Class, Draw, Repository, Step, Way};
use crate::oracle::{History, Oracle};
use crate::support::cli;
use crate::support::content::{ANY, IMAGE, artifact};
use crate::support::fake::Fake;
use crate::support::{Local, Pushed, Reply, Seen};

/// Pages of `tags/list` after which a walk is given up.
const MOST_PAGES: usize = 2_000;

/// What came of a draw.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: usize,
    pub failed: usize,
    /// Answers about images that have referrers to be listed, by whether they were lists.
    pub broken_promise: Option<String>,
}

pub struct Play<'a> {
    draw: &'a Draw,
    fake: Fake,
    refshim: Local,
    shelves: [Shelf; 2],
    history: History,
    pushes: usize,
    outcome: Outcome,
}

impl<'a> Play<'a> {
    async fn begin(draw: &'a Draw) -> Self {
        let fake = Fake::start(draw.knobs.clone()).await;
        let shelves = Repository::BOTH.map(|repository| Shelf::fill(&fake, draw, repository));
        for error in &draw.errors {
            let (class, repository) = (error.class, error.repository);
            let subjects = shelves.each_ref().map(|shelf| shelf.image.digest.clone());
            let matches = move |seen: &Seen| {
                let of = repository.is_none_or(|of| seen.path.starts_with(&format!("/v2/{}/", of.name())));
                of && class_of(seen, &subjects) == Some(class)
            };
            fake.trouble_after(error.spared, error.times, error.what.trouble(), matches);
        }
        Self {
            refshim: start(draw, &fake).await,
            draw,
            fake,
            shelves,
            history: History::default(),
            pushes: 0,
            outcome: Outcome::default(),
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Ask(repository) => self.ask(repository).await,
            Step::AskMadeUp => {
                self.ask_for_nothing("app", &format!("sha256:{}", "ab".repeat(32)))
                    .await
            }
            Step::AskZeros => self.ask_for_nothing("app", &format!("sha256:{}", "0".repeat(64))).await,
            Step::AskNowhere => {
                self.ask_for_nothing("no/where", &format!("sha256:{}", "cd".repeat(32)))
                    .await
            }
            Step::Pull => self.pull(Method::GET).await,
            Step::Head => self.pull(Method::HEAD).await,
            Step::ListTags(n) => self.list_tags(n).await,
            Step::Push => self.push().await,
            Step::Attach(way) => {
                self.pushes += 1;
                let title = format!("attached {}", self.pushes);
                self.shelves[0].refer(&self.fake, &title, 0, way, Since::Attached(Instant::now()));
                Ok(())
            }
            Step::Wait(seconds) => {
                tokio::time::pause();
                tokio::time::advance(Duration::from_secs(seconds)).await;
                tokio::time::resume();
                Ok(())
            }
            Step::Restart => {
                self.refshim = start(self.draw, &self.fake).await;
                self.history = History::default();
                self.forget_pushes();
                Ok(())
            }
            Step::KeepList => self.keep_list().await,
        }
    }

    fn shelf(&self, repository: Repository) -> &Shelf {
        &self.shelves[repository as usize]
    }

    fn oracle(&self) -> Oracle<'_> {
        Oracle {
            draw: self.draw,
            history: self.history,
        }
    }

    async fn get(&self, method: Method, path: &str) -> Result<Reply, String> {
        let reply = self
            .refshim
            .endpoint()
            .try_send(method, path, &[("accept", ANY)], "")
            .await;
        reply.map_err(|error| format!("{path}: {error}"))
    }

    /// What a healthy registry is asked is answered, or its refusal relayed.
    fn answered(&mut self, reply: &Reply) -> Result<bool, String> {
        let fine = reply.status == 200;
        match fine {
            true => self.outcome.answered += 1,
            false => self.outcome.failed += 1,
        }
        if !fine && self.draw.is_healthy() && self.draw.knobs.rights.listing != Some(reply.status) {
            return Err(format!("nothing is wrong, and it fails: {reply:?}"));
        }
        Ok(fine)
    }

    async fn ask_for_nothing(&mut self, name: &str, digest: &str) -> Result<(), String> {
        let reply = self.get(Method::GET, &format!("/v2/{name}/referrers/{digest}")).await?;
        self.answered(&reply).map(|_| ())
    }

    async fn ask(&mut self, repository: Repository) -> Result<(), String> {
        let path = format!(
            "/v2/{}/referrers/{}",
            repository.name(),
            self.shelf(repository).image.digest
        );
        let reply = self.get(Method::GET, &path).await?;
        if !self.answered(&reply)? {
            return Ok(());
        }
        let listed = reply.json()["manifests"].as_array().cloned().unwrap_or_default();
        let title = |entry: &Value| entry["annotations"]["org.opencontainers.image.title"].clone();
        let listed: HashSet<String> = listed
            .iter()
            .flat_map(|entry| [entry["digest"].clone(), title(entry)])
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        let stale = reply.header("warning").is_some();
        let shelf = self.shelf(repository);
        let oracle = self.oracle();
        let missing = shelf.referrers.iter().filter(|referrer| {
            let there = listed.contains(&referrer.digest) || listed.contains(&referrer.title);
            !there && oracle.must_list(shelf, referrer, stale)
        });
        let missing: Vec<_> = missing
            .map(|missing| (&missing.title, missing.way, missing.since))
            .collect();
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("{path}: 200 without {missing:?}")),
        }
    }

    async fn pull(&mut self, method: Method) -> Result<(), String> {
        let reply = self.get(method, &format!("/v2/app/manifests/{BYSTANDER}")).await?;
        if reply.status == 200 && self.history.pulled.is_none() {
            self.history.pulled = Some(Instant::now());
        }
        Ok(())
    }

    async fn list_tags(&mut self, n: Option<usize>) -> Result<(), String> {
        let mut next = n.map_or("/v2/app/tags/list".to_owned(), |n| format!("/v2/app/tags/list?n={n}"));
        let mut listed: HashSet<String> = HashSet::new();
        for _ in 0..MOST_PAGES {
            let reply = self.get(Method::GET, &next).await?;
            if reply.status != 200 {
                return Ok(());
            }
            let page: Value = serde_json::from_slice(&reply.body).map_err(|_| format!("{next}: {reply:?}"))?;
            let names = page["tags"].as_array().into_iter().flatten();
            listed.extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
            let link = reply.header("link").and_then(|link| link.split(['<', '>']).nth(1));
            let Some(link) = link else {
                let oracle = self.oracle();
                let missing = self.shelf(Repository::App).tags.iter();
                let missing: Vec<_> = missing
                    .filter(|tag| oracle.must_name(tag) && !listed.contains(*tag))
                    .collect();
                let shown = &missing[..missing.len().min(3)];
                return match shown.is_empty() {
                    true => Ok(()),
                    false => Err(format!("tags/list lacks {} names such as {shown:?}", missing.len())),
                };
            };
            next = link.to_owned();
        }
        Ok(())
    }

    async fn push(&mut self) -> Result<(), String> {
        self.pushes += 1;
        let title = format!("pushed {}", self.pushes);
        let pushed = Pushed::of(IMAGE, &artifact(&self.shelves[0].image, TYPE, &title));
        let path = format!("/v2/app/manifests/{}", pushed.digest);
        let headers = [("content-type", IMAGE)];
        let reply = self
            .refshim
            .endpoint()
            .try_send(Method::PUT, &path, &headers, pushed.bytes.clone())
            .await;
        let reply = reply.map_err(|error| format!("PUT {path}: {error}"))?;
        if reply.status == 201 {
            self.shelves[0].acknowledge(title, pushed.digest);
        }
        Ok(())
    }

    /// What was pushed through a refshim that has ended is found by what was written down.
    fn forget_pushes(&mut self) {
        let tags = self.fake.tags("app");
        let pushed = self.shelves[0]
            .referrers
            .iter_mut()
            .filter(|referrer| matches!(referrer.since, Since::Pushed));
        for referrer in pushed {
            let own = referrer.digest.trim_start_matches("sha256:");
            let tag = tags.iter().find(|tag| tag.contains(&format!(".{}.", &own[..16])));
            referrer.since = Since::Ever;
            if let Some(tag) = tag {
                (referrer.way, referrer.tag) = (Way::ProposalD, tag.clone());
            }
        }
    }

    async fn keep_list(&mut self) -> Result<(), String> {
        let shelf = self.shelf(Repository::App);
        let reference = format!("{}/app", self.fake.url());
        let ended = cli::refshim(&["gc", &reference, "--keep-list"]).await;
        if ended.code != Some(0) {
            return Ok(());
        }
        let mut needed = vec![shelf.image.digest.clone()];
        let deep = Draw {
            depth: refshim::config::Depth::Manifests,
            ..self.draw.clone()
        };
        let oracle = Oracle {
            draw: &deep,
            history: History::default(),
        };
        let referrers = shelf.referrers.iter();
        needed.extend(
            referrers
                .filter(|referrer| !matches!(referrer.since, Since::Pushed) && oracle.must_list(shelf, referrer, false))
                .map(|referrer| referrer.digest.clone()),
        );
        // A listing that lacks the image's own tag keeps nothing of it.
        let shown = oracle.must_name("v1") && !oracle.may_list_nothing(Repository::App);
        needed.retain(|digest| shown && !ended.stdout.contains(digest.as_str()));
        match needed.is_empty() {
            true => Ok(()),
            false => Err(format!("gc --keep-list ends with 0 without {needed:?}: {ended:?}")),
        }
    }
}

/// Which class of errors a request meets.
fn class_of(seen: &Seen, subjects: &[String]) -> Option<Class> {
    let (path, query) = seen.path.split_once('?').unwrap_or((&seen.path, ""));
    if path.ends_with("/tags/list") {
        let continues = query
            .split('&')
            .any(|pair| pair.starts_with("last=") || pair.starts_with("next_page="));
        return Some(if continues { Class::NextPage } else { Class::FirstPage });
    }
    if path.contains("/referrers/") {
        return Some(Class::Native);
    }
    let (_, reference) = path.split_once("/manifests/")?;
    Some(match seen.method {
        Method::HEAD => Class::Head,
        Method::GET if subjects.iter().any(|subject| subject == reference) => Class::Subject,
        Method::GET if reference.contains(':') => Class::Digest,
        Method::GET if reference.starts_with("sha256-") => Class::LinkTag,
        Method::GET => Class::OrdinaryTag,
        _ => return None,
    })
}

async fn start(draw: &Draw, fake: &Fake) -> Local {
    Local::configured(&fake.url(), |config| {
        config.links.depth = draw.depth;
        config.cache.stale_while_revalidate = Duration::ZERO;
        config.upstreams[0].retries = draw.retries;
        config.upstreams[0].redirect_hosts = ["127.0.0.2".to_owned()].into();
    })
    .await
}

/// All steps, or those up to the one that breaks the promise.
pub async fn play(draw: &Draw) -> Outcome {
    let mut play = Play::begin(draw).await;
    for (number, &step) in draw.steps.iter().enumerate() {
        if let Err(broken) = play.step(step).await {
            let requests = play.fake.take().join("\n    ");
            play.outcome.broken_promise = Some(format!("step {number}, {step:?}: {broken}\n    {requests}"));
            break;
        }
    }
    play.outcome
}
