//! Promise: with `cache.dir`, a restart costs a large repository a refresh and never a walk; whatever becomes of the process, the
//! file or the disk, refshim starts, answers rightly, and shows nobody what the registry does not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use refshim::testing::oci::Digest;
use tempfile::TempDir;

use crate::large_repositories::{by_its_pages, registry};
use crate::support::content::{IMAGE, artifact};
use crate::support::fake::knobs::Shown;
use crate::support::fake::{Fake, Trouble};
use crate::support::refshim::Builder;
use crate::support::{Endpoint, Program, Pushed, Refshim, Registry, cli, eventually};

const TYPE: &str = "application/vnd.acme.sbom.v1+json";

fn builder(upstream: &str, dir: &Path) -> Builder {
    Refshim::builder(upstream)
        .env("REFSHIM_LINKS__DEPTH", "names")
        .env("REFSHIM_UPSTREAM__0__FIRST_BYTE_TIMEOUT", "500ms")
        .env("REFSHIM_CACHE__DIR", &dir.display().to_string())
}

fn file_in(dir: &Path) -> PathBuf {
    dir.join("entries.redb")
}

/// Waits until as many bytes are on disk.
async fn kept(refshim: &Refshim, bytes: u64) {
    eventually("it is on disk", async || {
        (refshim.metric("disk_used_bytes").await? >= bytes as f64).then_some(())
    })
    .await;
}

/// Asks for the referrers of an image without any, and waits until the listing, the only thing that this reads, is on disk.
async fn list_once(refshim: &Refshim, image: &Pushed) {
    assert!(refshim.endpoint().referrers("app", &image.digest).await.is_empty());
    kept(refshim, 1).await;
}

#[tokio::test]
async fn a_restart_costs_a_large_repository_a_refresh_and_no_walk() {
    let ((fake, images), folder) = (registry().await, TempDir::new().unwrap());
    let mut refshim = builder(&fake.url(), folder.path()).start().await;
    list_once(&refshim, &images[1]).await;
    // Behind refshim's back, and while it does not run.
    refshim.kill();
    let artifact = fake.tagged_artifact("app", &images[5], TYPE, "one");
    refshim.restart().await;
    let endpoint = refshim.endpoint();
    let listed = by_its_pages(&fake, endpoint.referrer_digests("app", &images[5].digest)).await;
    assert_eq!(listed, [artifact.digest]);
    // And a none, which rests on the pages that were just asked for.
    assert!(endpoint.referrers("app", &images[1].digest).await.is_empty());
}

#[tokio::test]
async fn what_was_acknowledged_before_a_kill_is_listed_though_the_registry_lags() {
    let ((fake, images), folder) = (registry().await, TempDir::new().unwrap());
    let mut refshim = builder(&fake.url(), folder.path()).start().await;
    list_once(&refshim, &images[1]).await;
    let before: BTreeSet<String> = fake.tags("app").into_iter().collect();
    let artifact = refshim.endpoint().push_artifact("app", &images[5], TYPE, "one").await;
    refshim.kill();
    let news = fake.tags("app").into_iter().filter(|tag| !before.contains(tag));
    let news = Shown::Except(news.collect());
    fake.turn(|knobs| {
        if let Some(pages) = &mut knobs.tags {
            pages.shown = news;
        }
    });
    refshim.restart().await;
    let listed = refshim.endpoint().referrer_digests("app", &images[5].digest).await;
    assert_eq!(listed, [artifact.digest]);
}

/// What clients may rely on.
struct Acknowledged {
    images: Vec<Pushed>,
    digests: Vec<Mutex<BTreeSet<String>>>,
    done: AtomicUsize,
}

