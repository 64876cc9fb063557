//! Promise: whatever is asked in whatever order, with a registry that fails now and then, no answer is a wrong "none", nobody
//! sees what its credentials do not open, no acknowledged push is lost, and nothing is held on to afterwards.
//!
//! Two replicas share a Redis in front of one registry. Faults and questions are drawn from one seed, which is printed;
//! `REFSHIM_SOAK_SEED` draws the same again (in another order where requests race), `REFSHIM_SOAK_STEPS` goes on for longer.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::support::content::{IMAGE, artifact};
use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::mpsc::UnboundedSender;

use crate::support::{CountingProxy, Endpoint, Fault, Program, Pushed, Redis, Refshim, Registry, Reply, eventually};

const STEPS: usize = 1000;
const CLIENTS: u64 = 8;
const SUBJECTS: usize = 6;
/// One of so many requests meets a fault, for each kind of fault.
const RARELY: u32 = 40;
/// Steps from one garbage collection of the registry to the next.
const COLLECT_EVERY: usize = 1000;
/// What the registry says of a deletion that it refuses.
const REFUSAL: &str = "a tag refers to it";
const USER: (&str, &str) = ("alice", "wonderland");
/// Of a debug build with its caches: what grows with the number of requests goes beyond.
const MEMORY: u64 = 200 << 20;
/// Idle connections to the registry and to Redis, beyond what was open before.
const DESCRIPTORS: usize = 70;

/// What is known of the artifacts of one subject.
#[derive(Default)]
struct Known {
    /// Acknowledged, and nobody began to delete them.
    sure: BTreeSet<String>,
    /// Their deletion was acknowledged.
    gone: BTreeSet<String>,
    /// Every artifact whose push or deletion ended in an error, or has not ended.
    open: BTreeSet<String>,
}

struct World {
    replicas: Vec<Refshim>,
    subjects: Vec<Pushed>,
    known: Vec<Mutex<Known>>,
    steps: Mutex<usize>,
    counts: Mutex<Counts>,
    /// The registry itself, past refshim.
    straight: Endpoint,
    /// Asks for the registry's garbage collection; gone when all steps are done.
    collect: Mutex<Option<UnboundedSender<()>>>,
}

