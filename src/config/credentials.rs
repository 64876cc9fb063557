//! On whose credentials an upstream is asked.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};
use url::Url;

use super::secret::Secret;
use super::values;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialsConfig {
    pub kind: CredentialsKind,
    /// With `static`.
    pub username: Option<String>,
    /// With `static`.
    pub password: Option<Secret>,
    /// With `static`: holds the password; read again when it may have changed.
    pub password_file: Option<PathBuf>,
    /// With `docker-config`: the file. Without, it is looked for where `docker login` and `podman login` write.
    pub file: Option<PathBuf>,
    /// With `ecr`: the AWS region. Without, the registry's host name tells it, or what the AWS SDK finds.
    pub region: Option<String>,
    /// With `ecr`: the ECR API, where it is not the region's own (a VPC endpoint).
    #[serde(deserialize_with = "values::origin")]
    pub endpoint: Option<Url>,
}

impl CredentialsConfig {
    /// Whether refshim brings credentials of its own, so that whoever reaches it has them too.
    pub fn are_own(&self) -> bool {
        self.kind != CredentialsKind::Caller
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CredentialsKind {
    /// Whatever the caller brings is passed on.
    #[default]
    Caller,
    /// A user and a password.
    Static,
    /// Docker's `config.json`, credential helpers included.
    DockerConfig,
    /// Amazon ECR's token, on the AWS credentials of this process. Not in every build: see [`CredentialsKind::is_built_in`].
    Ecr,
}

impl CredentialsKind {
    const NAMES: [(&'static str, Self); 4] = [
        ("caller", Self::Caller),
        ("static", Self::Static),
        ("docker-config", Self::DockerConfig),
        ("ecr", Self::Ecr),
    ];

    pub fn is_built_in(self) -> bool {
        self != Self::Ecr || cfg!(feature = "ecr")
    }

    /// As the configuration writes it.
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
