//! On whose behalf the upstream is asked.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// The caller's own credentials, passed on as they came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Caller {
    authorization: Option<HeaderValue>,
}

impl Caller {
    /// Nobody in particular.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// The `Authorization` of a request.
    pub fn of(headers: &HeaderMap) -> Self {
        Self::with(headers.get(AUTHORIZATION).cloned())
    }

    pub fn with(authorization: Option<HeaderValue>) -> Self {
        let authorization = authorization.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { authorization }
    }

    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

/// Credentials never reach a log.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.authorization.is_some() {
            "Caller(credentials)"
        } else {
            "Caller(anonymous)"
        })
    }
}
