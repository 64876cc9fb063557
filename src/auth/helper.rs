//! Docker's credential helpers: `docker-credential-<name> get` with the registry on standard input.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Credentials;
use super::docker_config::CredentialsError;

/// How long one run may take: helpers may ask a keychain, a cloud, or a person.
const DEADLINE: Duration = Duration::from_secs(30);
/// The user under which helpers hand out identity tokens.
const TOKEN_USER: &str = "<token>";

#[derive(Deserialize)]
struct HelperReply {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// The credentials that the helper `name` has for `registry`; `None` where it says that it has none.
pub(super) async fn ask(name: &str, registry: &str) -> Result<Option<Credentials>, CredentialsError> {
    let failed = |problem: String| CredentialsError::Helper {
        name: name.to_owned(),
        problem,
    };
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        return Err(failed("is not a helper's name".to_owned()));
    }
    let run = run(name, registry);
    let output = tokio::time::timeout(DEADLINE, run)
        .await
        .map_err(|_| failed(format!("did not answer within {} s", DEADLINE.as_secs())))?
        .map_err(|error| failed(format!("cannot be run: {error}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        // The protocol knows no other way to say so.
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(format!("failed ({})", output.status)));
    }
    let found: HelperReply =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("printed no credentials".to_owned()))?;
    Ok(Some(if found.user == TOKEN_USER {
        Credentials::IdentityToken(found.secret)
    } else {
        Credentials::Password {
            user: found.user,
            password: found.secret,
        }
    }))
}

async fn run(name: &str, registry: &str) -> std::io::Result<std::process::Output> {
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that knows the answer without reading may be gone already.
        let _ = input.write_all(registry.as_bytes()).await;
    }
    child.wait_with_output().await
}