/// What was seen, so that a run in which nothing happened does not look like a good one.
#[derive(Clone, Debug, Default)]
struct Counts {
    pushed: usize,
    deleted: usize,
    listed: usize,
    failed: usize,
    refused: usize,
    /// Deletions that the registry refused.
    kept: usize,
    /// Deletions past refshim.
    vanished: usize,
    /// Garbage collections with a restart of the registry.
    collected: usize,
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn is_failure(reply: &Reply) -> bool {
    reply.status >= 500 || reply.status == 429
}

impl World {
    fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.counts.lock().unwrap());
    }

    fn next_step(&self) -> bool {
        let mut left = self.steps.lock().unwrap();
        *left = left.saturating_sub(1);
        if *left % COLLECT_EVERY == COLLECT_EVERY / 2
            && let Some(collect) = &*self.collect.lock().unwrap()
        {
            collect.send(()).expect("somebody collects");
        }
        *left > 0
    }

    async fn client(&self, number: u64, mut random: StdRng) {
        let mut pushes = 0;
        while self.next_step() {
            let replica = &self.replicas[random.random_range(0..self.replicas.len())];
            let endpoint = replica.endpoint().basic(USER.0, USER.1);
            let subject = random.random_range(0..SUBJECTS);
            match random.random_range(0..21) {
                20 => self.vanish(subject, &mut random).await,
                0..6 => {
                    pushes += 1;
                    self.push(&endpoint, subject, &format!("{number} {pushes}")).await;
                }
                6 | 7 => self.delete(&endpoint, subject, &mut random).await,
                8..16 => self.list(&endpoint, subject).await,
                16 | 17 => self.pull(&endpoint, subject, &mut random).await,
                _ => self.intrude(replica, subject, &mut random).await,
            }
        }
    }

    async fn push(&self, endpoint: &Endpoint, subject: usize, name: &str) {
        let artifact = Pushed::of(IMAGE, &artifact(&self.subjects[subject], "application/vnd.test", name));
        self.known[subject].lock().unwrap().open.insert(artifact.digest.clone());
        let path = format!("/v2/app/manifests/{}", artifact.digest);
        let headers = [("content-type", IMAGE)];
        let put = endpoint.try_send(Method::PUT, &path, &headers, artifact.bytes.clone());
        match put.await {
            Ok(reply) if reply.status == 201 => {
                let mut known = self.known[subject].lock().unwrap();
                known.open.remove(&artifact.digest);
                known.sure.insert(artifact.digest);
                self.count(|counts| counts.pushed += 1);
            }
            Ok(reply) => {
                assert!(is_failure(&reply), "a push: {reply:?}");
                self.count(|counts| counts.failed += 1);
            }
            Err(_) => self.count(|counts| counts.failed += 1),
        }
    }

    async fn delete(&self, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.any(subject, random) else {
            return;
        };
        {
            let mut known = self.known[subject].lock().unwrap();
            if !known.sure.remove(&digest) {
                return;
            }
            known.open.insert(digest.clone());
        }
        let reply = endpoint.delete(&format!("/v2/app/manifests/{digest}")).await;
        if reply.status == 202 {
            let mut known = self.known[subject].lock().unwrap();
            known.open.remove(&digest);
            known.gone.insert(digest);
            self.count(|counts| counts.deleted += 1);
        } else if reply.status == 403 {
            // Refused: it is as it was.
            assert!(reply.text().contains(REFUSAL), "a deletion: {reply:?}");
            let mut known = self.known[subject].lock().unwrap();
            known.open.remove(&digest);
            known.sure.insert(digest);
            self.count(|counts| counts.kept += 1);
        } else {
            // It was there: only a repeated deletion finds nothing.
            assert!(is_failure(&reply), "a deletion: {reply:?}");
            self.count(|counts| counts.failed += 1);
        }
    }

    /// Deletes straight at the registry, of which refshim learns when it asks.
    async fn vanish(&self, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.any(subject, random) else {
            return;
        };
        {
            let mut known = self.known[subject].lock().unwrap();
            if !known.sure.remove(&digest) {
                return;
            }
            known.open.insert(digest.clone());
        }
        let path = format!("/v2/app/manifests/{digest}");
        // The registry may be collecting its garbage.
        let deleted = self.straight.try_send(Method::DELETE, &path, &[], Vec::new()).await;
        if deleted.is_ok_and(|reply| reply.status == 202) {
            self.count(|counts| counts.vanished += 1);
        }
    }

    async fn list(&self, endpoint: &Endpoint, subject: usize) {
        let (sure, gone) = {
            let known = self.known[subject].lock().unwrap();
            (known.sure.clone(), known.gone.clone())
        };
        let reply = endpoint.referrers_reply("app", &self.subjects[subject].digest).await;
        if reply.status != 200 {
            assert!(is_failure(&reply), "a question: {reply:?}");
            return self.count(|counts| counts.failed += 1);
        }
        let listed = digests(&reply);
        // Somebody may have begun to delete some of them meanwhile.
        let still_sure = self.known[subject].lock().unwrap().sure.clone();
        let missing: Vec<_> = sure
            .intersection(&still_sure)
            .filter(|digest| !listed.contains(*digest))
            .collect();
        assert!(missing.is_empty(), "acknowledged, but not listed: {missing:?}");
        let risen: Vec<_> = gone.intersection(&listed).collect();
        assert!(risen.is_empty(), "deleted, but listed: {risen:?}");
        self.count(|counts| counts.listed += 1);
    }

    async fn pull(&self, endpoint: &Endpoint, subject: usize, random: &mut StdRng) {
        let Some(digest) = self.any(subject, random) else {
            return;
        };
        let path = format!("/v2/app/manifests/{digest}");
        let Ok(reply) = endpoint
            .try_send(Method::GET, &path, &[("accept", IMAGE)], Vec::new())
            .await
        else {
            return self.count(|counts| counts.failed += 1);
        };
        if reply.status == 200 {
            assert_eq!(refshim::testing::oci::Digest::sha256(&reply.body).as_str(), digest);
        } else if self.known[subject].lock().unwrap().sure.contains(&digest) {
            assert!(is_failure(&reply), "acknowledged, but not there: {reply:?}");
        }
    }

    /// Whatever it asks, a wrong password opens nothing.
    async fn intrude(&self, replica: &Refshim, subject: usize, random: &mut StdRng) {
        let endpoint = match random.random_bool(0.5) {
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
            return self.count(|counts| counts.failed += 1);
        };
        assert!(reply.status == 401 || is_failure(&reply), "{path}: {reply:?}");
        self.count(|counts| counts.refused += 1);
    }

    fn any(&self, subject: usize, random: &mut StdRng) -> Option<String> {
        let known = self.known[subject].lock().unwrap();
        let index = random.random_range(0..known.sure.len().max(1));
        known.sure.iter().nth(index).cloned()
    }
}

fn digests(reply: &Reply) -> BTreeSet<String> {
    let index = reply.json();
    let entries = index["manifests"].as_array().expect("a list").iter();
    entries
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect()
}

