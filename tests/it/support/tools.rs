//! The clients that people use, each with a home of its own.

use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;

use super::process::find;

/// Of one command. Generous: cosign alone takes seconds on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub command: String,
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its standard output, where it succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.success,
            "{} failed\nstdout: {}\nstderr: {}",
            self.command, self.stdout, self.stderr
        );
        self.stdout
    }

    /// Its standard error, where it failed.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(!self.success, "{} succeeded\nstdout: {}", self.command, self.stdout);
        self.stderr
    }
}

/// Runs clients that see nothing of the user's own settings and credentials.
pub struct Tools {
    home: TempDir,
}

impl Default for Tools {
    fn default() -> Self {
        Self::new()
    }
}

impl Tools {
    pub fn new() -> Self {
        Self {
            home: tempfile::tempdir().expect("a temporary folder"),
        }
    }

    /// Where commands run; files named relatively are found here.
    pub fn folder(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A file for a command to use, named relatively.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.home.path().join(name), content).expect("a file is written");
    }

    /// Logs every client in at `authority`, by the Docker config file that they all read.
    pub fn log_in(&self, authority: &str, user: &str, password: &str) {
        self.log_in_at(&[(authority, user, password)]);
    }

    /// The same at each authority, with its user and password.
    pub fn log_in_at(&self, logins: &[(&str, &str, &str)]) {
        use base64::Engine as _;
        let auths = logins.iter().map(|(authority, user, password)| {
            let auth = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
            ((*authority).to_owned(), serde_json::json!({"auth": auth}))
        });
        let auths: serde_json::Map<String, serde_json::Value> = auths.collect();
        let config = serde_json::json!({"auths": auths}).to_string();
        std::fs::create_dir_all(self.home.path().join(".docker")).expect("a folder");
        self.file(".docker/config.json", config);
    }

    /// `oras …`; add `--plain-http` where the subcommand knows it.
    pub async fn oras(&self, arguments: &[&str]) -> Said {
        self.run("oras", arguments).await
    }

    /// `regctl …` with TLS switched off for `authority`.
    pub async fn regctl(&self, authority: &str, arguments: &[&str]) -> Said {
        let host = format!("reg={authority},tls=disabled");
        let all: Vec<&str> = ["--host", &host].into_iter().chain(arguments.iter().copied()).collect();
        self.run("regctl", &all).await
    }

    /// `crane …`; it speaks plain HTTP to loopback by itself.
    pub async fn crane(&self, arguments: &[&str]) -> Said {
        self.run("crane", arguments).await
    }

    /// `cosign …`; it speaks plain HTTP to loopback by itself.
    pub async fn cosign(&self, arguments: &[&str]) -> Said {
        self.run("cosign", arguments).await
    }

    /// `skopeo …`
    pub async fn skopeo(&self, arguments: &[&str]) -> Said {
        let all: Vec<&str> = ["--insecure-policy"]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.run("skopeo", &all).await
    }

    /// Makes `cosign.key` and `cosign.pub` unless they are there.
    pub async fn cosign_key(&self) {
        if !self.home.path().join("cosign.key").exists() {
            self.cosign(&["generate-key-pair"]).await.ok();
        }
    }

    /// Signs in cosign's tag layout (`sha256-<hex>.sig`).
    pub async fn cosign_sign_by_tag(&self, image: &str) {
        let layout = ["--new-bundle-format=false", "--registry-referrers-mode=legacy", image];
        self.cosign_offline("sign", &layout).await;
    }

    /// Attests in cosign's tag layout (`sha256-<hex>.att`); `predicate` is a file of [`folder`](Self::folder).
    pub async fn cosign_attest_by_tag(&self, image: &str, predicate: &str) {
        let what = [
            "--new-bundle-format=false",
            "--type",
            "custom",
            "--predicate",
            predicate,
            image,
        ];
        self.cosign_offline("attest", &what).await;
    }

    /// Signs as cosign 3 does by default: a bundle that names its subject.
    pub async fn cosign_sign_bundle(&self, image: &str) {
        self.cosign_offline("sign", &[image]).await;
    }

    /// `cosign sign` or `cosign attest` with `cosign.key`, without any service on the internet.
    pub async fn cosign_offline(&self, command: &str, rest: &[&str]) {
        self.cosign_key().await;
        let offline = [
            command,
            "--key",
            "cosign.key",
            "--yes",
            "--tlog-upload=false",
            "--use-signing-config=false",
        ];
        self.cosign(&[&offline, rest].concat()).await.ok();
    }

    async fn run(&self, program: &str, arguments: &[&str]) -> Said {
        self.run_with(program, arguments, &[]).await
    }

    /// Any program, with more environment.
    pub async fn run_with(&self, program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Said {
        let command = format!("{program} {}", arguments.join(" "));
        let home = self.home.path();
        let child = Command::new(find(program))
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home)
            .env("DOCKER_CONFIG", home.join(".docker"))
            .env("XDG_RUNTIME_DIR", home)
            .env("COSIGN_PASSWORD", "")
            .env("COSIGN_YES", "true")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(DEADLINE, child).await;
        let output = output.unwrap_or_else(|_| panic!("{command}: still running after {DEADLINE:?}"));
        let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said {
            command,
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}
