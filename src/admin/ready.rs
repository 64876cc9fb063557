//! Readiness: every upstream answers, and the process is not shutting down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::registry::{Caller, Upstream};

/// How long a finding is reused: probes come every few seconds from several sides.
const HOLDS_FOR: Duration = Duration::from_secs(5);
/// For each upstream's answer; probes have short timeouts too.
const DEADLINE: Duration = Duration::from_secs(3);
const MAX_REPLY: usize = 64 << 10;

type Finding = Result<(), String>;

pub(super) struct Readiness {
    upstreams: Vec<Arc<Upstream>>,
    shutting_down: AtomicBool,
    /// Held while the upstreams are asked, so that probes at the same time ask once.
    last: Mutex<Option<(Instant, Finding)>>,
}

impl Readiness {
    pub(super) fn new(upstreams: Vec<Arc<Upstream>>) -> Self {
        Self {
            upstreams,
            shutting_down: AtomicBool::new(false),
            last: Mutex::new(None),
        }
    }

    pub(super) fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Relaxed);
    }

    /// An error is the reason in one line.
    pub(super) async fn check(&self) -> Finding {
        if self.shutting_down.load(Ordering::Relaxed) {
            return Err("shutting down".to_owned());
        }
        let mut last = self.last.lock().await;
        if let Some((at, finding)) = &*last
            && at.elapsed() < HOLDS_FOR
        {
            return finding.clone();
        }
        let finding = self.ask_all().await;
        *last = Some((Instant::now(), finding.clone()));
        finding
    }

    async fn ask_all(&self) -> Finding {
        let asked = self.upstreams.iter().map(|upstream| async move {
            let nobody = Caller::anonymous();
            let ask = upstream.get("/v2/", &nobody, MAX_REPLY);
            let problem = match tokio::time::timeout(DEADLINE, ask).await {
                Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(reply)) if reply.status.is_server_error() => format!("HTTP {}", reply.status.as_u16()),
                Ok(Ok(_)) => return Ok(()),
            };
            Err(format!("upstream '{}': {problem}", upstream.name()))
        });
        futures_util::future::join_all(asked).await.into_iter().collect()
    }
}
