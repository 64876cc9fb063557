//! Promise: a none is proof. Whatever a registry answers, and whatever goes wrong with it: never 200 with fewer entries than a
//! client could see that reads every answer; never a shorter `tags/list`; never a `--keep-list` that lacks the image.
//!
//! `REFSHIM_DRAWS=10000` plays more draws, `REFSHIM_SEED=n` begins with that one (and plays it alone, where nothing is said of
//! how many).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod content;
mod costs;
mod draw;
mod forms;
mod generate;
mod oracle;
mod play;
mod shrink;

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use draw::Draw;
use play::{Broken, Outcome, Promise};

/// Draws of a run that says nothing.
const DRAWS: u64 = 300;
/// They wait for pauses more than they work.
const THREADS: usize = 16;
/// Failures that are told.
const TOLD: u64 = 3;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Plays it on a clock of its own.
fn play(draw: &Draw) -> Outcome {
    let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(play::play(draw))
    }));
    let panicked = || Broken {
        promise: Promise::Answers,
        how: "it panics".to_owned(),
    };
    played.unwrap_or_else(|_| Outcome {
        broken: Some(panicked()),
        ..Outcome::default()
    })
}

#[derive(Default)]
struct Sum {
    answered: usize,
    failed: usize,
    healthy: usize,
    broken: Vec<(u64, Draw, Broken)>,
}

#[test]
fn a_none_is_proof() {
    let seed = number("REFSHIM_SEED");
    let first = seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let draws = number("REFSHIM_DRAWS").unwrap_or(if seed.is_some() { 1 } else { DRAWS });
    println!("{draws} draws from REFSHIM_SEED={first}");
    if draws == 1 {
        println!("{}", generate::draw(first));
    }
    let (next, sum) = (AtomicU64::new(0), Mutex::new(Sum::default()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS.min(draws as usize) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= draws {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let draw = generate::draw(seed);
                    let outcome = play(&draw);
                    if let Some(broken) = &outcome.broken {
                        println!("REFSHIM_SEED={seed}: {:?}: {}", broken.promise, broken.summary());
                    }
                    let mut sum = sum.lock().expect("no thread panics");
                    sum.answered += outcome.answered;
                    sum.failed += outcome.failed;
                    sum.healthy += usize::from(draw.is_healthy());
                    sum.broken.extend(outcome.broken.map(|broken| (seed, draw, broken)));
                }
            });
        }
    });
    let sum = sum.into_inner().expect("no thread panics");
    let asked = sum.answered + sum.failed;
    let share = 100 * sum.answered / asked.max(1);
    println!(
        "{asked} questions, {share} % answered; {} of {draws} draws healthy",
        sum.healthy
    );
    let mut told = String::new();
    let tell = number("REFSHIM_TELL").unwrap_or(TOLD) as usize;
    for (seed, draw, broken) in sum.broken.iter().take(tell) {
        let same = |other: &Broken| other.promise == broken.promise;
        let smaller = shrink::shrink(draw, |draw| play(draw).broken.is_some_and(|other| same(&other)));
        let again = play(&smaller)
            .broken
            .map_or_else(|| "not always".to_owned(), |broken| broken.how);
        told += &format!(
            "\nREFSHIM_SEED={seed}: {}\n  smaller:\n{smaller}    {again}\n",
            broken.how
        );
    }
    let seeds: Vec<u64> = sum.broken.iter().map(|(seed, ..)| *seed).collect();
    assert!(
        seeds.is_empty(),
        "{} draws break the promise: {seeds:?}{told}",
        seeds.len()
    );
    // Errors alone would keep it too.
    assert!(
        draws < 100 || share >= 50,
        "only {share} % of the questions were answered"
    );
}
