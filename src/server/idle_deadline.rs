//! How long a connection may last without something new.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Limits;
use super::write_timeout::Traffic;

/// Once nothing new is asked, what is under way must move this many bytes within [`IdleDeadline::lasts`]. Over HTTP/2 a caller can leave
/// an answer unread while its connection looks alive.
const LEAST_TRAFFIC: u64 = 4 << 10;

/// Where a connection stands: before its first request, among requests, or after the last that it may make.
pub(super) struct IdleDeadline {
    limits: Limits,
    /// Requests that began.
    begun: Arc<AtomicUsize>,
    traffic: Traffic,
    /// As many requests as had begun at the last tick.
    known: usize,
    /// Bytes that had moved at the last tick, once requests may only end.
    leaving: Option<u64>,
}

impl IdleDeadline {
    pub(super) fn new(limits: Limits, begun: Arc<AtomicUsize>, traffic: Traffic) -> Self {
        Self {
            limits,
            begun,
            traffic,
            known: 0,
            leaving: None,
        }
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// What was asked may still be answered.
    pub(super) fn leave(&mut self) {
        self.leaving = Some(self.traffic.bytes());
    }

    /// Until the next tick, after the first.
    pub(super) fn lasts(&self) -> Duration {
        match self.leaving {
            None => self.limits.callers.idle_timeout,
            Some(_) => self.limits.stillness,
        }
    }

    /// Time is up. An error says why the connection must not go on at all.
    pub(super) fn tick(&mut self) -> Result<(), &'static str> {
        let moved = self.traffic.bytes();
        if let Some(before) = self.leaving.replace(moved) {
            return match moved - before {
                0..LEAST_TRAFFIC => Err("nothing moves"),
                LEAST_TRAFFIC.. => Ok(()),
            };
        }
        match self.begun.load(Ordering::Relaxed) {
            0 => return Err("it said nothing"),
            requests if requests == self.known => {}
            requests => {
                self.known = requests;
                self.leaving = None;
            }
        }
        Ok(())
    }
}
