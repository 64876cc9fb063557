//! File descriptors: each connection takes one, and while the registry is asked one more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files, listeners, and whatever else is open beside connections.
const OTHERS: u64 = 64;

/// Raises the soft limit to the hard one, which service managers leave low for the sake of programs that use `select`. Warns
/// where that is too little for `connections` of callers.
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
    // `None` is no limit.
    if let Some(current) = current.filter(|&current| current < wanted) {
        tracing::warn!(
            "only {current} files may be open, {wanted} are needed for limits.connections = {connections}: raise the limit \
             (ulimit -n, LimitNOFILE=) or lower limits.connections"
        );
    }
}
