//! Plays a draw: the registry, refshim in front of it, one step after the other.

use std::collections::HashSet;
use std::time::Duration;

use http::Method;
use serde_json::Value;
use tokio::time::Instant;

use crate::none_is_proof::content::{Shelf, Since, TYPE};
use crate::none_is_proof::draw::{BYSTANDER, Class, Draw, Repository, Step, Way, What};
use crate::none_is_proof::oracle::{History, Oracle};
use crate::support::cli;
use crate::support::content::{ANY, IMAGE, INDEX, artifact};
use crate::support::exchange::HttpError;
use crate::support::fake::{Fake, knobs::Shown};
use crate::support::{Local, Pushed, Reply, Seen, advance};

/// Pages of `tags/list` after which a walk is given up.
const MOST_PAGES: usize = 500;
/// A listing without end keeps `gc` busy for long, which breaks no promise.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of a draw.
#[derive(Debug, Default)]
pub struct Outcome {
    pub answered: usize,
    pub failed: usize,
    pub broken: Option<Broken>,
}

/// A broken promise: which, and how.
#[derive(Clone, Debug)]
pub struct Broken {
    pub promise: Promise,
    pub how: String,
}

impl Broken {
    /// Without the requests.
    pub fn summary(&self) -> &str {
        self.how.lines().next().unwrap_or_default()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    NoFewerEntries,
    NoFewerTags,
    KeepsWhatIsNeeded,
    AnswersInHealth,
    /// That there is an answer at all.
    Answers,
}

impl Promise {
    fn broken(self, how: String) -> Broken {
        Broken { promise: self, how }
    }
}

pub struct Play<'a> {
    draw: &'a Draw,
    fake: Fake,
    refshim: Local,
    shelves: [Shelf; 3],
    history: History,
    pushes: usize,
    outcome: Outcome,
}

impl<'a> Play<'a> {
    async fn begin(draw: &'a Draw) -> Self {
        let fake = Fake::start(draw.knobs.clone()).await;
        let shelves = Repository::ALL.map(|repository| Shelf::fill(&fake, draw, repository));
        for error in &draw.errors {
            let (class, repository) = (error.class, error.repository);
            let subjects = shelves.each_ref().map(|shelf| shelf.image.digest.clone());
            let matches = move |seen: &Seen| {
                let of = repository.is_none_or(|of| seen.path.starts_with(&format!("/v2/{}/", of.name())));
                of && class_of(seen, &subjects) == Some(class)
            };
            fake.trouble_after(error.spared, error.times, error.what.trouble(), matches);
        }
        fake.set_in_motion(Repository::App.name(), draw.motions.clone());
        let mut play = Self {
            refshim: start(draw, &fake).await,
            draw,
            fake,
            shelves,
            history: History::default(),
            pushes: 0,
            outcome: Outcome::default(),
        };
        play.catch_up();
        play
    }

