//! The deadline of a connection that brings no new request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::Limits;
use super::write_timeout::Traffic;

/// Number of bytes that running requests must transfer within [`IdleDeadline::lasts`] on a connection without new requests. Over HTTP/2 a
/// caller can leave a response unread for ever on a connection that looks alive.
const LEAST_TRAFFIC: u64 = 4 << 10;

/// The state of a connection: before its first request, among requests, or after the last that it may make.
pub(super) struct IdleDeadline {
    limits: Limits,
    /// Number of requests begun.
    begun: Arc<AtomicUsize>,
    traffic: Traffic,
    /// The number of requests begun at the last check.
    known: usize,
    /// The number of bytes transferred at the last check, once no new requests are accepted.
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

    /// No new requests are accepted, running ones may finish.
    pub(super) fn leave(&mut self) {
        self.leaving = Some(self.traffic.bytes());
    }

    /// Time until the next check.
    pub(super) fn lasts(&self) -> Duration {
        match self.leaving {
            None => self.limits.callers.idle_timeout,
            Some(_) => self.limits.stillness,
        }
    }

    /// Checks the connection when its time is up. An error says why it must be closed at once.
    pub(super) fn tick(&mut self) -> Result<(), &'static str> {
        let moved = self.traffic.bytes();
        if let Some(before) = self.leaving.replace(moved) {
            return match moved - before {
                0..LEAST_TRAFFIC => Err("nothing moves"),
                LEAST_TRAFFIC.. => Ok(()),
            };
        }
        match self.begun.load(Ordering::Relaxed) {
            0 => return Err("no request arrived in time"),
            requests if requests == self.known => {}
            requests => {
                self.known = requests;
                self.leaving = None;
            }
        }
        Ok(())
    }
}
