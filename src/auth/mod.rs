//! Credentials that lie on this machine or in its cloud, and what registries ask for: Docker's config file, its credential helpers, users of
//! our own, authentication challenges and tokens. A leaf: what is sent with them is decided elsewhere.

mod challenge;
mod docker_config;
#[cfg_attr(not(feature = "ecr"), path = "no_ecr.rs")]
mod ecr;
mod helper;
mod htpasswd;
mod source;
mod token;
pub(crate) mod token_scopes;

pub use challenge::{Bearer, Challenge, challenges};
pub use docker_config::{CredentialsError, DockerConfig};
pub use ecr::Ecr;
pub use htpasswd::{Busy, Htpasswd};
pub use source::{CredentialsSource, EcrOptions};
pub use token::{Token, basic, exchange_form, question, target};

/// For the fuzz targets.
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing {
    pub(crate) use super::htpasswd::parse as users;
}

use std::fmt;

/// A user and a password, or a token that is exchanged for one.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token ("identity token").
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
