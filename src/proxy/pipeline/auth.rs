//! Who may use refshim's own credentials. Where callers bring theirs, the registry itself judges them.

use std::sync::Arc;

use http::StatusCode;
use http::header::AUTHORIZATION;

use crate::auth::{Busy, Htpasswd};
use crate::oci::{Code, OciError};
use crate::proxy::context::RequestContext;
use crate::proxy::error::ProxyError;

#[derive(Default)]
pub(super) struct ProxyAuth {
    /// `None`: nobody is asked. The configuration saw to it that this is meant, or that only a certificate leads here.
    users: Option<Arc<Htpasswd>>,
}

impl ProxyAuth {
    pub fn new(users: Option<Arc<Htpasswd>>) -> Self {
        Self { users }
    }

    /// Refuses callers without the right to refshim's own credentials. Asked for every request: no permission is remembered.
    pub async fn admit(&self, context: &RequestContext<'_>) -> Result<(), ProxyError> {
        let Some(users) = self
            .users
            .as_ref()
            .filter(|_| context.backend.upstream.has_own_credentials())
        else {
            return Ok(());
        };
        if context.peer.certified {
            return Ok(());
        }
        let admitted = match context.head.headers.get(AUTHORIZATION) {
            Some(authorization) => Box::pin(users.admits(authorization)).await,
            None => Ok(false),
        };
        match admitted {
            Ok(true) => Ok(()),
            Ok(false) => {
                let message = "refshim asks for a user and a password here, or for a client certificate";
                Err(OciError::new(StatusCode::UNAUTHORIZED, Code::Unauthorized, message).into())
            }
            Err(Busy) => Err(ProxyError::busy(
                "too many passwords are being checked at once; try again in a moment",
            )),
        }
    }
}
