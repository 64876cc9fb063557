//! The upstream's token endpoint, reached through the proxy (opt-in).
//!
//! A challenge names a realm, a URL of which callers fetch tokens. Where that is on the upstream's own origin it is rewritten
//! to the caller's view, and exactly the paths that the upstream named so are passed through.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, Method};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::headers;
use super::rewrite::SelfView;
use super::upstream_view::{NAMESPACE, encoded};

/// An upstream has one realm; more than a few would be something else.
const MAX_PATHS: usize = 8;

/// Where the upstream named no realm, or did not answer, it is not asked for one again so soon: anybody can ask for paths that are
/// nothing.
const ASK_AGAIN: Duration = Duration::from_secs(60);
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Stands for the origin of a caller where there is none.
pub(super) const NO_ORIGIN: &str = "http://caller.invalid";

/// Paths of token endpoints that the upstream named in its challenges.
#[derive(Debug, Default)]
pub(super) struct Realms {
    paths: Mutex<BTreeSet<String>>,
    /// Until when the upstream is not asked. Held while it is.
    quiet: tokio::sync::Mutex<Option<Instant>>,
}

/// To ask the upstream for its challenge.
pub(super) struct RealmAttempt<'a>(MutexGuard<'a, Option<Instant>>);

impl RealmAttempt<'_> {
    /// Whether there was an answer.
    pub(super) fn asked(mut self, answered: bool) {
        let pause = if answered { ASK_AGAIN } else { TRY_AGAIN };
        *self.0 = Some(Instant::now() + pause);
    }
}

impl Realms {
    /// Rewrites the challenges in `headers` to `origin` and remembers their paths. Where the host name does not lead to the
    /// upstream, `namespace` does.
    pub(super) fn rewrite(&self, headers: &mut HeaderMap, view: &SelfView, origin: &str, namespace: Option<&str>) {
        headers::rewrite(headers, &WWW_AUTHENTICATE, |challenge| {
            self.rewrite_one(challenge, view, origin, namespace)
        });
    }

    fn rewrite_one(&self, challenge: &str, view: &SelfView, origin: &str, namespace: Option<&str>) -> Option<String> {
        let added = namespace.map(|namespace| format!("{NAMESPACE}={}", encoded(namespace)));
        let (rewritten, path) = view.challenge(challenge, origin, added.as_deref())?;
        let mut paths = self.paths.lock().unwrap_or_else(PoisonError::into_inner);
        if !paths.contains(&path) && paths.len() >= MAX_PATHS {
            return None;
        }
        paths.insert(path);
        Some(rewritten)
    }

    /// Whether nothing was learned yet.
    pub(super) fn is_empty(&self) -> bool {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// `None` where somebody has just asked, perhaps while this waited.
    pub(super) async fn attempt(&self) -> Option<RealmAttempt<'_>> {
        let quiet = self.quiet.lock().await;
        let is_quiet = quiet.is_some_and(|until| Instant::now() < until);
        (!is_quiet).then_some(RealmAttempt(quiet))
    }

    /// Whether a request asks for a token.
    pub(super) fn holds(&self, method: &Method, path: &str) -> bool {
        matches!(*method, Method::GET | Method::POST)
            && self.paths.lock().unwrap_or_else(PoisonError::into_inner).contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_were_named_are_passed_through() {
        let realms = Realms::default();
        let view = SelfView::new(&url::Url::parse("http://up:5000").unwrap());
        let mut headers = HeaderMap::new();
        headers.append(
            WWW_AUTHENTICATE,
            r#"Bearer realm="http://up:5000/auth/token",service="x""#.parse().unwrap(),
        );
        headers.append(WWW_AUTHENTICATE, r#"Basic realm="Registry""#.parse().unwrap());
        realms.rewrite(&mut headers, &view, "https://proxy", None);
        let all: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(
            all,
            [
                r#"Bearer realm="https://proxy/auth/token",service="x""#,
                r#"Basic realm="Registry""#
            ]
        );
        assert!(realms.holds(&Method::GET, "/auth/token") && realms.holds(&Method::POST, "/auth/token"));
        assert!(!realms.holds(&Method::DELETE, "/auth/token") && !realms.holds(&Method::GET, "/auth"));
    }
}
