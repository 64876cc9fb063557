//! The credentials that refshim sends to an upstream.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::secret::Secret;
use super::values;

/// The section `[upstream.credentials]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialsConfig {
    /// Which credentials refshim sends.
    pub kind: CredentialsKind,
    /// With `static`: the user's name.
    pub username: Option<String>,
    /// With `static`: the password.
    pub password: Option<Secret>,
    /// With `static`: file with the password, read again regularly.
    pub password_file: Option<PathBuf>,
    /// With `docker-config`: path of the file. Default: where `docker login` and `podman login` write it.
    pub file: Option<PathBuf>,
    /// With `ecr`: the AWS region. Default: the one in the registry's host name, or the one that the AWS SDK finds.
    pub region: Option<String>,
    /// With `ecr`: URL of the ECR API, such as a VPC endpoint. Default: the public one of the region.
    #[serde(deserialize_with = "values::origin")]
    pub endpoint: Option<Url>,
}

impl CredentialsConfig {
    /// Whether refshim uses credentials of its own, which everybody who can connect to it could then use.
    pub fn are_own(&self) -> bool {
        self.kind != CredentialsKind::Caller
    }
}

/// Which credentials refshim sends to a registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialsKind {
    /// Those that the caller sends.
    #[default]
    Caller,
    /// A user name and a password from the configuration.
    Static,
    /// Those in Docker's `config.json`, credential helpers included.
    DockerConfig,
    /// Amazon ECR's token, fetched with the AWS credentials of this process. Not in every build: see [`CredentialsKind::is_built_in`].
    Ecr,
}

impl CredentialsKind {
    const NAMES: [(&'static str, Self); 4] = [
        ("caller", Self::Caller),
        ("static", Self::Static),
        ("docker-config", Self::DockerConfig),
        ("ecr", Self::Ecr),
    ];

    /// Whether this build supports the kind.
    pub fn is_built_in(self) -> bool {
        self != Self::Ecr || cfg!(feature = "ecr")
    }

    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        let named = Self::NAMES.iter().find(|(_, kind)| *kind == self);
        named.map_or("", |(name, _)| name)
    }
}

impl<'de> Deserialize<'de> for CredentialsKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::choice(deserializer, &Self::NAMES)
    }
}
