//! The limit of file descriptors: each connection needs one, and another for the connection to the registry while a request runs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for files, listeners and everything else besides connections.
const OTHERS: u64 = 64;

/// Raises the soft limit, which service managers keep low for programs that use `select`, to the hard limit. Logs a warning if that is
/// too low for `connections` from callers.
pub fn raise_limit(connections: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            limit.current
        }
    };
    let wanted = (connections as u64).saturating_mul(2).saturating_add(OTHERS);
    // `None` means unlimited.
    if let Some(current) = current.filter(|&current| current < wanted) {
        tracing::warn!(
            "only {current} files may be open, {wanted} are needed for limits.connections = {connections}: raise the limit \
             (ulimit -n, LimitNOFILE=) or lower limits.connections"
        );
    }
}
