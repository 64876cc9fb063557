//! A real Redis, and a link to it that can be slow, silent or broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use redis::{Client, FromRedisValue};

use super::certificate;
use super::process::{self, Process};
use super::wait::{eventually, within};

/// Two may pick the same port at once; a few tries always suffice.
const ATTEMPTS: usize = 10;

#[derive(Default)]
pub struct Builder {
    arguments: Vec<String>,
    password: Option<String>,
    tls: bool,
}

impl Builder {
    /// More arguments of `redis-server`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// TLS only, under a certificate of its own: see [`Redis::ca_file`].
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    pub async fn start(self) -> Redis {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if self.tls {
            certificate::make(folder.path());
        }
        let mut redis = Redis {
            builder: self,
            folder,
            port: 0,
            process: None,
        };
        for _ in 0..ATTEMPTS {
            redis.port = process::free_port();
            if redis.try_start().await {
                return redis;
            }
        }
        panic!("redis-server found no free port in {ATTEMPTS} attempts")
    }

    fn command(&self, folder: &Path, port: u16) -> Command {
        let mut command = Command::new(process::find("redis-server"));
        command.current_dir(folder);
        let port = port.to_string();
        let (plain, tls) = if self.tls { ("0", &*port) } else { (&*port, "0") };
        command.args(["--bind", "127.0.0.1", "--port", plain, "--tls-port", tls]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        if self.tls {
            command.args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem"]);
            command.args(["--tls-ca-cert-file", "cert.pem", "--tls-auth-clients", "no"]);
        }
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        command.args(&self.arguments);
        command
    }
}

pub struct Redis {
    builder: Builder,
    /// Goes before the folder, so that a failing test can still print its log.
    process: Option<Process>,
    folder: tempfile::TempDir,
    port: u16,
}

impl Redis {
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Without the password.
    pub fn url(&self) -> String {
        let scheme = if self.builder.tls { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.authority())
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// SIGKILL. What it saved stays.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops answering but keeps its connections open (SIGSTOP).
    pub fn freeze(&self) {
        self.running().signal("STOP");
    }

    pub fn thaw(&self) {
        self.running().signal("CONT");
    }

    /// On the same port.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.try_start().await, "port {} is taken", self.port);
    }

    /// One command of the test's own.
    pub fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let client = Client::open(self.url()).expect("a URL");
        let mut connection = client.get_connection().expect("redis answers");
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query(&mut connection).expect("redis does it")
    }

    pub fn keys(&self) -> Vec<String> {
        self.command(&["KEYS", "*"])
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("redis runs")
    }

    /// False when the port was taken.
    async fn try_start(&mut self) -> bool {
        let log = self.folder.path().join("log");
        let before = std::fs::read(&log).unwrap_or_default().len();
        let command = self.builder.command(self.folder.path(), self.port);
        let mut process = Process::start("redis-server", command, &log);
        let started = eventually("redis-server starts", async || {
            let output = process.output();
            if output[before..].contains("Ready to accept connections") {
                return Some(true);
            }
            process.exited().map(|_| false)
        });
        let started = within("redis-server starts", started).await;
        if started {
            self.process = Some(process);
        } else {
            let output = process.output();
            assert!(output.contains("Address already in use"), "{output}");
        }
        started
    }
}
