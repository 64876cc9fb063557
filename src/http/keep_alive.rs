//! The header `Keep-Alive` (RFC 2068, 19.7.1.1), in which servers such as Node.js, Apache and Tomcat state after how long they close an
//! idle connection. Most say nothing.

use std::time::Duration;

use http::{HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// What the way of the next request to the server may take.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// For how long a connection may be idle before it is used again: a little less than the server says.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let stated = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let timeout = stated.split(',').find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        let is_timeout = name.trim().eq_ignore_ascii_case("timeout");
        is_timeout.then(|| seconds.trim().parse().ok()).flatten()
    });
    let timeout = Duration::from_secs(timeout?);
    Some(timeout - ON_THE_WAY.min(timeout / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(stated: &str) -> Option<f32> {
        let headers = HeaderMap::from_iter([(KEEP_ALIVE, stated.parse().unwrap())]);
        timeout(&headers).map(|timeout| timeout.as_secs_f32())
    }

    #[test]
    fn a_stated_time_is_not_used_up() {
        assert_eq!(seconds("timeout=5"), Some(4.0));
        assert_eq!(seconds("max=100, Timeout = 60"), Some(59.0));
        assert_eq!(seconds("timeout=1"), Some(0.5));
        assert_eq!(seconds("timeout=0"), Some(0.0));
    }

    #[test]
    fn what_states_no_time_says_nothing() {
        for stated in ["", "max=100", "timeout", "timeout=", "timeout=-1", "timeout=soon"] {
            assert_eq!(seconds(stated), None, "{stated}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
