//! The product as users run it: the real binary.

use std::process::{Command, ExitStatus};
use std::time::Duration;

use super::endpoint::Endpoint;
use super::process::Process;
use super::wait::eventually;

/// A log to which nothing was added for so long has all of it: several times what refshim lets lines gather for.
const STILL: Duration = Duration::from_millis(40);

/// How to start refshim.
pub struct Builder {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    config: Option<String>,
}

impl Builder {
    /// More command-line arguments of `serve`.
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&a| a.to_owned()));
        self
    }

    /// One setting by its environment variable, such as `REFSHIM_CACHE__FRESH_FOR`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The text of a config file (TOML). Listeners are always given by flags.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.to_owned());
        self
    }

    pub async fn start(self) -> Refshim {
        let folder = tempfile::tempdir().expect("a temporary folder");
        if let Some(toml) = &self.config {
            std::fs::write(folder.path().join("refshim.toml"), toml).expect("config is written");
        }
        let mut refshim = Refshim {
            builder: self,
            folder,
            listen: loopback(),
            admin: loopback(),
            process: None,
        };
        refshim.launch().await;
        refshim
    }
}

fn loopback() -> String {
    "127.0.0.1:0".to_owned()
}

pub struct Refshim {
    builder: Builder,
    /// Goes before the folder, so that a failing test can still print its log.
    process: Option<Process>,
    folder: tempfile::TempDir,
    listen: String,
    admin: String,
}

impl Refshim {
    /// With defaults, as `refshim serve --upstream URL`.
    pub async fn in_front_of(upstream: &str) -> Self {
        Self::builder(upstream).start().await
    }

    pub fn builder(upstream: &str) -> Builder {
        Self::bare().arguments(&["--upstream", upstream])
    }

    /// Without an upstream: the config names them.
    pub fn bare() -> Builder {
        Builder {
            arguments: Vec::new(),
            environment: Vec::new(),
            config: None,
        }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::new(&format!("http://{}", self.listen))
    }

    pub fn admin(&self) -> Endpoint {
        Endpoint::new(&format!("http://{}", self.admin))
    }

    /// The value of a metric without labels, by the name that ends its own.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.admin().get("/metrics").await.expect_status(200).text();
        let mut samples = text.lines().filter_map(|line| line.split_once(' '));
        samples.find(|(sample, _)| sample.ends_with(name))?.1.parse().ok()
    }

    pub fn id(&self) -> u32 {
        self.process.as_ref().expect("refshim runs").id()
    }

    /// The most memory that it ever held, in bytes.
    pub fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).expect("refshim runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|l| l.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kibibytes.expect("the kernel's count") * 1024
    }

    /// All that it printed, over restarts, once nothing more comes: refshim writes its log on a thread of its own.
    pub fn output(&self) -> String {
        let mut printed = self.printed();
        loop {
            std::thread::sleep(STILL);
            let now = self.printed();
            if now.len() == printed.len() {
                return now;
            }
            printed = now;
        }
    }

    fn printed(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The lines of the access log, once there are as many. For `--log-format json`.
    pub async fn access_log(&self, count: usize) -> Vec<serde_json::Value> {
        eventually("the requests are logged", async || {
            let output = self.printed();
            let lines = output.lines().filter_map(|line| serde_json::from_str(line).ok());
            let lines: Vec<serde_json::Value> = lines.collect();
            let lines: Vec<_> = lines
                .into_iter()
                .filter(|line| line["target"] == "refshim::access")
                .collect();
            (lines.len() >= count).then_some(lines)
        })
        .await
    }

    /// Writes the configuration file anew; see [`hang_up`](Self::hang_up).
    pub fn rewrite_config(&self, toml: &str) {
        std::fs::write(self.folder.path().join("refshim.toml"), toml).expect("config is written");
    }

    /// SIGHUP.
    pub fn hang_up(&self) {
        self.process.as_ref().expect("refshim runs").signal("HUP");
    }

    /// SIGKILL, as the kernel would when memory is short.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// SIGTERM; work in flight may finish. See [`ended`](Self::ended).
    pub fn terminate(&self) {
        self.process.as_ref().expect("refshim runs").terminate();
    }

    /// Waits for its end after [`terminate`](Self::terminate).
    pub async fn ended(&mut self) -> ExitStatus {
        self.process.as_mut().expect("refshim runs").wait().await
    }

    /// SIGKILL, then a new process with cold caches on the same ports.
    pub async fn restart(&mut self) {
        self.kill();
        self.launch().await;
    }

    async fn launch(&mut self) {
        let log = self.folder.path().join("log");
        let before = std::fs::read_to_string(&log).unwrap_or_default().len();
        let mut process = Process::start("refshim", self.command(), &log);
        let name = format!("{:?} listens", self.builder.arguments);
        let (listen, admin) = eventually(&name, async || {
            let output = process.output();
            if let Some(status) = process.exited() {
                panic!("refshim ended at its start ({status}): {output}");
            }
            let output = &output[before..];
            Some((address(output, "listening on ")?, address(output, "admin on ")?))
        })
        .await;
        (self.listen, self.admin) = (listen, admin);
        let is_plain = process.output()[before..].contains("admin on http://");
        self.process = Some(process);
        // Waits for the check at the start: what is counted or broken from here on is not it.
        if is_plain {
            self.admin().get("/readyz").await;
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_refshim"));
        command.arg("serve").args(&self.builder.arguments);
        command.args(["--listen", &self.listen, "--admin-listen", &self.admin]);
        if self.builder.config.is_some() {
            command.arg("--config").arg(self.folder.path().join("refshim.toml"));
        }
        command
            .envs(self.builder.environment.iter().map(|(n, v)| (n, v)))
            .env("NO_COLOR", "1");
        command.current_dir(self.folder.path());
        command
    }
}

/// Whether refshim only finds out whether its registry is there: at its start, and for `/readyz`.
pub fn is_ping(headers: &http::HeaderMap) -> bool {
    let agent = headers.get("user-agent").and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| agent.starts_with("refshim/") && agent.ends_with(" (ping)"))
}

/// The `host:port` of the URL that follows `marker` in what was printed.
fn address(output: &str, marker: &str) -> Option<String> {
    let (_, rest) = output.split_once(marker)?.1.split_once("://")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':'))?;
    Some(rest[..end].to_owned())
}
