//! Authentication: what registries ask for (challenges, tokens), the credentials of this machine (Docker's config file and its
//! credential helpers, password files, Amazon ECR), the one [`Authenticator`] that shows the one to the other for `serve` and for the
//! command line, and refshim's own users (htpasswd).

mod authenticator;
mod authorization;
mod challenge;
mod docker_config;
#[cfg_attr(not(feature = "ecr"), path = "no_ecr.rs")]
mod ecr;
mod helper;
mod htpasswd;
mod htpasswd_file;
mod scheme;
mod source;
mod token;
mod token_cache;
mod token_request;
pub(crate) mod token_scopes;

pub use authenticator::Authenticator;
pub use authorization::{AuthProblem, AuthQuestion, AuthReply, Authorization, LoginRefusal};
pub use challenge::{Bearer, Challenge, challenges};
pub use docker_config::{CredentialsError, DockerConfig};
pub use ecr::Ecr;
pub use htpasswd::{Busy, Htpasswd};
pub use scheme::AuthScheme;
pub use source::{CredentialsSource, EcrOptions, EcrProxy};
pub use token::{Token, basic};
pub use token_request::TokenRequest;

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::htpasswd_file::parse as users;
}

use std::fmt;

/// What somebody shows to be let in.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// For the registry (HTTP Basic) or for its token endpoint.
    Password {
        /// The account's name.
        user: String,
        /// Its password, or a token that is used as one (`docker login`).
        password: String,
    },
    /// An OAuth2 refresh token, which the registry's token endpoint exchanges for short-lived tokens.
    IdentityToken(String),
}

/// Secrets never reach a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { user, .. } => write!(f, "Password({user})"),
            Self::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}
