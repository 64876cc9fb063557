//! Where refshim's own credentials for one registry come from.

use std::path::PathBuf;

use super::{Credentials, CredentialsError, DockerConfig};

/// Asked again whenever they may have changed.
pub enum Source {
    Password {
        user: String,
        password: String,
    },
    /// The password is all that stands in the file, a line's end aside.
    PasswordFile {
        user: String,
        file: PathBuf,
    },
    DockerConfig {
        /// `None`: where `docker login` and `podman login` write.
        file: Option<PathBuf>,
        /// The registry, with its port where it has one.
        host: String,
    },
}

impl Source {
    /// What is to be had now; `None` where the source has nothing for the registry.
    pub async fn get(&self) -> Result<Option<Credentials>, CredentialsError> {
        match self {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::PasswordFile {
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
