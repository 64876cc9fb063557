//! Clients of which each serves one request at a time, so that an HTTP/2 connection of theirs is no other's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper_util::client::legacy::Client;

use super::body::Body;
use super::connector::TimedConnector;

type LegacyClient = Client<TimedConnector, Body>;

/// Most that wait for the next request. Their connections end as idle ones do.
const MOST_IDLE: usize = 256;

#[derive(Clone)]
pub(super) struct ExclusiveClients {
    make: Arc<dyn Fn() -> LegacyClient + Send + Sync>,
    /// The one that was used last is at the end.
    idle: Arc<Mutex<Vec<LegacyClient>>>,
}

impl ExclusiveClients {
    pub(super) fn new(make: impl Fn() -> LegacyClient + Send + Sync + 'static) -> Self {
        Self {
            make: Arc::new(make),
            idle: Arc::default(),
        }
    }

    /// A client that is nobody's until the borrowed one is dropped.
    pub(super) fn borrow(&self) -> BorrowedClient {
        let idle = lock(&self.idle).pop();
        BorrowedClient {
            client: idle.unwrap_or_else(|| (self.make)()),
            idle: Arc::clone(&self.idle),
        }
    }
}

/// To be kept as long as the response is read.
pub(crate) struct BorrowedClient {
    pub(super) client: LegacyClient,
    idle: Arc<Mutex<Vec<LegacyClient>>>,
}

impl Drop for BorrowedClient {
    fn drop(&mut self) {
        let mut idle = lock(&self.idle);
        if idle.len() < MOST_IDLE {
            idle.push(self.client.clone());
        }
    }
}

/// The lock is never held while something can panic.
fn lock(idle: &Mutex<Vec<LegacyClient>>) -> MutexGuard<'_, Vec<LegacyClient>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}