    async fn step(&mut self, step: Step) -> Result<(), Broken> {
        match step {
            Step::Ask(repository) => self.ask(repository).await,
            Step::AskAtOnce => self.ask_at_once().await,
            Step::AskByTag(repository) => self.ask_by_tag(repository).await,
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
            Step::Push(repository) => self.push(repository).await,
            Step::Attach(way) => {
                self.pushes += 1;
                let since = match self.draw.lags {
                    true => Since::AttachedUnlisted,
                    false => Since::Attached(Instant::now()),
                };
                let title = format!("attached {}", self.pushes);
                self.shelves[0].refer(&self.fake, &title, 0, way, since);
                Ok(())
            }
            Step::Wait(seconds) => {
                self.catch_up();
                advance(seconds).await;
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

    async fn get(&self, method: Method, path: &str) -> Result<Reply, Broken> {
        let reply = self
            .refshim
            .endpoint()
            .try_send(method, path, &[("accept", ANY)], "")
            .await;
        match reply {
            // A body that breaks off says that it does. Where the registry's own breaks off at once, the head may not have gone out yet.
            Err(HttpError::Body { .. }) => Ok(broken_off()),
            Err(_) if self.draw.errors.iter().any(|error| error.what == What::Cut) => Ok(broken_off()),
            other => other.map_err(|error| Promise::Answers.broken(format!("{path}: {error}"))),
        }
    }

    /// What a healthy registry is asked is answered, or its refusal relayed.
    fn answered(&mut self, reply: &Reply) -> Result<bool, Broken> {
        let fine = reply.status == 200;
        match fine {
            true => self.outcome.answered += 1,
            false => self.outcome.failed += 1,
        }
        if !fine && self.draw.is_healthy() && self.draw.knobs.rights.listing != Some(reply.status) {
            let how = format!("nothing is wrong, and it fails: {reply:?}");
            return Err(Promise::AnswersInHealth.broken(how));
        }
        Ok(fine)
    }

    async fn ask_for_nothing(&mut self, name: &str, digest: &str) -> Result<(), Broken> {
        let reply = self.get(Method::GET, &format!("/v2/{name}/referrers/{digest}")).await?;
        self.answered(&reply).map(|_| ())
    }

    fn question(&self, repository: Repository) -> String {
        format!(
            "/v2/{}/referrers/{}",
            repository.name(),
            self.shelf(repository).image.digest
        )
    }

    async fn ask(&mut self, repository: Repository) -> Result<(), Broken> {
        let reply = self.get(Method::GET, &self.question(repository)).await?;
        self.judge(repository, &reply).await
    }

    async fn ask_at_once(&mut self) -> Result<(), Broken> {
        let repositories = [Repository::App, Repository::Other, Repository::App];
        let questions = repositories.map(|repository| self.question(repository));
        let [one, other, again] = &questions;
        let (one, other, again) = tokio::join!(
            self.get(Method::GET, one),
            self.get(Method::GET, other),
            self.get(Method::GET, again),
        );
        for (repository, reply) in repositories.into_iter().zip([one, other, again]) {
            self.judge(repository, &reply?).await?;
        }
        Ok(())
    }

    async fn judge(&mut self, repository: Repository, reply: &Reply) -> Result<(), Broken> {
        if !self.answered(reply)? {
            return Ok(());
        }
        self.none_is_missing(repository, reply, |_| true)?;
        self.entries_are_given(repository, reply).await
    }

    /// In health, what is listed can be read, by its digest, and names its subject unless it is listed as it is stored.
    async fn entries_are_given(&self, repository: Repository, list: &Reply) -> Result<(), Broken> {
        if !self.draw.is_healthy() || self.draw.knobs.pull_limit.is_some() {
            return Ok(());
        }
        let list: Value = serde_json::from_slice(&list.body).unwrap_or_default();
        let shelf = self.shelf(repository);
        for entry in list["manifests"].as_array().into_iter().flatten() {
            let digest = entry["digest"].as_str().unwrap_or_default();
            let path = format!("/v2/{}/manifests/{digest}", repository.name());
            let reply = self.get(Method::GET, &path).await?;
            let manifest: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let is_it = refshim::testing::oci::Digest::sha256(&reply.body).as_str() == digest;
            let is_stored = shelf.referrers.iter().any(|referrer| referrer.digest == digest);
            // What is stored may be read elsewhere.
            if is_stored && reply.status == 307 {
                continue;
            }
            let names_it = manifest["subject"]["digest"] == *shelf.image.digest;
            if reply.status != 200 || !is_it || !(is_stored || names_it) {
                let how = format!("{digest} in {repository:?} is listed and not given: {reply:?}");
                return Err(Promise::NoFewerEntries.broken(how));
            }
        }
        Ok(())
    }

    /// A referrers tag that is not there means that there are no referrers; cosign's own tags are left to those who know them.
    async fn ask_by_tag(&mut self, repository: Repository) -> Result<(), Broken> {
        let path = format!(
            "/v2/{}/manifests/{}",
            repository.name(),
            self.shelf(repository).image.referrers_tag()
        );
        let reply = self.get(Method::GET, &path).await?;
        match reply.status {
            200 if reply.header("content-type") == Some(INDEX) => self.none_is_missing(repository, &reply, |_| true),
            404 => self.none_is_missing(repository, &reply, |way| !matches!(way, Way::Cosign(_))),
            _ => Ok(()),
        }
    }

    /// Whether an answer has every referrer that it must have, of those that are written down in one of `ways`.
    fn none_is_missing(&self, repository: Repository, reply: &Reply, ways: fn(Way) -> bool) -> Result<(), Broken> {
        let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let title = |entry: &Value| entry["annotations"]["org.opencontainers.image.title"].clone();
        let entries = body["manifests"].as_array().into_iter().flatten();
        let listed: HashSet<String> = entries
            .flat_map(|entry| [entry["digest"].clone(), title(entry)])
            .filter_map(|value| value.as_str().map(str::to_owned))
            .collect();
        let stale = reply.header("warning").is_some();
        let (shelf, oracle) = (self.shelf(repository), self.oracle());
        let missing = shelf.referrers.iter().filter(|referrer| {
            let there = listed.contains(&referrer.digest) || listed.contains(&referrer.title);
            !there && ways(referrer.way) && oracle.must_list(shelf, referrer, stale)
        });
        let missing: Vec<_> = missing
            .map(|missing| (&missing.title, missing.way, missing.since))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let how = format!("{} in {repository:?}, without {missing:?}", reply.status);
        Err(Promise::NoFewerEntries.broken(how))
    }

    /// Listings show what they have had not yet.
    fn catch_up(&mut self) {
        if !self.draw.lags {
            return;
        }
        let names = Repository::ALL
            .iter()
            .flat_map(|repository| self.fake.tags(repository.name()));
        let names = names.filter(|tag| self.draw.pages().shown.shows(tag, false)).collect();
        let mut pages = self.draw.pages();
        pages.shown = Shown::Only {
            names,
            asked_join: matches!(pages.shown, Shown::Only { asked_join: true, .. }),
        };
        self.fake.turn(|knobs| knobs.tags = Some(pages));
        for referrer in self.shelves.iter_mut().flat_map(|shelf| &mut shelf.referrers) {
            if let Since::AttachedUnlisted = referrer.since {
                referrer.since = Since::Attached(Instant::now());
            }
        }
    }

    async fn pull(&mut self, method: Method) -> Result<(), Broken> {
        let reply = self.get(method, &format!("/v2/app/manifests/{BYSTANDER}")).await?;
        if reply.status == 200 && self.history.pulled.is_none() {
            self.history.pulled = Some(Instant::now());
        }
        Ok(())
    }

    async fn list_tags(&mut self, n: Option<usize>) -> Result<(), Broken> {
        let mut next = n.map_or("/v2/app/tags/list".to_owned(), |n| format!("/v2/app/tags/list?n={n}"));
        let mut listed: HashSet<String> = HashSet::new();
        for _ in 0..MOST_PAGES {
            let reply = self.get(Method::GET, &next).await?;
            if reply.status != 200 {
                return Ok(());
            }
            let page: Value = serde_json::from_slice(&reply.body)
                .map_err(|_| Promise::NoFewerTags.broken(format!("{next}: {reply:?}")))?;
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
                // The registry's own pages are no better than it gives them.
                let in_motion = !self.draw.motions.is_empty();
                let unseen =
                    oracle.is_cut_for_all(self.shelf(Repository::App)) || oracle.may_list_nothing(Repository::App);
                if shown.is_empty() || unseen || in_motion {
                    return Ok(());
                }
                let how = format!("tags/list lacks {} names such as {shown:?}", missing.len());
                return Err(Promise::NoFewerTags.broken(how));
            };
            next = link.to_owned();
        }
        Ok(())
    }

    async fn push(&mut self, repository: Repository) -> Result<(), Broken> {
        self.pushes += 1;
        let title = format!("pushed {}", self.pushes);
        let image = self.shelf(repository).image.clone();
        if repository == Repository::New && self.put(repository, "v1", &image).await? != 201 {
            return Ok(());
        }
        let pushed = Pushed::of(IMAGE, &artifact(&image, TYPE, &title));
        if self.put(repository, &pushed.digest, &pushed).await? == 201 {
            self.shelves[repository as usize].acknowledge(title, pushed.digest);
        }
        Ok(())
    }

    /// The status.
    async fn put(&self, repository: Repository, reference: &str, manifest: &Pushed) -> Result<u16, Broken> {
        let path = format!("/v2/{}/manifests/{reference}", repository.name());
        let headers = [("content-type", IMAGE)];
        let reply = self
            .refshim
            .endpoint()
            .try_send(Method::PUT, &path, &headers, manifest.bytes.clone())
            .await;
        let reply = reply.map_err(|error| Promise::Answers.broken(format!("PUT {path}: {error}")))?;
        Ok(reply.status)
    }

    /// What was pushed through a refshim that has ended is found by what was written down.
    fn forget_pushes(&mut self) {
        let lags = self.draw.lags;
        let tags: Vec<String> = Repository::ALL
            .iter()
            .flat_map(|of| self.fake.tags(of.name()))
            .collect();
        let referrers = self.shelves.iter_mut().flat_map(|shelf| &mut shelf.referrers);
        let pushed = referrers.filter(|referrer| matches!(referrer.since, Since::Pushed));
        for referrer in pushed {
            let own = referrer.digest.trim_start_matches("sha256:");
            let tag = tags.iter().find(|tag| tag.contains(&format!(".{}.", &own[..16])));
            referrer.since = if lags { Since::AttachedUnlisted } else { Since::Ever };
            if let Some(tag) = tag {
                (referrer.way, referrer.tag) = (Way::ProposalD, tag.clone());
            }
        }
    }

    async fn keep_list(&mut self) -> Result<(), Broken> {
        let shelf = self.shelf(Repository::App);
        let reference = format!("{}/app", self.fake.url());
        let arguments = ["gc", &reference, "--keep-list"];
        let ended = match tokio::time::timeout(PATIENCE, cli::refshim(&arguments)).await {
            Ok(ended) if ended.code == Some(0) => ended,
            _ => return Ok(()),
        };
        let mut needed = vec![shelf.image.digest.clone()];
        let deep = Draw {
            depth: refshim::testing::config::Depth::Manifests,
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
        let shown =
            oracle.must_name("v1") && !oracle.may_keep_nothing(Repository::App) && !oracle.is_cut_for_all(shelf);
        needed.retain(|digest| shown && !ended.stdout.contains(digest.as_str()));
        if needed.is_empty() {
            return Ok(());
        }
        let how = format!("gc --keep-list ends with 0 without {needed:?}: {ended:?}");
        Err(Promise::KeepsWhatIsNeeded.broken(how))
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
        // Otherwise a stored referrers tag is given as it is, however little it says.
        config.writing.merge_referrers_tag = true;
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
            let how = format!("step {number}, {step:?}: {}\n    {requests}", broken.how);
            play.outcome.broken = Some(Broken { how, ..broken });
            break;
        }
    }
    play.outcome
}

fn broken_off() -> Reply {
    Reply {
        status: 0,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
    }
}
