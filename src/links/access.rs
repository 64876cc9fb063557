//! Whether a caller may read a repository: asked of the upstream with the caller's own credentials, remembered briefly.
//!
//! Only permission is remembered, never refusal. Credentials are remembered as a salted hash that no other process can make.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};

use crate::cache::{Clock, Ends, Flights, Scope};
use crate::oci::{Digest, Reference};
use crate::upstream::{Answer, Caller, Refusal, Upstream, UpstreamError};

use super::place::Place;

/// Pairs of repository and credential that are remembered.
const REMEMBERED: u64 = 100_000;
/// Largest answer to a listing that is only asked for its status: Distribution 2.8 ignores `n` and lists everything.
const PROBE_LIMIT: usize = 64 << 20;
/// A permission this young is not written down again: busy callers are allowed again with every request.
const AS_GOOD_AS_NOW: Duration = Duration::from_secs(1);
const PROBE_DEADLINE: Duration = Duration::from_secs(30);

type CredentialHash = [u8; 16];
type Probe = Result<Access, UpstreamError>;

/// What the upstream says of a caller.
#[derive(Clone, Debug)]
pub(super) enum Access {
    Allowed,
    /// To this caller the repository does not exist: no state of it may be shown.
    Unseen,
    Refused(Refusal),
}

pub(super) struct AccessList {
    allowed: Cache<(Scope, CredentialHash), Allowed>,
    probes: Flights<(Scope, CredentialHash), Probe>,
    salt: [u8; 32],
    clock: Clock,
    allowed_for: Duration,
}

#[derive(Clone, Copy)]
struct Allowed {
    since: Duration,
    /// When the token itself ends, as time since 1970.
    ends: Option<Duration>,
}

impl AccessList {
    pub fn new(allowed_for: Duration) -> Self {
        Self {
            allowed: Cache::new(REMEMBERED),
            probes: Flights::new(PROBE_DEADLINE),
            salt: rand::random(),
            clock: Clock::default(),
            allowed_for,
        }
    }

    /// Remembers that the upstream just let this caller read the repository.
    pub fn allow(&self, place: &Place) {
        let (key, now) = (self.key(place), self.clock.now());
        let known = self.allowed.get(&key);
        if known.is_some_and(|known| now.saturating_sub(known.since) < AS_GOOD_AS_NOW) {
            return;
        }
        let allowed = Allowed {
            since: now,
            ends: token_end(&place.caller),
        };
        self.allowed.insert(key, allowed);
    }

    /// Forgets what was allowed: the upstream just refused.
    pub fn forget(&self, place: &Place) {
        self.allowed.invalidate(&self.key(place));
    }

    pub fn is_allowed(&self, place: &Place) -> bool {
        self.was_allowed(place, self.allowed_for)
    }

    /// Whether a caller without credentials was allowed within `window`: during an outage, what anyone could read a while ago
    /// is no secret. Credentials get no such grace, they may have been revoked.
    pub fn anyone_was_allowed(&self, place: &Place, window: Duration) -> bool {
        place.caller.authorization().is_none() && self.was_allowed(place, window)
    }

    fn was_allowed(&self, place: &Place, window: Duration) -> bool {
        let Some(allowed) = self.allowed.get(&self.key(place)) else {
            return false;
        };
        let now = self.clock.now();
        now.saturating_sub(allowed.since) < window && allowed.ends.is_none_or(|ends| now < ends)
    }

    /// Asks the upstream, unless it was asked a moment ago. `known` are references that probably exist, most probable first.
    pub async fn check(self: &Arc<Self>, upstream: &Arc<Upstream>, place: &Place, known: Vec<Reference>) -> Probe {
        if self.is_allowed(place) {
            return Ok(Access::Allowed);
        }
        let begin = || {
            upstream.check_room(&place.repository, &place.caller)?;
            Ok::<_, UpstreamError>(self.clone().ask(upstream.clone(), place.clone(), known))
        };
        let landed = self
            .probes
            .try_run(self.key(place), Ends::WithLastWaiter, begin)
            .await?;
        landed.value.unwrap_or(Err(UpstreamError::Timeout("access check")))
    }

    /// Remembers before the flight ends, and looks once more when it begins: whoever comes in between asks nothing.
    async fn ask(self: Arc<Self>, upstream: Arc<Upstream>, place: Place, known: Vec<Reference>) -> Probe {
        if self.is_allowed(&place) {
            return Ok(Access::Allowed);
        }
        let access = probe(&upstream, &place, &known).await?;
        if matches!(access, Access::Allowed) {
            self.allow(&place);
        }
        Ok(access)
    }

