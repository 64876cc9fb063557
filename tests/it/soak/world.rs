//! What callers who may do everything do, and what they must be answered.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;

use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use refshim::testing::oci::Digest;
use tokio::sync::mpsc::Sender;

use crate::support::content::ANY;
use crate::support::{Endpoint, Pushed, Refshim, Reply};

pub const USER: (&str, &str) = ("alice", "wonderland");
/// Acknowledged pushes of one subject from one garbage collection of the registry to the next.
const COLLECT_EVERY: usize = 20;
/// How long a client waits after a failure, as clients do: a registry that is down is not asked by all of them without end.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// Artifacts of one subject, beyond which they are deleted and not pushed: a step of a long run takes as long as one of a short run.
const ENOUGH: usize = 25;

/// What is known of the artifacts of one subject.
#[derive(Clone, Default)]
pub struct Known {
    /// Acknowledged, and nobody began to delete them.
    pub sure: BTreeSet<String>,
    /// Their deletion was acknowledged, or their push refused.
    pub gone: BTreeSet<String>,
    /// Its push or deletion ended in an error: it is there or not.
    pub unsure: BTreeSet<String>,
    /// The registry said that it is not there, and did not accept to delete it: a list may name it until it ages.
    pub absent: BTreeSet<String>,
    /// Its push or deletion has not ended.
    pub open: BTreeSet<String>,
}

pub struct World {
    pub replicas: Vec<Refshim>,
    pub subjects: Vec<Pushed>,
    pub known: Vec<Mutex<Known>>,
    pub steps: Mutex<usize>,
    pub counts: Mutex<Counts>,
    /// The registry itself, past refshim.
    pub straight: Endpoint,
    /// Asks for the registry's garbage collection; gone when all steps are done.
    pub collect: Mutex<Option<Sender<()>>>,
}

/// What was seen, so that a run in which nothing happened does not look like a good one.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub pushed: usize,
    pub deleted: usize,
    /// Deletions after one that failed.
    pub repeated: usize,
    pub listed: usize,
    /// Entries of lists that were deleted before. There must be none.
    pub risen: usize,
    pub failed: usize,
    /// Answers to callers whom the registry does not know.
    pub refused: usize,
    /// Answers to callers who may do less than others.
    pub limited: usize,
    /// Deletions that the registry refused.
    pub kept: usize,
    /// Deletions past refshim.
    pub vanished: usize,
    /// Garbage collections with a restart of the registry.
    pub collected: usize,
}

pub fn is_failure(reply: &Reply) -> bool {
    reply.status >= 500 || reply.status == 429
}

impl World {
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    fn next_step(&self) -> bool {
        let mut left = self.steps.lock().unwrap();
        *left = left.saturating_sub(1);
        *left > 0
    }

    /// A request was answered by no registry.
    pub async fn failed(&self) {
        self.count(|counts| counts.failed += 1);
        tokio::time::sleep(AFTER_FAILURE).await;
    }

    /// A push was acknowledged.
    pub fn pushed(&self) {
        let mut counts = self.counts.lock().unwrap();
        counts.pushed += 1;
        if counts.pushed.is_multiple_of(COLLECT_EVERY * self.subjects.len())
            && let Some(collect) = &*self.collect.lock().unwrap()
        {
            // One that was asked for and did not begin yet is enough.
            let _ = collect.try_send(());
        }
    }

    pub async fn client(&self, number: u64, mut random: StdRng) {
        let mut pushes = 0;
        while self.next_step() {
            let replica = &self.replicas[random.random_range(0..self.replicas.len())];
            let endpoint = replica.endpoint().basic(USER.0, USER.1);
            let subject = random.random_range(0..self.subjects.len());
            match random.random_range(0..31) {
                0..12 if self.snapshot(subject).sure.len() < ENOUGH => {
                    pushes += 1;
                    self.push(&endpoint, subject, &format!("{number} {pushes}")).await;
                }
                0..14 => self.delete(&endpoint, subject, &mut random).await,
                14 => self.repeat(&endpoint, subject).await,
                15..21 => self.list(&endpoint, subject).await,
                21 | 22 => self.list_in_another_form(&endpoint, subject, &mut random).await,
                23 | 24 => self.pull(&endpoint, subject, &mut random).await,
                25 => self.vanish(subject, &mut random).await,
                26 | 27 => self.intrude(replica, subject, &mut random).await,
                _ => self.limited(replica, subject, &mut random).await,
            }
        }
    }

    async fn list(&self, endpoint: &Endpoint, subject: usize) {
        let before = self.snapshot(subject);
        let reply = endpoint.referrers_reply("app", &self.subjects[subject].digest).await;
        if reply.status != 200 {
            assert!(is_failure(&reply), "a question: {reply:?}");
            return self.failed().await;
        }
        self.expect_all(subject, &before, &digests(&reply), &reply);
    }

