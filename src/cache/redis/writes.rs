//! The list of a repository's writes in Redis, from which replicas learn of each other's writes.
//!
//! Its newest entry names the epoch. Entries are random numbers, so a replica that begins or replaces the list can at worst make others scan
//! again: an old epoch never returns.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, cmd, pipe};

use super::connection::{CommandError, LiveConnection};
use crate::cache::clock::millis;
use crate::cache::epoch::{Epoch, WRITES};
use crate::cache::shared::SharedEpoch;
use crate::cache::write::{Invalidation, RecordedWrite, WriteId};

/// `None` if there is no list, or garbage in its place.
pub(super) async fn read(
    live: &LiveConnection,
    key: &str,
    known: Option<WriteId>,
) -> Result<Option<SharedEpoch>, CommandError> {
    let newest: Option<Vec<u8>> = match live.ask(cmd("LINDEX").arg(key).arg(0)).await {
        Err(CommandError::Refused(_)) => return Ok(None),
        other => other?,
    };
    let Some(newest) = newest.as_deref().and_then(parse) else {
        return Ok(None);
    };
    if Some(newest.id) == known {
        return Ok(Some(SharedEpoch::Same));
    }
    let listed: Vec<Vec<u8>> = match live.ask(cmd("LRANGE").arg(key).arg(0).arg(WRITES - 1)).await {
        Err(CommandError::Refused(_)) => return Ok(None),
        other => other?,
    };
    // Entries after garbage are ignored.
    let writes = listed.iter().map_while(|entry| parse(entry));
    Ok(Epoch::of(writes).map(SharedEpoch::Epoch))
}

fn parse(entry: &[u8]) -> Option<RecordedWrite> {
    std::str::from_utf8(entry).ok()?.parse().ok()
}

/// Begins the list, and replaces garbage.
pub(super) async fn begin(live: &LiveConnection, key: &str, ttl: Duration) -> Result<SharedEpoch, CommandError> {
    let write = RecordedWrite::new(Arc::from([]));
    let mut replace = pipe();
    replace.atomic();
    replace.cmd("DEL").arg(key).ignore();
    add(&mut replace, key, &write, ttl);
    live.publish(&replace).await?;
    // The list is not empty: it contains this write.
    Ok(Epoch::of([write]).map_or(SharedEpoch::Nothing, SharedEpoch::Epoch))
}

/// The writes to one repository that are to be published.
pub(super) struct WriteEvent<'a> {
    pub key: String,
    pub repository_key: String,
    pub touched: &'a Arc<[Invalidation]>,
}

/// Adds a write to each list and publishes it, all or nothing.
pub(super) async fn announce(
    live: &LiveConnection,
    channel: &str,
    events: &[WriteEvent<'_>],
    ttl: Duration,
) -> Result<(), CommandError> {
    let mut published = pipe();
    published.atomic();
    for WriteEvent {
        key,
        repository_key,
        touched,
    } in events
    {
        add(&mut published, key, &RecordedWrite::new((*touched).clone()), ttl);
        published.cmd("PUBLISH").arg(channel).arg(repository_key).ignore();
    }
    live.publish(&published).await
}

/// For a Redis that is full: it still accepts deletions. Deletes the list and publishes the repository, so that every replica begins a new epoch.
pub(super) async fn withdraw(
    live: &LiveConnection,
    channel: &str,
    events: &[WriteEvent<'_>],
) -> Result<(), CommandError> {
    // Not a transaction, which a full Redis would refuse.
    let mut published = pipe();
    for WriteEvent {
        key, repository_key, ..
    } in events
    {
        published.cmd("DEL").arg(key).ignore();
        published.cmd("PUBLISH").arg(channel).arg(repository_key).ignore();
    }
    live.publish(&published).await
}

fn add(pipeline: &mut Pipeline, key: &str, write: &RecordedWrite, ttl: Duration) {
    pipeline.cmd("LPUSH").arg(key).arg(write.to_string()).ignore();
    pipeline.cmd("LTRIM").arg(key).arg(0).arg(WRITES - 1).ignore();
    pipeline.cmd("PEXPIRE").arg(key).arg(millis(ttl)).ignore();
}
