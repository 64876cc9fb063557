//! Who may use refshim's own credentials. Where callers bring theirs, the registry itself judges them.

use std::sync::Arc;

use http::StatusCode;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::backend::Backend;
use super::error::ProxyError;
use super::peer::Peer;
use crate::auth::{Busy, Htpasswd};
use crate::oci::{Code, OciError};

#[derive(Default)]
pub(super) struct ProxyAuth {
    /// `None`: nobody is asked. The configuration saw to it that this is meant, or that only a certificate leads here.
    users: Option<Arc<Htpasswd>>,
}

impl ProxyAuth {
    pub fn new(users: Option<Arc<Htpasswd>>) -> Self {
        Self { users }
    }

    /// Asked for every request: permission is the caller's own.
    pub async fn admit(&self, backend: &Backend, request: &Parts) -> Result<(), ProxyError> {
        let Some(users) = self.users.as_ref().filter(|_| backend.upstream.has_own_credentials()) else {
            return Ok(());
        };
        if request.extensions.get::<Peer>().is_some_and(|peer| peer.certified) {
            return Ok(());
        }
        let admitted = match request.headers.get(AUTHORIZATION) {
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
                "too many passwords are being looked at; try again in a moment",
            )),
        }
    }
}
