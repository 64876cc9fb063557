//! The list of a repository's writes in Redis, through which replicas learn of each other's.
//!
//! Its newest entry names the epoch. Only random numbers are ever added, so whoever begins or replaces it can at worst make
//! others scan again: no old epoch ever comes back.

use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, cmd, pipe};

use super::link::{Live, Trouble};
use super::millis;
use crate::cache::epoch::{Epoch, Touch, WRITES, Write, WriteId};
use crate::cache::shared::Told;

/// `None` when there is no list, or garbage in its place.
pub(super) async fn read(live: &Live, key: &str, known: Option<WriteId>) -> Result<Option<Told>, Trouble> {
    let newest: Option<Vec<u8>> = match live.ask(cmd("LINDEX").arg(key).arg(0)).await {
        Err(Trouble::Refused(_)) => return Ok(None),
        other => other?,
    };
    let Some(newest) = newest.as_deref().and_then(parse) else {
        return Ok(None);
    };
    if Some(newest.id) == known {
        return Ok(Some(Told::Same));
    }
    let listed: Vec<Vec<u8>> = match live.ask(cmd("LRANGE").arg(key).arg(0).arg(WRITES - 1)).await {
        Err(Trouble::Refused(_)) => return Ok(None),
        other => other?,
    };
    // What lies behind garbage is as good as forgotten.
    let writes = listed.iter().map_while(|entry| parse(entry));
    Ok(Epoch::of(writes).map(Told::Epoch))
}

fn parse(entry: &[u8]) -> Option<Write> {
    std::str::from_utf8(entry).ok()?.parse().ok()
}

/// Begins the list, in the place of garbage if there is any.
pub(super) async fn begin(live: &Live, key: &str, ttl: Duration) -> Result<Told, Trouble> {
    let write = Write::new(Arc::from([]));
    let mut replace = pipe();
    replace.atomic();
    replace.cmd("DEL").arg(key).ignore();
    add(&mut replace, key, &write, ttl);
    live.tell(&replace).await?;
    // The list cannot be empty: it holds this write.
    Ok(Epoch::of([write]).map_or(Told::Nothing, Told::Epoch))
}

/// One repository of which others are to be told.
pub(super) struct News<'a> {
    pub key: String,
    pub scope: String,
    pub touched: &'a Arc<[Touch]>,
}

/// Adds a write to each list and publishes it, all or nothing.
pub(super) async fn announce(live: &Live, channel: &str, news: &[News<'_>], ttl: Duration) -> Result<(), Trouble> {
    let mut told = pipe();
    told.atomic();
    for News { key, scope, touched } in news {
        add(&mut told, key, &Write::new((*touched).clone()), ttl);
        told.cmd("PUBLISH").arg(channel).arg(scope).ignore();
    }
    live.tell(&told).await
}

/// When Redis takes no new values it still deletes: without a list, and told to forget, every replica begins a new epoch.
pub(super) async fn withdraw(live: &Live, channel: &str, news: &[News<'_>]) -> Result<(), Trouble> {
    // No transaction: a full Redis would not queue it.
    let mut told = pipe();
    for News { key, scope, .. } in news {
        told.cmd("DEL").arg(key).ignore();
        told.cmd("PUBLISH").arg(channel).arg(scope).ignore();
    }
    live.tell(&told).await
}

fn add(pipeline: &mut Pipeline, key: &str, write: &Write, ttl: Duration) {
    pipeline.cmd("LPUSH").arg(key).arg(write.to_string()).ignore();
    pipeline.cmd("LTRIM").arg(key).arg(0).arg(WRITES - 1).ignore();
    pipeline.cmd("PEXPIRE").arg(key).arg(millis(ttl)).ignore();
}
