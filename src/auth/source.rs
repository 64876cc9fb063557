//! Where the credentials for one registry come from: the configuration, a file, Docker's configuration and its helpers, or Amazon ECR.

use std::path::PathBuf;
use std::time::Duration;

use super::{Credentials, CredentialsError, DockerConfig, Ecr};

/// Credentials are read again after this long: a file may have been rewritten, a helper's secret may have ended.
const HELD_FOR: Duration = Duration::from_secs(5 * 60);

/// A helper is a process, which may ask a service elsewhere: credentials that it gave less than this long ago are not asked for again
/// when a registry refuses them.
const HELPERS_PAUSE: Duration = Duration::from_secs(30);

/// Which ECR API gives the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EcrOptions {
    /// The AWS region; `None`: the one that the AWS SDK finds.
    pub region: Option<String>,
    /// The API's URL; `None`: the region's own.
    pub endpoint: Option<String>,
    /// The HTTP proxy on the way to it and to AWS's token service; `None`: both are reached directly.
    pub proxy: Option<EcrProxy>,
}

/// An HTTP proxy for connections by TLS.
#[derive(Clone, PartialEq, Eq)]
pub struct EcrProxy {
    /// Its URL, which may hold a password.
    pub url: String,
    /// Hosts that are reached without it, as `NO_PROXY` lists them.
    pub no_proxy: String,
}

impl EcrOptions {
    /// The region that a registry's host name tells: `<account>.dkr.ecr.<region>.amazonaws.com`,
    /// `<account>.dkr-ecr.<region>.on.aws`.
    pub fn region_of(host: &str) -> Option<String> {
        let mut labels = host.split('.').skip(1);
        let ecr = match labels.next()? {
            "dkr" => labels.next()?,
            joined => joined.strip_prefix("dkr-")?,
        };
        let region = labels.next()?;
        (matches!(ecr, "ecr" | "ecr-fips") && labels.next().is_some()).then(|| region.to_owned())
    }
}

/// What is asked for credentials, again whenever they may have changed.
pub enum CredentialsSource {
    /// There are none: token endpoints give tokens to anybody, too.
    Nobody,
    /// The configuration itself.
    Password {
        /// The account's name.
        user: String,
        /// Its password.
        password: String,
    },
    /// A file with nothing in it but the password and the end of its line.
    PasswordFile {
        /// The account's name.
        user: String,
        /// Where its password is.
        file: PathBuf,
    },
    /// Docker's or Podman's configuration, credential helpers included.
    DockerConfig {
        /// `None`: where `docker login` and `podman login` write.
        file: Option<PathBuf>,
        /// The registry, with its port where it has one.
        host: String,
    },
    /// Amazon ECR's API, whose password is kept until shortly before it ends.
    Ecr(Ecr),
}

impl CredentialsSource {
    /// How long credentials may be used before the source is asked again.
    pub fn holds_for(&self) -> Duration {
        match self {
            Self::Ecr(_) => Duration::ZERO,
            _ => HELD_FOR,
        }
    }

    /// How long credentials are kept although a registry refused them.
    pub fn trusted_for(&self) -> Duration {
        match self {
            Self::DockerConfig { .. } => HELPERS_PAUSE,
            _ => Duration::ZERO,
        }
    }

    /// Says that a registry refused the credentials.
    pub fn forget(&self) {
        if let Self::Ecr(ecr) = self {
            ecr.forget();
        }
    }

    /// The credentials as they are now; `None` where the source has none for the registry.
    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        match self {
            Self::Nobody => Ok(None),
            Self::Password { user, password } => Ok(Some(Credentials::Password {
                user: user.clone(),
                password: password.clone(),
            })),
            Self::PasswordFile { user, file } => {
                let text = tokio::fs::read_to_string(file).await;
                let text = text.map_err(|error| CredentialsError::File {
                    file: file.clone(),
                    problem: format!("cannot be read ({error})"),
                })?;
                Ok(Some(Credentials::Password {
                    user: user.clone(),
                    password: text.trim_end_matches(['\r', '\n']).to_owned(),
                }))
            }
            Self::DockerConfig { file, host } => {
                let config = match file {
                    Some(file) => DockerConfig::read(file)?,
                    None => DockerConfig::find()?,
                };
                config.credentials(host).await
            }
            Self::Ecr(ecr) => ecr.get().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_of_ecr_name_their_region() {
        for (host, region) in [
            ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", Some("eu-west-1")),
            (
                "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com",
                Some("us-gov-west-1"),
            ),
            ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", Some("cn-north-1")),
            ("123456789012.dkr-ecr.eu-west-1.on.aws", Some("eu-west-1")),
            ("127.0.0.1:5000", None),
            ("registry.example.org", None),
            ("a.dkr.ecr.b", None),
            ("localhost", None),
        ] {
            assert_eq!(EcrOptions::region_of(host).as_deref(), region, "{host}");
        }
    }

    #[tokio::test]
    async fn a_password_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = CredentialsSource::PasswordFile {
            user: "robot".into(),
            file: folder.path().join("password"),
        };
        assert!(source.get().await.is_err());
        for (text, expected) in [("one\n", "one"), (" two \r\n", " two ")] {
            std::fs::write(folder.path().join("password"), text).unwrap();
            let password = expected.to_owned();
            let user = "robot".to_owned();
            assert_eq!(
                source.get().await.unwrap(),
                Some(Credentials::Password { user, password })
            );
        }
    }
}
