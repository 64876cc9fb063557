//! The list of a repository's writes in Redis, through which replicas learn of each other's.
//!
//! Its newest entry names the epoch. Only random numbers are ever added, so whoever begins or replaces it can at worst make
//! others scan again: no old epoch ever comes back.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, cmd, pipe};

use super::connection::{CommandError, LiveConnection};
use super::millis;
use crate::cache::epoch::{Epoch, Invalidation, RecordedWrite, WRITES, WriteId};
use crate::cache::shared::SharedEpoch;

/// `None` when there is no list, or garbage in its place.
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
    // What lies behind garbage is as good as forgotten.
    let writes = listed.iter().map_while(|entry| parse(entry));
    Ok(Epoch::of(writes).map(SharedEpoch::Epoch))
}

fn parse(entry: &[u8]) -> Option<RecordedWrite> {
    std::str::from_utf8(entry).ok()?.parse().ok()
}

/// Begins the list, in the place of garbage if there is any.
pub(super) async fn begin(live: &LiveConnection, key: &str, ttl: Duration) -> Result<SharedEpoch, CommandError> {
    let write = RecordedWrite::new(Arc::from([]));
    let mut replace = pipe();
    replace.atomic();
    replace.cmd("DEL").arg(key).ignore();
    add(&mut replace, key, &write, ttl);
    live.publish(&replace).await?;
    // The list cannot be empty: it holds this write.
    Ok(Epoch::of([write]).map_or(SharedEpoch::Nothing, SharedEpoch::Epoch))
}

/// One repository of which others are to be told.
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

/// When Redis takes no new values it still deletes: without a list, and told to forget, every replica begins a new epoch.
pub(super) async fn withdraw(
    live: &LiveConnection,
    channel: &str,
    events: &[WriteEvent<'_>],
) -> Result<(), CommandError> {
    // No transaction: a full Redis would not queue it.
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
