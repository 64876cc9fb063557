//! Makes a draw that fails smaller while it still fails.

use std::time::{Duration, Instant};

use crate::none_is_proof::draw::Draw;
use crate::support::fake::Knobs;
use crate::support::fake::knobs::{Pushes, Referrers};

const PATIENCE: Duration = Duration::from_secs(15);

type Simpler = fn(&Draw) -> Draw;

/// Whole parts that may be left out.
const SIMPLER: [Simpler; 13] = [
    |draw| with(draw, |draw| draw.filler = 0),
    |draw| with(draw, |draw| draw.lags = false),
    |draw| with(draw, |draw| draw.knobs.tags = None),
    |draw| with(draw, |draw| draw.knobs.referrers = Referrers::PageNotFound),
    |draw| with(draw, |draw| draw.knobs.referrers_in.clear()),
    |draw| with(draw, |draw| draw.knobs.heads = Knobs::default().heads),
    |draw| with(draw, |draw| draw.knobs.absent = Knobs::default().absent),
    |draw| with(draw, |draw| draw.knobs.moved = Knobs::default().moved),
    |draw| with(draw, |draw| draw.knobs.rights = Knobs::default().rights),
    |draw| with(draw, |draw| draw.knobs.pull_limit = None),
    |draw| with(draw, |draw| draw.knobs.pushes = Pushes::default()),
    |draw| with(draw, |draw| draw.filler /= 2),
    |draw| with(draw, |draw| draw.retries = 0),
];

fn with(draw: &Draw, change: impl FnOnce(&mut Draw)) -> Draw {
    let mut changed = draw.clone();
    change(&mut changed);
    changed
}

/// As small as it gets within [`PATIENCE`].
pub fn shrink(draw: &Draw, fails: impl Fn(&Draw) -> bool) -> Draw {
    let (begun, mut smallest) = (Instant::now(), draw.clone());
    let smaller = |than: &Draw| {
        let mut candidates = candidates(than).into_iter();
        candidates.find(|candidate| begun.elapsed() < PATIENCE && fails(candidate))
    };
    while let Some(found) = smaller(&smallest) {
        smallest = found;
    }
    smallest
}

/// All draws that are a little smaller.
fn candidates(draw: &Draw) -> Vec<Draw> {
    let mut all: Vec<Draw> = SIMPLER.iter().map(|simpler| simpler(draw)).collect();
    all.retain(|candidate| format!("{candidate:?}") != format!("{draw:?}"));
    all.extend((0..draw.errors.len()).map(|at| with(draw, |draw| without(&mut draw.errors, at))));
    all.extend((0..draw.steps.len()).map(|at| with(draw, |draw| without(&mut draw.steps, at))));
    all.extend((0..draw.motions.len()).map(|at| with(draw, |draw| without(&mut draw.motions, at))));
    all.extend((0..draw.app.len()).map(|at| with(draw, |draw| without(&mut draw.app, at))));
    all.extend((0..draw.other.len()).map(|at| with(draw, |draw| without(&mut draw.other, at))));
    all
}

fn without<T>(list: &mut Vec<T>, at: usize) {
    list.remove(at);
}
