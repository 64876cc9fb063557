//! Locks in Redis: one key each, which holds its holder's token and expires.

use std::time::Duration;

use redis::cmd;

use super::connection::{CommandError, LiveConnection};
use crate::cache::clock::millis;
use crate::cache::shared::LockAttempt;

pub(super) async fn try_lock(
    live: &LiveConnection,
    key: &str,
    token: u64,
    ttl: Duration,
) -> Result<LockAttempt, CommandError> {
    let mut set = cmd("SET");
    set.arg(key).arg(token).arg("NX").arg("PX").arg(millis(ttl));
    let set: Option<String> = live.ask(&set).await?;
    Ok(match set {
        Some(_) => LockAttempt::Held,
        None => LockAttempt::Taken,
    })
}

/// Two commands and no script, which an ACL would have to allow: a lock that expires between them and is taken is lost to its new holder, who
/// checks what it writes.
pub(super) async fn unlock(live: &LiveConnection, key: &str, token: u64) -> Result<(), CommandError> {
    let holder: Option<u64> = live.ask(cmd("GET").arg(key)).await?;
    match holder {
        Some(holder) if holder == token => live.ask(cmd("DEL").arg(key)).await,
        _ => Ok(()),
    }
}