/// Now and then a request to the registry fails, each time in one of the ways in which registries do.
fn trouble(link: &CountingProxy, seed: u64) {
    let faults = [
        Fault::Close,
        Fault::Lose,
        Fault::CutBody(7),
        Fault::status(500),
        Fault::status(503),
        Fault::answer(502, &[("content-type", "text/html")], "<html>bad gateway</html>"),
    ];
    for (number, fault) in (0..).zip(faults) {
        let random = Mutex::new(StdRng::seed_from_u64(seed ^ (1000 + number)));
        link.fail(fault, move |_| random.lock().unwrap().random_ratio(1, RARELY));
    }
    let random = Mutex::new(StdRng::seed_from_u64(seed ^ 2000));
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{REFUSAL}"}}]}}"#);
    link.fail(Fault::answer(403, &[], &body), move |seen| {
        seen.method == "DELETE" && random.lock().unwrap().random_ratio(1, 4)
    });
}

fn descriptors(refshim: &Refshim) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", refshim.id()))
        .expect("refshim runs")
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mixed_traffic_with_faults_breaks_no_promise() {
    let seed = variable("REFSHIM_SOAK_SEED").unwrap_or_else(rand::random);
    println!("REFSHIM_SOAK_SEED={seed}");
    let mut registry = Registry::builder(Program::V2).users(&[USER]).in_memory().start().await;
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let redis = Redis::start().await;
    let replica = || {
        Refshim::builder(link.url())
            .env("REFSHIM_CACHE__REDIS__URL", &redis.url())
            // A Redis that answers late is done without, and the other replica's writes show later. Here it is to answer.
            .env("REFSHIM_CACHE__REDIS__TIMEOUT", "10s")
            // Short, so that lists age while they are asked for.
            .env("REFSHIM_CACHE__FRESH_FOR", "1s")
            .start()
    };
    let (one, other) = tokio::join!(replica(), replica());
    for replica in [&one, &other] {
        eventually("connected to redis", async || {
            replica.output().contains("connected to the shared cache").then_some(())
        })
        .await;
    }
    let straight = registry.endpoint().basic(USER.0, USER.1);
    let mut subjects = Vec::new();
    for number in 0..SUBJECTS {
        subjects.push(
            straight
                .push_image("app", &format!("v{number}"), &format!("image {number}"))
                .await,
        );
    }
    let (collect, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let world = World {
        straight,
        collect: Mutex::new(Some(collect)),
        replicas: vec![one, other],
        subjects,
        known: (0..SUBJECTS).map(|_| Mutex::default()).collect(),
        steps: Mutex::new(variable("REFSHIM_SOAK_STEPS").map_or(STEPS, |steps| steps as usize)),
        counts: Mutex::default(),
    };
    let before: Vec<usize> = world.replicas.iter().map(descriptors).collect();

    trouble(&link, seed);
    let clients = (0..CLIENTS).map(|number| world.client(number, StdRng::seed_from_u64(seed ^ number)));
    let clients = async {
        futures_util::future::join_all(clients).await;
        *world.collect.lock().unwrap() = None;
    };
    let collector = async {
        while asked.recv().await.is_some() {
            registry.collect_garbage().await;
            world.count(|counts| counts.collected += 1);
        }
    };
    tokio::join!(clients, collector);
    link.heal();
    let counts = world.counts.lock().unwrap().clone();
    println!("{counts:?}");
    let Counts {
        pushed,
        deleted,
        listed,
        failed,
        refused,
        kept,
        vanished,
        collected,
    } = counts;
    assert!(
        [pushed, deleted, listed, failed, refused, kept, vanished, collected]
            .into_iter()
            .all(|count| count > 0),
        "{counts:?}"
    );

    for (replica, before) in world.replicas.iter().zip(before) {
        let endpoint = replica.endpoint().basic(USER.0, USER.1);
        for (subject, known) in world.subjects.iter().zip(&world.known) {
            let reply = eventually("the registry is asked again", async || {
                let reply = endpoint.referrers_reply("app", &subject.digest).await;
                (reply.status == 200).then_some(reply)
            })
            .await;
            let (listed, known) = (digests(&reply), known.lock().unwrap());
            let missing: Vec<_> = known.sure.difference(&listed).collect();
            assert!(missing.is_empty(), "acknowledged, but lost: {missing:?}");
            let made_up: Vec<_> = listed
                .iter()
                .filter(|digest| !known.sure.contains(*digest) && !known.open.contains(*digest))
                .collect();
            assert!(made_up.is_empty(), "listed, but never pushed or deleted: {made_up:?}");
        }
        eventually("connections are let go", async || {
            (descriptors(replica) <= before + DESCRIPTORS).then_some(())
        })
        .await;
        let memory = replica.peak_memory();
        assert!(memory < MEMORY, "{} MiB", memory >> 20);
        assert!(!replica.output().contains("panicked"), "{}", replica.output());
    }
}
