//! Permits that repositories and credentials share fairly, and the bounded queue in front of them.
//!
//! Work that hangs keeps its permit until it times out, so fairness among those who wait is not enough. A repository takes a
//! permit only while more are free than it holds already, so that a single one gets half of them; while another one waits, no more
//! than a quarter of all. The last quarter is kept for repositories that hold none, one for each. Among those that may have the next
//! permit, it goes to whoever's repository and credential hold the fewest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::registry::error::UpstreamError;
use crate::registry::reader::asker::Asker;

/// This part of the permits is kept for repositories that hold none, and is the most of one repository while others wait.
const KEPT_SHARE: usize = 4;

/// Permits for work on one upstream.
pub(super) struct SearchQueue {
    permits: usize,
    /// Most pieces of work that wait or hold a permit.
    places: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lines: HashMap<Asker, Line>,
    repositories: HashMap<u64, Share>,
    credentials: HashMap<u64, Share>,
    all: Share,
    /// Counts places taken and permits given.
    clock: u64,
}

/// The work of one asker.
#[derive(Default)]
struct Line {
    share: Share,
    /// In the order of their coming.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
    /// When it last got a permit.
    served: u64,
}

/// What somebody takes up.
#[derive(Clone, Copy, Default)]
struct Share {
    /// Work that waits or holds a permit.
    places: usize,
    permits: usize,
}

/// A place in the queue, and in the end a permit; given back when dropped.
pub struct Permit {
    queue: Arc<SearchQueue>,
    asker: Asker,
    number: u64,
    granted: Option<oneshot::Receiver<()>>,
}

impl SearchQueue {
    pub(super) fn new(permits: usize, places: usize) -> Arc<Self> {
        Arc::new(Self {
            permits,
            places,
            state: Mutex::default(),
        })
    }

    /// A place at the end of the asker's line, or [`UpstreamError::Busy`].
    pub(super) fn join(self: &Arc<Self>, asker: Asker) -> Result<Permit, UpstreamError> {
        let mut state = self.lock();
        if !state.has_place(self.places, asker) {
            return Err(UpstreamError::Busy);
        }
        let (grant, granted) = oneshot::channel();
        let number = state.tick();
        state.line(asker).waiting.insert(number, grant);
        state.change(asker, |share| share.places += 1);
        state.grant(self.permits);
        drop(state);
        Ok(Permit {
            queue: self.clone(),
            asker,
            number,
            granted: Some(granted),
        })
    }

    /// Joins and waits.
    pub(super) async fn permit(self: &Arc<Self>, asker: Asker) -> Result<Permit, UpstreamError> {
        let mut permit = self.join(asker)?;
        permit.granted().await;
        Ok(permit)
    }

    /// Fails where [`SearchQueue::join`] would.
    pub(super) fn check_place(&self, asker: Asker) -> Result<(), UpstreamError> {
        match self.lock().has_place(self.places, asker) {
            true => Ok(()),
            false => Err(UpstreamError::Busy),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit {
    /// Waits for the permit, at most once.
    pub async fn granted(&mut self) {
        if let Some(granted) = self.granted.as_mut() {
            // The queue, of which this is a part, keeps the other end until it answers.
            let _ = granted.await;
            self.granted = None;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        let waited = state.line(self.asker).waiting.remove(&self.number).is_some();
        state.change(self.asker, |share| {
            share.places -= 1;
            share.permits -= usize::from(!waited);
        });
        state.forget_if_idle(self.asker);
        state.grant(self.queue.permits);
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn line(&mut self, asker: Asker) -> &mut Line {
        self.lines.entry(asker).or_default()
    }

    fn change(&mut self, asker: Asker, change: impl Fn(&mut Share)) {
        change(&mut self.line(asker).share);
        change(self.repositories.entry(asker.repository).or_default());
        change(self.credentials.entry(asker.credential).or_default());
        change(&mut self.all);
    }

    fn forget_if_idle(&mut self, asker: Asker) {
        let idle = |share: &Share| share.places == 0;
        if self.lines.get(&asker).is_some_and(|line| idle(&line.share)) {
            self.lines.remove(&asker);
        }
        if self.repositories.get(&asker.repository).is_some_and(idle) {
            self.repositories.remove(&asker.repository);
        }
        if self.credentials.get(&asker.credential).is_some_and(idle) {
            self.credentials.remove(&asker.credential);
        }
    }

    fn of_repository(&self, asker: Asker) -> Share {
        self.repositories.get(&asker.repository).copied().unwrap_or_default()
    }

    fn of_credential(&self, asker: Asker) -> Share {
        self.credentials.get(&asker.credential).copied().unwrap_or_default()
    }

    /// A repository fills at most half of what others leave, a credential three quarters of all: nobody fills the queue alone.
    fn has_place(&self, places: usize, asker: Asker) -> bool {
        let free = places.saturating_sub(self.all.places);
        let most = (places - places / 4).max(1);
        self.of_repository(asker).places < free && self.of_credential(asker).places < most
    }

    /// Gives away what can be given.
    fn grant(&mut self, permits: usize) {
        while let Some(asker) = self.next(permits) {
            let served = self.tick();
            let line = self.line(asker);
            line.served = served;
            let Some((_, grant)) = line.waiting.pop_first() else {
                return;
            };
            self.change(asker, |share| share.permits += 1);
            // It is there until its permit is dropped, which takes it off the line first.
            let _ = grant.send(());
        }
    }

    /// Who gets the next permit.
    fn next(&self, permits: usize) -> Option<Asker> {
        let free = permits.saturating_sub(self.all.permits);
        if free == 0 {
            return None;
        }
        let kept = permits / KEPT_SHARE;
        let waiting = || self.lines.iter().filter(|(_, line)| !line.waiting.is_empty());
        let first_waiting = waiting().next().map(|(asker, _)| asker.repository);
        let others_wait = waiting().any(|(asker, _)| Some(asker.repository) != first_waiting);
        let may = |asker: Asker, line: &Line| match self.of_repository(asker).permits {
            0 => true,
            held => {
                let most = if others_wait { kept.max(1) } else { permits };
                // Another credential gets one where the first fills the repository's share.
                free > kept && (held < free.min(most) || line.share.permits == 0)
            }
        };
        let waiting = waiting().filter(|(asker, line)| may(**asker, line));
        let next = waiting.min_by_key(|(asker, line)| {
            let held = self.of_repository(**asker).permits + self.of_credential(**asker).permits;
            (held, line.served, line.waiting.keys().next().copied())
        });
        next.map(|(asker, _)| *asker)
    }
}

#[cfg(test)]
mod tests;