/// Asks and pushes until there is nothing more to do; a connection that breaks is no answer.
async fn client(endpoint: &Endpoint, seed: u64, acknowledged: &Acknowledged, most: usize) {
    let mut random = SmallRng::seed_from_u64(seed);
    while acknowledged.done.load(Ordering::Relaxed) < most {
        let number = random.random_range(0..acknowledged.images.len());
        let image = &acknowledged.images[number];
        if random.random_ratio(1, 4) {
            let manifest = artifact(image, TYPE, &random.random::<u64>().to_string());
            let pushed = Pushed::of(IMAGE, &manifest);
            let path = format!("/v2/app/manifests/{}", pushed.digest);
            let headers = [("content-type", IMAGE)];
            let put = endpoint.try_send(http::Method::PUT, &path, &headers, pushed.bytes.clone());
            if put.await.is_ok_and(|reply| reply.status == 201) {
                acknowledged.digests[number].lock().unwrap().insert(pushed.digest);
                acknowledged.done.fetch_add(1, Ordering::Relaxed);
            }
            continue;
        }
        let known = acknowledged.digests[number].lock().unwrap().clone();
        let reply = endpoint.try_get(&format!("/v2/app/referrers/{}", image.digest)).await;
        let Some(reply) = reply.ok().filter(|reply| reply.status == 200) else {
            tokio::task::yield_now().await;
            continue;
        };
        let listed = reply.json()["manifests"].as_array().unwrap().clone();
        let listed: BTreeSet<&str> = listed.iter().filter_map(|entry| entry["digest"].as_str()).collect();
        let missing: Vec<_> = known
            .iter()
            .filter(|digest| !listed.contains(digest.as_str()))
            .collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", image.digest);
        acknowledged.done.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn killed_at_any_moment_it_starts_and_never_gives_a_wrong_answer() {
    const KILLS: usize = 20;
    const BETWEEN: usize = 30;
    let ((fake, images), folder) = (registry().await, TempDir::new().unwrap());
    let mut refshim = builder(&fake.url(), folder.path())
        // So that listings are asked for and written all the time.
        .env("REFSHIM_CACHE__FRESH_FOR", "100ms")
        .env("REFSHIM_CACHE__STALE_WHILE_REVALIDATE", "0s")
        .start()
        .await;
    fake.endpoint().push_blob("app", "{}").await;
    let acknowledged = Acknowledged {
        digests: images.iter().map(|_| Mutex::default()).collect(),
        images,
        done: AtomicUsize::new(0),
    };
    let endpoint = refshim.endpoint();
    let clients = (0..8).map(|seed| client(&endpoint, seed, &acknowledged, KILLS * BETWEEN));
    let clients = futures_util::future::join_all(clients);
    let killer = async {
        let mut random = SmallRng::seed_from_u64(1);
        for kill in 0..KILLS {
            let enough = kill * BETWEEN + random.random_range(0..BETWEEN);
            eventually("answers come", async || {
                (acknowledged.done.load(Ordering::Relaxed) >= enough).then_some(())
            })
            .await;
            refshim.restart().await;
        }
    };
    tokio::join!(clients, killer);
    for (image, known) in acknowledged.images.iter().zip(&acknowledged.digests) {
        // A push whose acknowledgement was lost may be listed too.
        let listed = refshim.endpoint().referrer_digests("app", &image.digest).await;
        let missing: Vec<String> = known
            .lock()
            .unwrap()
            .iter()
            .filter(|d| !listed.contains(d))
            .cloned()
            .collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", image.digest);
    }
    assert!(
        !folder.path().join("entries.redb.unusable").exists(),
        "{}",
        refshim.output()
    );
}

async fn is_moved_aside(damage: impl Fn(&Path)) {
    let ((fake, images), folder) = (registry().await, TempDir::new().unwrap());
    let artifact = fake.tagged_artifact("app", &images[5], TYPE, "one");
    let mut refshim = builder(&fake.url(), folder.path()).start().await;
    list_once(&refshim, &images[1]).await;
    refshim.kill();
    damage(&file_in(folder.path()));
    refshim.restart().await;
    let listed = refshim.endpoint().referrer_digests("app", &images[5].digest).await;
    assert_eq!(listed, [artifact.digest]);
    assert!(folder.path().join("entries.redb.unusable").exists());
    let output = refshim.output();
    let warning = output
        .lines()
        .find(|line| line.contains("WARN") && line.contains("cache.dir: "));
    assert!(warning.is_some_and(|line| line.contains("moved to")), "{output}");
    kept(&refshim, 1).await;
}

#[tokio::test]
async fn a_torn_file_is_moved_aside() {
    is_moved_aside(|file| {
        let bytes = fs::read(file).unwrap();
        fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_foreign_file_is_moved_aside() {
    is_moved_aside(|file| fs::write(file, "somebody's notes").unwrap()).await;
}

async fn fails_to_start(dir: &Path) -> String {
    let (config, folder) = ("[[upstream]]\nurl = 'http://127.0.0.1:1'\n", TempDir::new().unwrap());
    let file = folder.path().join("refshim.toml");
    let dir = dir.display();
    let listen = "[server]\nlisten = '127.0.0.1:0'\n[admin]\nlisten = '127.0.0.1:0'\n";
    fs::write(&file, format!("{listen}[cache]\ndir = '{dir}'\n{config}")).unwrap();
    let file = file.display().to_string();
    cli::refshim(&["serve", "--config", &file]).await.refused(1)
}

#[tokio::test]
async fn a_directory_of_another_process_or_that_cannot_be_written_is_an_error_at_the_start() {
    let (fake, folder) = (Fake::start(Default::default()).await, TempDir::new().unwrap());
    let _first = builder(&fake.url(), folder.path()).start().await;
    let refusal = fails_to_start(folder.path()).await;
    assert!(
        refusal.contains("cache.dir: ") && refusal.contains("in use by another process"),
        "{refusal}"
    );
    // Nobody may write there, not even root.
    let refusal = fails_to_start(Path::new("/proc/self/refshim")).await;
    assert!(
        refusal.contains("cache.dir: ") && refusal.contains("cannot be written"),
        "{refusal}"
    );
}

/// An outage brings nothing back that was deleted through refshim.
#[tokio::test]
async fn what_was_deleted_is_not_given_while_the_registry_fails() {
    let (fake, folder) = (Fake::start(Default::default()).await, TempDir::new().unwrap());
    let refshim = builder(&fake.url(), folder.path()).start().await;
    let endpoint = refshim.endpoint();
    let image = endpoint.push_image("app", "v1", "image").await;
    endpoint.manifest("app", &image.digest).await.expect_status(200);
    kept(&refshim, 1).await;
    let path = format!("/v2/app/manifests/{}", image.digest);
    endpoint.delete(&path).await.expect_status(202);
    fake.trouble(Trouble::oci(503, "UNAVAILABLE", "overloaded"), |_| true);
    endpoint.manifest("app", &image.digest).await.expect_status(503);
}

#[tokio::test]
async fn after_a_restart_nobody_reads_what_the_registry_does_not_give_and_no_credential_is_on_disk() {
    const ACCEPT: &[(&str, &str)] = &[("accept", IMAGE)];
    let (user, password) = ("alice", "alices-own-password");
    let registry = Registry::builder(Program::V2).users(&[(user, password)]).start().await;
    let folder = TempDir::new().unwrap();
    let mut refshim = builder(&registry.url(), folder.path()).start().await;
    let alice = refshim.endpoint().basic(user, password);
    let image = alice.push_image("app", "v1", "image").await;
    let artifact = alice.attach("app", &image, TYPE, "one").await;
    assert_eq!(
        alice.referrer_digests("app", &image.digest).await,
        std::slice::from_ref(&artifact.digest)
    );
    alice.manifest("app", &artifact.digest).await.expect_status(200);
    alice
        .get(&format!("/v2/app/blobs/{}", Digest::sha256(b"{}")))
        .await
        .expect_status(200);
    kept(&refshim, 1).await;
    refshim.terminate();
    refshim.ended().await;
    let bytes = fs::read(file_in(folder.path())).unwrap();
    let holds = |text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(
        holds(&artifact.digest),
        "the listing or a manifest is there to be found"
    );
    for secret in [password, &BASE64_STANDARD.encode(format!("{user}:{password}"))] {
        assert!(!holds(secret));
    }
    refshim.restart().await;
    let (stranger, alice) = (refshim.endpoint(), refshim.endpoint().basic(user, password));
    for path in [
        format!("/v2/app/referrers/{}", image.digest),
        format!("/v2/app/manifests/{}", artifact.digest),
        format!("/v2/app/blobs/{}", Digest::sha256(b"{}")),
        "/v2/app/tags/list".to_owned(),
    ] {
        for caller in [stranger.clone(), stranger.clone().basic(user, "a guess")] {
            caller.get_with(&path, ACCEPT).await.expect_status(401);
        }
        alice.get_with(&path, ACCEPT).await.expect_status(200);
        stranger.get_with(&path, ACCEPT).await.expect_status(401);
    }
}
