//! Real registries: CNCF Distribution 2.8.2 (Debian's `docker-registry`) and 3.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::endpoint::Endpoint;
use super::process::{self, Process};
use super::wait::within;

/// Two may pick the same port at once; a few tries always suffice.
const ATTEMPTS: usize = 10;
/// Names the process that answers, so that a stranger on the port is not taken for it.
const INSTANCE: &str = "x-test-instance";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// Distribution 2.8.2: no referrers, no tag paging, no delete by tag.
    V2,
    /// Distribution 3: no referrers; tags are sorted, paged and can be sought.
    V3,
}

impl Program {
    pub const ALL: [Self; 2] = [Self::V2, Self::V3];

    fn name(self) -> &'static str {
        match self {
            Self::V2 => "docker-registry",
            Self::V3 => "registry",
        }
    }
}

/// How a registry checks its callers.
enum Auth {
    None,
    Htpasswd(Vec<(String, String)>),
    Token {
        realm: String,
        service: String,
        issuer: String,
        certificates: PathBuf,
    },
}

/// How to start a registry.
pub struct Builder {
    program: Program,
    auth: Auth,
    notify: Option<String>,
    in_memory: bool,
    foreign_layers: bool,
}

/// Memory as a folder, which every Linux has. Small in containers: nothing for large blobs.
const MEMORY: &str = "/dev/shm";

impl Builder {
    /// Users and passwords for HTTP Basic.
    pub fn users(mut self, users: &[(&str, &str)]) -> Self {
        self.auth = Auth::Htpasswd(users.iter().map(|&(u, p)| (u.to_owned(), p.to_owned())).collect());
        self
    }

    /// Tokens signed by one of `certificates` (a PEM file), fetched at `realm`.
    pub fn tokens(mut self, realm: &str, service: &str, issuer: &str, certificates: &Path) -> Self {
        self.auth = Auth::Token {
            realm: realm.to_owned(),
            service: service.to_owned(),
            issuer: issuer.to_owned(),
            certificates: certificates.to_owned(),
        };
        self
    }

    /// Posts its notifications to `url`.
    pub fn notify(mut self, url: &str) -> Self {
        self.notify = Some(url.to_owned());
        self
    }

    /// Stores in memory: ten thousand tags are tens of thousands of files.
    pub fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Takes images whose layers are to be fetched from elsewhere.
    pub fn foreign_layers(mut self) -> Self {
        self.foreign_layers = true;
        self
    }

    pub async fn start(self) -> Registry {
        let folder = if self.in_memory {
            tempfile::tempdir_in(MEMORY)
        } else {
            tempfile::tempdir()
        };
        let folder = folder.expect("a temporary folder");
        let credentials = match &self.auth {
            Auth::Htpasswd(users) => {
                std::fs::write(folder.path().join("htpasswd"), htpasswd(users)).expect("htpasswd is written");
                users.first().cloned()
            }
            _ => None,
        };
        let mut registry = Registry {
            builder: self,
            folder,
            credentials,
            port: 0,
            process: None,
        };
        for _ in 0..ATTEMPTS {
            registry.port = process::free_port();
            if registry.try_start().await {
                return registry;
            }
        }
        panic!(
            "{} found no free port in {ATTEMPTS} attempts",
            registry.builder.program.name()
        )
    }

    fn config(&self, folder: &Path, port: u16, instance: &str) -> String {
        let folder = folder.display();
        let mut yaml = format!(
            "version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {folder}/storage}}
  delete: {{enabled: true}}
  maintenance: {{uploadpurging: {{enabled: false}}}}
http:
  addr: 127.0.0.1:{port}
  headers: {{{INSTANCE}: [{instance}]}}
"
        );
        let added = match &self.auth {
            Auth::None => Ok(()),
            Auth::Htpasswd(_) => writeln!(yaml, "auth: {{htpasswd: {{realm: tests, path: {folder}/htpasswd}}}}"),
            Auth::Token {
                realm,
                service,
                issuer,
                certificates,
            } => writeln!(
                yaml,
                "auth: {{token: {{realm: '{realm}', service: '{service}', issuer: '{issuer}', rootcertbundle: '{}'}}}}",
                certificates.display()
            ),
        };
        added.expect("a string can grow");
        if self.foreign_layers {
            yaml.push_str("validation: {manifests: {urls: {allow: ['.*']}}}\n");
        }
        if let Some(url) = &self.notify {
            writeln!(
                yaml,
                "notifications: {{endpoints: [{{name: tests, url: '{url}', timeout: 5s, threshold: 3, backoff: 100ms}}]}}"
            )
            .expect("a string can grow");
        }
        yaml
    }
}

