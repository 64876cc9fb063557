//! What is asked on the way to an `Authorization`, and what comes of it.

use std::fmt;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::TokenRequest;

/// Asks a registry or a token endpoint. `E` says why there is no answer.
pub(super) type Asking<'a, E> = dyn Fn(AuthQuestion) -> BoxFuture<'a, Result<AuthReply, E>> + Send + Sync + 'a;

/// What the authenticator has to have asked, without anybody's `Authorization` but the one that is given here.
#[derive(Debug)]
pub enum AuthQuestion {
    /// `GET /v2/` of the registry: which challenge does it answer with?
    Challenge,
    /// A token endpoint.
    Token(TokenRequest),
}

/// An answer to an [`AuthQuestion`]. 429 and 5xx are none, but errors of whoever asks.
#[derive(Debug)]
pub struct AuthReply {
    /// Below 500.
    pub status: StatusCode,
    /// Of the answer; challenges are read here.
    pub headers: HeaderMap,
    /// Of a token endpoint: JSON with the token in it.
    pub body: Bytes,
}

/// What a request takes along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Nothing: the registry asks for nothing.
    Unneeded,
    /// This value of the header `Authorization`.
    Header(HeaderValue),
    /// Nothing, although the registry asks for something.
    Refused(LoginRefusal),
}

/// Why nobody can be logged in with the credentials that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginRefusal {
    /// The registry asks for a user and a password, and there are no credentials.
    NoPassword,
    /// The registry asks for a user and a password, and has no token endpoint that would exchange the identity token.
    IdentityTokenOfNoUse,
    /// The registry asks for an authentication scheme that refshim does not know.
    UnknownScheme(String),
    /// The token endpoint refuses to give a token.
    NoToken {
        /// Its URL.
        realm: String,
        /// What it answered.
        status: StatusCode,
        /// Whether credentials were shown to it; without, it was asked for anybody's token.
        has_credentials: bool,
    },
}

impl LoginRefusal {
    /// Whether there are credentials that could not be shown to the registry.
    pub fn is_of_credentials(&self) -> bool {
        match self {
            Self::IdentityTokenOfNoUse => true,
            Self::NoToken { has_credentials, .. } => *has_credentials,
            Self::NoPassword | Self::UnknownScheme(_) => false,
        }
    }
}

/// For `serve`; the command line says what its user can do about it.
impl fmt::Display for LoginRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPassword => f.write_str("the registry asks for a user and a password, and there are none for it"),
            Self::IdentityTokenOfNoUse => f.write_str(
                "the registry asks for a user and a password, and there is only an identity token for it, which it cannot exchange",
            ),
            Self::UnknownScheme(scheme) => write!(
                f,
                "the registry asks for the authentication scheme '{scheme}', and refshim knows Basic and Bearer only"
            ),
            Self::NoToken { realm, status, .. } => {
                write!(f, "the token endpoint {realm} gives no token (HTTP {})", status.as_u16())
            }
        }
    }
}

/// What keeps the credentials or the token endpoint from being used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthProblem {
    /// Their source failed.
    #[error("{0}")]
    Credentials(String),
    /// The token endpoint, or its answer, is not as the token specification has it.
    #[error("the token endpoint '{realm}' {problem}")]
    Realm {
        /// As the registry's challenge names it.
        realm: String,
        /// Completes the sentence.
        problem: &'static str,
    },
}
