//! A child process with its output kept in a file, ended by its own pid when the test ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::wait::eventually;

/// Where `tests/install-tools` puts what apt does not have.
fn tools_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("REFSHIM_TOOLS") {
        return PathBuf::from(folder).join("bin");
    }
    let home = std::env::var_os("HOME").expect("HOME or REFSHIM_TOOLS is set");
    PathBuf::from(home).join(".cache/refshim-tools/bin")
}

/// A program of the tools folder or of `PATH`. Missing is a failure, never a skip.
pub fn find(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps some servers out of a user's PATH.
    let folders = std::iter::once(tools_folder())
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into()]);
    folders
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{program} not found in PATH or {}: run tests/install-tools",
                tools_folder().display()
            )
        })
}

/// A port that was free a moment ago. Whoever uses it must cope with somebody having been faster.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
    listener.local_addr().expect("a bound address").port()
}

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs going to `log`. Of the `REFSHIM_…` variables it gets those that it sets itself: neither
    /// a developer's settings nor the tests' own variables may reach the product under test.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        let set: Vec<OsString> = command.get_envs().map(|(name, _)| name.to_owned()).collect();
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("REFSHIM_") && !set.contains(name)) {
            command.env_remove(name);
        }
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log file opens");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle of the log"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All that it printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the child can be asked")
    }

    /// Sends SIGTERM and lets it finish its work.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([OsStr::new("-s"), signal.as_ref(), pid.as_ref()])
            .status();
        assert!(status.is_ok_and(|s| s.success()), "kill -s {signal} {pid}");
    }

    /// SIGKILL; back when it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end after [`terminate`](Self::terminate).
    pub async fn wait(&mut self) -> ExitStatus {
        let what = format!("{} ends", self.name);
        eventually(&what, async || self.exited()).await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} printed ----\n{}", self.name, self.output());
        }
    }
}
