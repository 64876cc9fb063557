//! When a token ends, as it says itself.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::registry::Caller;

/// The `exp` of a bearer token that is a JWT. Its signature is the upstream's business: this can only shorten.
pub(super) fn token_end(caller: &Caller) -> Option<Duration> {
    let authorization = caller.authorization()?.to_str().ok()?;
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let payload = token.trim().split('.').nth(1)?;
    let payload = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let seconds = claims.get("exp")?.as_f64()?;
    Duration::try_from_secs_f64(seconds).ok()
}
