//! Promise: whatever a caller sends, it is answered once or not at all, reaches nothing that the configuration does not name, takes
//! nothing from other callers, and the process goes on within its memory.
//!
//! Who may see what is in `authorisation`, what the other side may do in `hostile_upstream`, sizes and times in `limits`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod floods;
mod frames;
mod keys;
mod paths;
mod ranges;
mod slow;
mod smuggling;
use crate::support::fake::{Fake, Knobs};

async fn fake() -> Fake {
    Fake::start(Knobs::default()).await
}
