//! What goes wrong between refshim and the registry, now and then, and whom the registry refuses what.

use std::sync::Mutex;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::limited::Limited;
use crate::support::{CountingProxy, Fault};

/// One of so many requests meets a fault, for each kind of fault.
const RARELY: u32 = 40;
/// What the registry says of a deletion that it refuses.
pub const REFUSAL: &str = "a tag refers to it";

/// Now and then a request to the registry fails, each time in one of the ways in which registries do.
pub fn trouble(link: &CountingProxy, seed: u64) {
    let instead = [
        Fault::Close,
        Fault::status(500),
        Fault::status(503),
        Fault::answer(502, &[("content-type", "text/html")], "<html>bad gateway</html>"),
    ];
    // These let the registry answer, so they are for those whom it answers.
    let on_the_way = [Fault::Lose, Fault::CutBody(7)];
    for (number, fault) in (0..).zip(instead) {
        rarely(link, fault, seed ^ (1000 + number));
    }
    for who in Limited::ALL {
        link.fail(who.refusal(), move |seen| who.is_refused(seen));
    }
    for (number, fault) in (0..).zip(on_the_way) {
        rarely(link, fault, seed ^ (1500 + number));
    }
    let random = Mutex::new(StdRng::seed_from_u64(seed ^ 2000));
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{REFUSAL}"}}]}}"#);
    link.fail(Fault::answer(403, &[], &body), move |seen| {
        seen.method == "DELETE" && random.lock().unwrap().random_ratio(1, 4)
    });
}

fn rarely(link: &CountingProxy, fault: Fault, seed: u64) {
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    link.fail(fault, move |_| random.lock().unwrap().random_ratio(1, RARELY));
}
