//! Readiness: a registry answers, and the process is not shutting down. What changes is logged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::registry::{CredentialCheck, Upstream};

/// How long a finding is reused: probes come every few seconds from several sides.
const HOLDS_FOR: Duration = Duration::from_secs(5);
/// For each upstream's answer; probes have short timeouts too.
const DEADLINE: Duration = Duration::from_secs(3);
/// Why a process that has just started gives nothing of what others left in the cache.
const NO_RIGHTS: &str =
    "the cache that outlives the process gives nothing before that: who may read it, only the registry can say";

/// What a probe is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) is_ready: bool,
    /// For people.
    pub(super) text: String,
}

pub(super) struct Readiness {
    shutting_down: AtomicBool,
    /// Whether there is a cache that a restarted process finds again.
    cache_outlives: bool,
    /// Held while the upstreams are asked, so that probes at the same time ask once.
    state: Mutex<ReadinessState>,
}

struct ReadinessState {
    upstreams: Vec<WatchedUpstream>,
    last: Option<(Instant, Finding)>,
}

impl Readiness {
    pub(super) fn new(upstreams: Vec<Arc<Upstream>>, cache: &Cache) -> Self {
        let upstreams = upstreams.into_iter().map(WatchedUpstream::new).collect();
        Self {
            shutting_down: AtomicBool::new(false),
            cache_outlives: cache.outlives_process(),
            state: Mutex::new(ReadinessState { upstreams, last: None }),
        }
    }

    pub(super) fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    pub(super) async fn check(&self) -> Finding {
        if self.shutting_down.load(Ordering::Relaxed) {
            return Finding {
                is_ready: false,
                text: "shutting down".to_owned(),
            };
        }
        let ReadinessState { upstreams, last } = &mut *self.state.lock().await;
        if let Some((at, finding)) = last
            && at.elapsed() < HOLDS_FOR
        {
            return finding.clone();
        }
        futures_util::future::join_all(upstreams.iter_mut().map(WatchedUpstream::ask)).await;
        let finding = self.finding(upstreams);
        *last = Some((Instant::now(), finding.clone()));
        finding
    }

    /// One upstream is enough: requests for the others fail in the same way wherever they go.
    fn finding(&self, upstreams: &[WatchedUpstream]) -> Finding {
        let problems: Vec<String> = upstreams.iter().filter_map(WatchedUpstream::problem).collect();
        if problems.is_empty() {
            return Finding {
                is_ready: true,
                text: "ready".to_owned(),
            };
        }
        let told = problems.join("\n");
        if problems.len() < upstreams.len() {
            return Finding {
                is_ready: true,
                text: format!("ready, but not for all:\n{told}"),
            };
        }
        let began = upstreams.iter().any(|watched| watched.has_answered);
        let text = match self.cache_outlives && !began {
            true => format!("{told}\n{NO_RIGHTS}"),
            false => told,
        };
        Finding { is_ready: false, text }
    }
}

/// An upstream, and how it was when it was asked last.
struct WatchedUpstream {
    upstream: Arc<Upstream>,
    /// `None`: not asked yet.
    found: Option<Result<(), String>>,
    has_answered: bool,
}

impl WatchedUpstream {
    fn new(upstream: Arc<Upstream>) -> Self {
        Self {
            upstream,
            found: None,
            has_answered: false,
        }
    }

    /// What keeps it from serving.
    fn problem(&self) -> Option<String> {
        let problem = self.found.as_ref()?.as_ref().err()?;
        Some(format!("upstream '{}': {problem}", self.upstream.name()))
    }

    async fn ask(&mut self) {
        let found = match tokio::time::timeout(DEADLINE, self.upstream.ping()).await {
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
            Ok(Err(failure)) => Err(failure.to_string()),
            Ok(Ok(())) => Ok(()),
        };
        let name = self.upstream.name();
        if self.found.as_ref() != Some(&found) {
            match &found {
                Ok(()) => tracing::info!("upstream '{name}' answers as a registry does"),
                Err(problem) => tracing::warn!("upstream '{name}' is not ready: {problem}"),
            }
        }
        if found.is_ok() && !self.has_answered {
            self.has_answered = true;
            self.try_own_credentials().await;
        }
        self.found = Some(found);
    }

    /// Credentials of refshim's own that are refused make every request fail: that is said at once.
    async fn try_own_credentials(&self) {
        let name = self.upstream.name();
        let tried = self.upstream.try_own_credentials(None);
        match tokio::time::timeout(DEADLINE, tried).await {
            Ok(Ok(Some(CredentialCheck::Refused))) => tracing::warn!(
                "upstream '{name}' refuses refshim's own credentials: check upstream.credentials; its callers are refused until they are right"
            ),
            Ok(Ok(Some(CredentialCheck::Missing))) => tracing::warn!(
                "upstream.credentials has none for upstream '{name}', which asks for some: log in with 'docker login' or name another file"
            ),
            Ok(Ok(Some(CredentialCheck::Accepted | CredentialCheck::Unneeded) | None)) => {}
            Ok(Err(error)) => {
                tracing::warn!("refshim's own credentials could not be tried at upstream '{name}': {error}")
            }
            Err(_) => tracing::warn!(
                "refshim's own credentials could not be tried at upstream '{name}' within {} s",
                DEADLINE.as_secs()
            ),
        }
    }
}
