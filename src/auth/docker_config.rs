//! Docker's `config.json` (also Podman's `auth.json`): which credentials belong to which registry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::{Credentials, helper};

/// The key under which `docker login` keeps Docker Hub's credentials, for historic reasons.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Names of Docker Hub in references and URLs; the first is the key under which `podman login` keeps its credentials.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Why credentials could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Of a file with credentials or users.
    #[error("{file}: {problem}; mend or remove the file", file = file.display())]
    File {
        /// Its path.
        file: PathBuf,
        /// Completes the sentence.
        problem: String,
    },
    /// Of one of Docker's credential helpers.
    #[error("the credential helper docker-credential-{name} {problem}")]
    Helper {
        /// As the configuration names it.
        name: String,
        /// Completes the sentence.
        problem: String,
    },
    /// Of Amazon ECR's API.
    #[error("Amazon ECR gives no token: {0}")]
    Ecr(String),
}

/// The file's contents, as far as credentials are concerned.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DockerConfig {
    auths: BTreeMap<String, AuthEntry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuthEntry {
    /// Base64 of `user:password`; beside an identity token the user is `<token>` or a name, and the password is empty.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    /// An OAuth2 refresh token, which counts before a password.
    identitytoken: Option<String>,
}

/// Secrets never reach a log.
impl std::fmt::Debug for AuthEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth")
    }
}

impl DockerConfig {
    /// The first file that exists: `$REGISTRY_AUTH_FILE`, `$DOCKER_CONFIG/config.json`, `~/.docker/config.json`,
    /// `$XDG_RUNTIME_DIR/containers/auth.json`. Without one there are no credentials.
    pub fn find() -> Result<Self, CredentialsError> {
        let variable = |name: &str| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let docker = variable("DOCKER_CONFIG").or_else(|| variable("HOME").map(|home| home.join(".docker")));
        let places = [
            variable("REGISTRY_AUTH_FILE"),
            docker.map(|directory| directory.join("config.json")),
            variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json")),
        ];
        match places.into_iter().flatten().find(|file| file.is_file()) {
            Some(file) => Self::read(&file),
            None => Ok(Self::default()),
        }
    }

    /// Reads one file.
    pub fn read(file: &Path) -> Result<Self, CredentialsError> {
        let failed = |problem: String| CredentialsError::File {
            file: file.to_owned(),
            problem,
        };
        let text = std::fs::read(file).map_err(|error| failed(format!("cannot be read ({error})")))?;
        // The parser's message could quote a secret; its place is enough.
        serde_json::from_slice(&text).map_err(|error| failed(format!("is not valid at line {}", error.line())))
    }

    /// The credentials for `host` (with its port, where it has one). Order: the registry's own helper, the store, the file.
    pub async fn credentials(&self, host: &str) -> Result<Option<Credentials>, CredentialsError> {
        let names = names_of(host);
        let server = names.first().copied().unwrap_or(host);
        if let Some(helper) = names.iter().find_map(|name| self.cred_helpers.get(*name)) {
            return helper::ask(helper, server).await;
        }
        if let Some(store) = &self.creds_store
            && let Some(found) = helper::ask(store, server).await?
        {
            return Ok(Some(found));
        }
        Ok(self.in_file(host))
    }

    /// What the file itself says of `host`.
    pub(crate) fn in_file(&self, host: &str) -> Option<Credentials> {
        let names = names_of(host);
        let spelled = |scheme: &str| names.iter().find_map(|name| self.auths.get(&format!("{scheme}{name}")));
        let auth = ["", "https://", "http://"].into_iter().find_map(spelled);
        auth.and_then(AuthEntry::credentials)
    }
}

/// The keys under which the credentials for `host` may be kept, first the one that helpers are asked for: Docker Hub has several.
fn names_of(host: &str) -> Vec<&str> {
    match DOCKER_HUB_HOSTS.contains(&host) {
        true => [&[DOCKER_HUB_KEY][..], &DOCKER_HUB_HOSTS].concat(),
        false => vec![host],
    }
}

impl AuthEntry {
    fn credentials(&self) -> Option<Credentials> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.is_empty()) {
            return Some(Credentials::IdentityToken(token.clone()));
        }
        if let Some(auth) = self.auth.as_ref().filter(|auth| !auth.is_empty()) {
            let text = String::from_utf8(STANDARD.decode(auth).ok()?).ok()?;
            let (user, password) = text.split_once(':')?;
            return Some(Credentials::Password {
                user: user.to_owned(),
                // Old clients padded it.
                password: password.trim_end_matches('\0').to_owned(),
            });
        }
        Some(Credentials::Password {
            user: self.username.clone().filter(|user| !user.is_empty())?,
            password: self.password.clone()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }

    #[tokio::test]
    async fn every_way_of_writing_them() {
        let config: DockerConfig = serde_json::from_str(
            r#"{"auths": {
                "ghcr.io": {"auth": "dXNlcjpwYTpzcw=="},
                "localhost:5000": {"username": "u", "password": "p"},
                "https://old.example": {"auth": "dTpw"},
                "https://index.docker.io/v1/": {"identitytoken": "t"},
                "empty.example": {}
            }, "HttpHeaders": {"a": "b"}}"#,
        )
        .unwrap();
        assert_eq!(config.credentials("ghcr.io").await.unwrap(), password("user", "pa:ss"));
        assert_eq!(config.credentials("localhost:5000").await.unwrap(), password("u", "p"));
        assert_eq!(config.credentials("old.example").await.unwrap(), password("u", "p"));
        let hub = config.credentials("registry-1.docker.io").await.unwrap();
        assert_eq!(hub, Some(Credentials::IdentityToken("t".to_owned())));
        assert_eq!(config.credentials("empty.example").await.unwrap(), None);
        assert_eq!(config.credentials("other.example").await.unwrap(), None);
        assert!(!format!("{config:?} {hub:?}").contains("pa"));
    }

    #[tokio::test]
    async fn docker_hub_has_one_login_by_all_its_names() {
        for key in ["https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"] {
            let text = serde_json::json!({"auths": {key: {"auth": "dTpw"}}}).to_string();
            let config: DockerConfig = serde_json::from_str(&text).unwrap();
            for host in ["docker.io", "registry-1.docker.io", "index.docker.io"] {
                assert_eq!(
                    config.credentials(host).await.unwrap(),
                    password("u", "p"),
                    "{key} {host}"
                );
            }
            let text = serde_json::json!({"credHelpers": {key: "no-such-helper"}}).to_string();
            let config: DockerConfig = serde_json::from_str(&text).unwrap();
            assert!(config.credentials("registry-1.docker.io").await.is_err(), "{key}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let config: DockerConfig =
            serde_json::from_str(r#"{"credHelpers": {"a.example": "no-such-helper", "b.example": "../sh"}}"#).unwrap();
        let missing = config.credentials("a.example").await.unwrap_err().to_string();
        assert!(
            missing.contains("docker-credential-no-such-helper cannot be run"),
            "{missing}"
        );
        assert!(config.credentials("b.example").await.is_err());
    }
}