    async fn list_in_another_form(&self, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let before = self.snapshot(subject);
        let path = self.another_form(subject, random);
        let Ok(reply) = endpoint.try_get(&path).await else {
            return self.failed().await;
        };
        if is_failure(&reply) {
            return self.failed().await;
        }
        // A referrers tag without entries need not be there.
        let is_tag = path.ends_with(&self.subjects[subject].referrers_tag());
        assert!(
            reply.status == 200 || reply.status == 404 && is_tag,
            "{path}: {reply:?}"
        );
        self.expect_all(subject, &before, &named(&reply.text()), &reply);
    }

    /// The path of a list that another dialect prints.
    pub fn another_form(&self, subject: usize, random: &mut StdRng) -> String {
        let (image, tag) = (&self.subjects[subject].digest, self.subjects[subject].referrers_tag());
        match random.random_range(0..4) {
            0 => format!("/v2/app/_oras/artifacts/referrers?digest={image}"),
            1 => format!("/v2/app/manifests/{image}/references"),
            2 => format!("/v3/app/referrers/{image}"),
            _ => format!("/v2/app/manifests/{tag}"),
        }
    }

    pub fn snapshot(&self, subject: usize) -> Known {
        self.known[subject].lock().unwrap().clone()
    }

    /// The reply to a question, before which so much was known, names all that it must and nothing that it must not.
    pub fn expect_all(&self, subject: usize, before: &Known, listed: &BTreeSet<String>, reply: &Reply) {
        // Somebody may have begun to delete some of them meanwhile.
        let still_sure = self.snapshot(subject).sure;
        let sure = before.sure.intersection(&still_sure);
        let missing: Vec<_> = sure.filter(|digest| !listed.contains(*digest)).collect();
        assert!(
            missing.is_empty(),
            "acknowledged, but not listed: {missing:?} in {reply:?}"
        );
        let risen: Vec<_> = before.gone.intersection(listed).collect();
        if !risen.is_empty() {
            println!("deleted, but listed: {risen:?} in {reply:?}");
        }
        self.count(|counts| {
            counts.listed += 1;
            counts.risen += risen.len();
        });
    }

    async fn pull(&self, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.any(subject, random) else {
            return;
        };
        let path = format!("/v2/app/manifests/{digest}");
        let asked = endpoint.try_send(Method::GET, &path, &[("accept", ANY)], Vec::new());
        match asked.await {
            Ok(reply) => self.expect_content(subject, &digest, &reply),
            Err(_) => self.failed().await,
        }
    }

    /// What is there is given as it is, or not at all.
    pub fn expect_content(&self, subject: usize, digest: &str, reply: &Reply) {
        if reply.status == 200 {
            assert_eq!(Digest::sha256(&reply.body).as_str(), digest);
        } else if self.snapshot(subject).sure.contains(digest) {
            assert!(is_failure(reply), "acknowledged, but not there: {reply:?}");
        }
    }

    /// Whatever it asks, a wrong password opens nothing.
    async fn intrude(&self, replica: &Refshim, subject: usize, random: &mut StdRng) {
        let is_anonymous = random.random_bool(0.5);
        let endpoint = match is_anonymous {
            true => replica.endpoint(),
            false => replica.endpoint().basic(USER.0, "looking-glass"),
        };
        let digest = &self.subjects[subject].digest;
        let path = match random.random_range(0..4) {
            0 => format!("/v2/app/referrers/{digest}"),
            1 => format!("/v2/app/manifests/{digest}"),
            2 => "/v2/app/tags/list".to_owned(),
            _ => format!("/v3/app/referrers/{digest}"),
        };
        let Ok(reply) = endpoint.try_get(&path).await else {
            return self.failed().await;
        };
        assert!(
            reply.status == 401 || is_failure(&reply),
            "anonymous: {is_anonymous}, {path}: {reply:?}"
        );
        self.count(|counts| counts.refused += 1);
    }

    /// An artifact that is there.
    pub fn any(&self, subject: usize, random: &mut StdRng) -> Option<String> {
        let known = self.known[subject].lock().unwrap();
        let index = random.random_range(0..known.sure.len().max(1));
        known.sure.iter().nth(index).cloned()
    }
}

/// Of an index's entries.
pub fn digests(reply: &Reply) -> BTreeSet<String> {
    let index = reply.json();
    let entries = index["manifests"].as_array().expect("a list").iter();
    entries
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// All that a text names.
pub fn named(text: &str) -> BTreeSet<String> {
    let words = text.split('"').filter(|word| Digest::parse(word).is_ok());
    words.map(str::to_owned).collect()
}
