//! Promise: a push that was acknowledged is listed, though refshim is killed at any moment, again and again.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::support::content::{IMAGE, artifact};
use crate::support::{Endpoint, Program, Pushed, Refshim, Registry, eventually};

const SBOM: &str = "application/vnd.acme.sbom.v1+json";
const REFERRERS: usize = 200;
const CLIENTS: usize = 32;
/// Acknowledgements between one kill and the next, so that the work comes to an end: entries of one subject's referrers tag are written together,
/// and acknowledged together.
const PROGRESS: usize = 16;

#[derive(Default)]
struct Work {
    left: Vec<Pushed>,
    acknowledged: BTreeSet<String>,
}

/// Pushes one after another, each until it is acknowledged, as a client with retries does.
async fn client(endpoint: &Endpoint, work: &Mutex<Work>) {
    loop {
        let Some(pushed) = work.lock().unwrap().left.pop() else {
            return;
        };
        let path = format!("/v2/app/manifests/{}", pushed.digest);
        let headers = [("content-type", IMAGE)];
        eventually("a push is acknowledged", async || {
            let put = endpoint.try_send(http::Method::PUT, &path, &headers, pushed.bytes.clone());
            put.await.ok().filter(|reply| reply.status == 201)
        })
        .await;
        work.lock().unwrap().acknowledged.insert(pushed.digest);
    }
}

async fn survives(program: Program) {
    let registry = Registry::start(program).await;
    let mut refshim = Refshim::in_front_of(&registry.url()).await;
    let through = refshim.endpoint();
    let image = through.push_image("app", "v1", "image").await;
    let left = (0..REFERRERS).map(|number| Pushed::of(IMAGE, &artifact(&image, SBOM, &number.to_string())));
    let work = Mutex::new(Work {
        left: left.collect(),
        ..Work::default()
    });
    let acknowledged = || work.lock().unwrap().acknowledged.clone();
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| client(&through, &work)));
    let killer = async {
        let mut kills = 0;
        while acknowledged().len() < REFERRERS {
            let enough = (acknowledged().len() + PROGRESS).min(REFERRERS);
            let progress = async || (acknowledged().len() >= enough).then_some(());
            eventually("pushes are acknowledged", progress).await;
            refshim.restart().await;
            kills += 1;
        }
        kills
    };
    let (_, kills) = tokio::join!(clients, killer);
    assert!(kills > 3, "killed {kills} times only");
    // With cold caches.
    refshim.restart().await;
    let listed = through.referrer_digests("app", &image.digest).await;
    assert_eq!(listed, acknowledged().into_iter().collect::<Vec<_>>(), "{program:?}");
    assert_eq!(listed.len(), REFERRERS);
}

#[tokio::test]
async fn in_front_of_distribution_2() {
    survives(Program::V2).await;
}

#[tokio::test]
async fn in_front_of_distribution_3() {
    survives(Program::V3).await;
}
