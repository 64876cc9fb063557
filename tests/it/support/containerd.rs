//! A real containerd with everything of its own in one folder, and its `ctr`. It runs as root only.

use std::path::Path;
use std::process::Command;

use super::process::{self, Process};
use super::wait::eventually;

/// What would look around on the machine.
const UNWANTED: [&str; 5] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.tracing.processor.v1.otlp",
];

pub struct Containerd {
    /// Goes before the folder, so that a failing test can still print its log.
    _process: Process,
    folder: tempfile::TempDir,
}

impl Containerd {
    pub fn can_run() -> bool {
        let id = Command::new("id").arg("-u").output().expect("id runs");
        id.stdout == b"0\n"
    }

    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let config = format!(
            "version = 2\nroot = '{}'\nstate = '{}'\ndisabled_plugins = {UNWANTED:?}\n\
             [grpc]\naddress = '{}'\n[ttrpc]\naddress = '{}'\n",
            path("root"),
            path("state"),
            path("grpc.sock"),
            path("ttrpc.sock"),
        );
        std::fs::write(path("config.toml"), config).expect("the configuration is written");
        let mut command = Command::new(process::find("containerd"));
        command.args(["--config", &path("config.toml")]);
        let process = Process::start("containerd", command, &folder.path().join("log"));
        eventually("containerd serves", async || {
            process.output().contains("successfully booted").then_some(())
        })
        .await;
        Self {
            _process: process,
            folder,
        }
    }

    /// Says how `registry` is reached: the `hosts.toml` that `--hosts-dir` leads to.
    pub fn hosts(&self, registry: &str, toml: &str) {
        let folder = self.hosts_dir().join(registry);
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("hosts.toml"), toml).expect("a file is written");
    }

    /// Fetches all of an image, as a pull does before it unpacks.
    pub async fn fetch(&self, image: &str) -> Result<(), String> {
        let hosts = self.hosts_dir().display().to_string();
        let arguments = ["content", "fetch", "--all-platforms", "--hosts-dir", &hosts, image];
        self.ctr(&arguments).await.map(|_| ())
    }

    /// What it holds under `digest`.
    pub async fn content(&self, digest: &str) -> Vec<u8> {
        let held = self.ctr(&["content", "get", digest]).await;
        held.unwrap_or_else(|error| panic!("{digest}: {error}"))
    }

    async fn ctr(&self, arguments: &[&str]) -> Result<Vec<u8>, String> {
        let run = tokio::process::Command::new(process::find("ctr"))
            .arg("--address")
            .arg(self.folder.path().join("grpc.sock"))
            .args(arguments)
            .kill_on_drop(true)
            .output();
        let output = super::within(&format!("ctr {arguments:?}"), run).await;
        let output = output.expect("ctr runs");
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    fn hosts_dir(&self) -> std::path::PathBuf {
        Path::join(self.folder.path(), "hosts")
    }
}
