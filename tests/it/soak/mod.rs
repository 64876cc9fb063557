//! Promise: whatever is asked in whatever order, with a registry that fails now and then, no answer is a wrong "none", nobody
//! sees what its credentials do not open, no acknowledged push is lost, and nothing is held on to afterwards.
//!
//! Two replicas share a Redis in front of one registry; one of them has a cache on disk, and is killed and started again at the end. Faults and questions are drawn from one seed, which is printed;
//! `REFSHIM_SOAK_SEED` draws the same again (in another order where requests race), `REFSHIM_SOAK_STEPS` goes on for longer,
//! `REFSHIM_SOAK_CLIENTS` has more of them at once, and `REFSHIM_SOAK_SUBJECTS` more images, so that the lists of a long run stay short.

mod faults;
mod limited;
mod world;
mod writes;

use std::sync::Mutex;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::{CountingProxy, Program, Redis, Refshim, Registry, Tools, eventually};
use limited::Limited;
use world::{Counts, USER, World, digests};

const STEPS: usize = 1000;
const CLIENTS: u64 = 8;
const SUBJECTS: usize = 6;
/// Of a debug build with its caches: what grows with the number of requests goes beyond.
const MEMORY: u64 = 200 << 20;
/// Idle connections to the registry and to Redis, beyond what was open before.
const DESCRIPTORS: usize = 70;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// `refshim gc`, straight at the registry. It may stop where others write meanwhile, and this registry cannot delete all tags;
/// what it deletes must be dead.
async fn delete_dead_links(tools: &Tools, registry: &Registry) {
    let repository = format!("{}/app", registry.authority());
    let arguments = ["gc", "--delete", &repository];
    tools.run_with(env!("CARGO_BIN_EXE_refshim"), &arguments, &[]).await;
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
    let users: Vec<_> = std::iter::once(USER).chain(Limited::ALL.map(Limited::user)).collect();
    let mut registry = Registry::builder(Program::V2).users(&users).in_memory().start().await;
    let tools = Tools::new();
    tools.log_in(&registry.authority(), USER.0, USER.1);
    let link = CountingProxy::in_front_of(&registry.url()).await;
    let redis = Redis::start().await;
    let replica = || {
        Refshim::builder(link.url())
            .env("REFSHIM_CACHE__REDIS__URL", &redis.url())
            // A Redis that answers late is done without, and the other replica's writes show later. Here it is to answer.
            .env("REFSHIM_CACHE__REDIS__TIMEOUT", "10s")
            // Short, so that lists age while they are asked for.
            .env("REFSHIM_CACHE__FRESH_FOR", "1s")
    };
    let with_disk = replica().env("REFSHIM_CACHE__DIR", "cache").start();
    let (one, other) = tokio::join!(with_disk, replica().start());
    for replica in [&one, &other] {
        eventually("connected to redis", async || {
            replica.output().contains("connected to the shared cache").then_some(())
        })
        .await;
    }
    let straight = registry.endpoint().basic(USER.0, USER.1);
    let mut subjects = Vec::new();
    let images = variable("REFSHIM_SOAK_SUBJECTS").map_or(SUBJECTS, |images| images as usize);
    for number in 0..images {
        subjects.push(
            straight
                .push_image("app", &format!("v{number}"), &format!("image {number}"))
                .await,
        );
    }
    let (collect, mut asked) = tokio::sync::mpsc::channel(1);
    let mut world = World {
        straight,
        collect: Mutex::new(Some(collect)),
        replicas: vec![one, other],
        subjects,
        known: (0..images).map(|_| Mutex::default()).collect(),
        steps: Mutex::new(variable("REFSHIM_SOAK_STEPS").map_or(STEPS, |steps| steps as usize)),
        counts: Mutex::default(),
    };
    let before: Vec<usize> = world.replicas.iter().map(descriptors).collect();

    faults::trouble(&link, seed);
    let clients = variable("REFSHIM_SOAK_CLIENTS").unwrap_or(CLIENTS);
    let clients = (0..clients).map(|number| world.client(number, StdRng::seed_from_u64(seed ^ number)));
    let clients = async {
        futures_util::future::join_all(clients).await;
        *world.collect.lock().unwrap() = None;
    };
    let collector = async {
        while asked.recv().await.is_some() {
            registry.collect_garbage().await;
            delete_dead_links(&tools, &registry).await;
            world.count(|counts| {
                counts.collected += 1;
                println!("{counts:?}");
            });
            // The link writes down every request, which a long run has too many of.
            link.take();
        }
    };
    tokio::join!(clients, collector);
    link.heal();
    let counts = world.counts.lock().unwrap().clone();
    println!("{counts:?}");
    let Counts {
        pushed,
        deleted,
        repeated,
        listed,
        risen,
        failed,
        refused,
        limited,
        kept,
        vanished,
        collected,
    } = counts;
    assert!(
        [
            pushed, deleted, repeated, listed, failed, refused, limited, kept, vanished, collected
        ]
        .into_iter()
        .all(|count| count > 0),
        "{counts:?}"
    );

    for replica in &world.replicas {
        let memory = replica.peak_memory();
        assert!(memory < MEMORY, "{} MiB", memory >> 20);
    }
    world.replicas[0].restart().await;
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
            let may_be = |digest: &String| {
                [&known.sure, &known.unsure, &known.absent]
                    .iter()
                    .any(|set| set.contains(digest))
            };
            let made_up: Vec<_> = listed.iter().filter(|digest| !may_be(digest)).collect();
            assert!(made_up.is_empty(), "listed, but never pushed or deleted: {made_up:?}");
        }
        eventually("connections are let go", async || {
            (descriptors(replica) <= before + DESCRIPTORS).then_some(())
        })
        .await;
        assert!(!replica.output().contains("panicked"), "{}", replica.output());
    }
    assert_eq!(risen, 0, "deleted, but listed");
}