    fn key(&self, place: &Place) -> (Scope, CredentialHash) {
        let mut hash = CredentialHash::default();
        // All zeros stand for nobody.
        if let Some(authorization) = place.caller.authorization() {
            let hasher = Sha256::new().chain_update(self.salt).chain_update(authorization);
            hash.copy_from_slice(&hasher.finalize()[..16]);
        }
        (place.scope.clone(), hash)
    }
}

/// HEADs what probably exists; a 404 proves no right, so the last word is the tag list's.
async fn probe(upstream: &Upstream, place: &Place, known: &[Reference]) -> Probe {
    for reference in known {
        match upstream
            .head_manifest(&place.repository, reference, &place.caller)
            .await
        {
            Ok(Answer::Found(_)) => return Ok(Access::Allowed),
            // Distribution 2.8 fails at the digest of what is in an envelope.
            Ok(Answer::Absent) | Err(UpstreamError::Failed(StatusCode::INTERNAL_SERVER_ERROR)) => {}
            // A HEAD's refusal has no body to relay: the listing's has.
            Ok(Answer::Refused(_)) => break,
            Err(error) => return Err(error),
        }
    }
    let path = format!("/v2/{}/tags/list?n=1", place.repository);
    let reply = upstream.get(&path, &place.caller, PROBE_LIMIT).await?;
    Ok(match reply.status.as_u16() {
        200 if is_listing(&reply.body) => Access::Allowed,
        // A page for logging in, say.
        200 => return Err(UpstreamError::Invalid("a tag listing that is none".into())),
        404 => match reply.error() {
            Some(stated) if stated.states_absence() => Access::Unseen,
            Some(stated) if stated.states_refusal() => Access::Refused(reply),
            // An ingress without the registry behind it says so of everything.
            _ => {
                return Err(UpstreamError::Invalid(format!(
                    "a 404 that does not say what is absent, for {path}"
                )));
            }
        },
        _ => Access::Refused(reply),
    })
}

fn is_listing(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Listing {
        #[serde(rename = "tags")]
        _tags: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Listing>(body).is_ok()
}

/// The `exp` of a bearer token that is a JWT. Its signature is the upstream's business: this can only shorten.
fn token_end(caller: &Caller) -> Option<Duration> {
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

/// The references to probe for a question about `subject`, given a tag that a listing knows.
pub(super) fn probable(subject: Option<&Digest>, tag: Option<&str>) -> Vec<Reference> {
    // Clients ping with a digest of zeros, which never exists.
    let subject = subject.filter(|digest| digest.encoded().bytes().any(|b| b != b'0'));
    let tag = tag.and_then(|name| crate::oci::Tag::parse(name).ok());
    let subject = subject.cloned().map(Reference::Digest);
    subject.into_iter().chain(tag.map(Reference::Tag)).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::cache::Epoch;

    fn place(authorization: Option<&str>) -> Place {
        Place {
            repository: crate::oci::RepositoryName::parse("r").unwrap(),
            scope: Scope::new("u", "r"),
            epoch: Epoch::unknown(),
            caller: Caller::with(authorization.map(|a| HeaderValue::from_str(a).unwrap())),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn permission_is_the_credentials_own_and_ends() {
        let list = AccessList::new(Duration::from_secs(60));
        list.allow(&place(Some("Basic YQ==")));
        assert!(list.is_allowed(&place(Some("Basic YQ=="))));
        assert!(!list.is_allowed(&place(Some("Basic Yg=="))));
        assert!(!list.is_allowed(&place(None)));
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!list.is_allowed(&place(Some("Basic YQ=="))));
    }

    #[test]
    fn only_a_tag_listing_lets_anybody_in() {
        for listing in [r#"{"name":"r","tags":["a"]}"#, r#"{"tags":null}"#] {
            assert!(is_listing(listing.as_bytes()), "{listing}");
        }
        for other in ["", "<html>log in</html>", "{}", "[]", r#"{"errors":[]}"#] {
            assert!(!is_listing(other.as_bytes()), "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_never_outlived() {
        let list = AccessList::new(Duration::from_secs(60));
        let end = list.clock.now() + Duration::from_secs(5);
        let claims = URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{}}}"#, end.as_secs()));
        let token = place(Some(&format!("Bearer x.{claims}.y")));
        list.allow(&token);
        assert!(list.is_allowed(&token));
        tokio::time::advance(Duration::from_secs(6)).await;
        assert!(!list.is_allowed(&token));
    }

    #[tokio::test(start_paused = true)]
    async fn only_anonymous_callers_get_grace() {
        let list = AccessList::new(Duration::from_secs(60));
        list.allow(&place(None));
        list.allow(&place(Some("Basic YQ==")));
        tokio::time::advance(Duration::from_secs(90)).await;
        let window = Duration::from_secs(3600);
        assert!(list.anyone_was_allowed(&place(None), window));
        assert!(!list.anyone_was_allowed(&place(Some("Basic YQ==")), window));
    }
}