pub struct Registry {
    builder: Builder,
    /// Goes before the folder, so that a failing test can still print its log.
    process: Option<Process>,
    folder: tempfile::TempDir,
    /// Of the first user, for the test's own requests.
    credentials: Option<(String, String)>,
    port: u16,
}

impl Registry {
    pub fn builder(program: Program) -> Builder {
        Builder {
            program,
            auth: Auth::None,
            notify: None,
            in_memory: false,
            foreign_layers: false,
        }
    }

    pub async fn start(program: Program) -> Self {
        Self::builder(program).start().await
    }

    /// Distribution 2.8.2, open to all.
    pub async fn v2() -> Self {
        Self::start(Program::V2).await
    }

    /// Distribution 3, open to all.
    pub async fn v3() -> Self {
        Self::start(Program::V3).await
    }

    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.authority())
    }

    /// Straight to it, as its first user where it asks for one.
    pub fn endpoint(&self) -> Endpoint {
        let endpoint = Endpoint::new(&self.url());
        match &self.credentials {
            Some((user, password)) => endpoint.basic(user, password),
            None => endpoint,
        }
    }

    /// SIGKILL. What it stored stays for [`restart`](Self::restart).
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

    /// The same registry on the same port.
    pub async fn restart(&mut self) {
        self.kill();
        assert!(self.try_start().await, "port {} is taken", self.port);
    }

    /// Stops the registry, lets its own garbage collection take everything that no tag keeps, and starts it again.
    pub async fn collect_garbage(&mut self) {
        self.kill();
        self.remove_torn_links();
        let program = self.builder.program.name();
        // It takes its time, in which others go on.
        let run = tokio::process::Command::new(process::find(program))
            .args(["garbage-collect", "--delete-untagged"])
            .arg(self.folder.path().join("config.yml"))
            .env("OTEL_TRACES_EXPORTER", "none")
            .kill_on_drop(true)
            .output();
        let output = run.await.expect("garbage-collect runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        self.restart().await;
    }

    /// A registry that is killed in the middle of a write leaves an empty file, at which its garbage collection fails for ever.
    fn remove_torn_links(&self) {
        let mut find = std::process::Command::new("find");
        find.arg(self.folder.path());
        let status = find.args(["-name", "link", "-empty", "-delete"]).status();
        assert!(status.is_ok_and(|status| status.success()), "torn links are removed");
    }

    /// Points many tags at stored manifests by writing the files that the registry would: thousands in a second. Tags of
    /// one digest share their files.
    pub fn write_tags<'a>(&self, repository: &str, tags: impl IntoIterator<Item = (String, &'a str)>) {
        let root = self.folder.path().join("storage/docker/registry/v2/repositories");
        let root = root.join(repository).join("_manifests/tags");
        let mut written: HashMap<&str, PathBuf> = HashMap::new();
        for (tag, digest) in tags {
            let folder = root.join(tag);
            if let Some(like) = written.get(digest) {
                symlink(like, folder).expect("a tag like another");
                continue;
            }
            let index = folder.join("index").join(digest.replace(':', "/"));
            for place in [folder.join("current"), index] {
                std::fs::create_dir_all(&place).expect("a tag's folder");
                std::fs::write(place.join("link"), digest).expect("a tag's link");
            }
            written.insert(digest, folder);
        }
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("the registry runs")
    }

    /// False when the port was taken.
    async fn try_start(&mut self) -> bool {
        let program = self.builder.program.name();
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock past 1970");
        let instance = format!("{}-{}", std::process::id(), since_epoch.as_nanos());
        let config = self.folder.path().join("config.yml");
        std::fs::write(&config, self.builder.config(self.folder.path(), self.port, &instance))
            .expect("config is written");
        let mut command = Command::new(process::find(program));
        // Distribution 3 otherwise tries to send traces to a collector.
        command.arg("serve").arg(&config).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = Process::start(program, command, &self.folder.path().join("log"));
        let url = self.url();
        let ready = async {
            loop {
                if process.exited().is_some() {
                    return false;
                }
                let reply = Endpoint::new(&url).try_get("/v2/").await;
                if reply.is_ok_and(|r| r.header(INSTANCE) == Some(&instance)) {
                    return true;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let ready = within("the registry answers", ready).await;
        let output = process.output();
        if ready {
            self.process = Some(process);
        } else {
            assert!(
                output.contains("address already in use"),
                "{program} does not start: {output}"
            );
        }
        ready
    }
}

/// The lines of a password file. Distribution accepts bcrypt only.
fn htpasswd(users: &[(String, String)]) -> Vec<u8> {
    let mut lines = Vec::new();
    for (user, password) in users {
        let output = Command::new(process::find("htpasswd"))
            .args(["-Bbn", "-C", "4", user, password])
            .output();
        lines.extend(output.expect("htpasswd runs").stdout);
    }
    lines
}
