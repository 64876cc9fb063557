//! What the process uses, under the names that all Prometheus clients give it. Read at each scrape; on Linux, what `/proc` tells too.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

#[derive(Debug)]
pub(super) struct Process {
    /// Time since 1970, in seconds.
    started: f64,
}

impl Process {
    /// Of a process that starts now.
    pub(super) fn starts() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: since.unwrap_or_default().as_secs_f64(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<f64>| match value {
            Some(value) => {
                let gauge = ConstGauge::new(value);
                gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
            }
            None => Ok(()),
        };
        let seconds = Some(&Unit::Seconds);
        gauge("start_time", "When it started, since 1970", seconds, Some(self.started))?;
        gauge(
            "resident_memory",
            "Memory that it holds",
            Some(&Unit::Bytes),
            resident_memory(),
        )?;
        gauge("open_fds", "Open file descriptors", None, open_files())?;
        let most = getrlimit(Resource::Nofile).current.map(|most| most as f64);
        gauge("max_fds", "Most file descriptors that it may open", None, most)?;
        let cpu = ConstCounter::new(cpu_time());
        let help = "Time of processors that it used";
        cpu.encode(encoder.encode_descriptor("cpu", help, seconds, cpu.metric_type())?)
    }
}

/// In seconds, of all threads.
fn cpu_time() -> f64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn resident_memory() -> Option<f64> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    let resident: f64 = pages.split(' ').nth(1)?.parse().ok()?;
    Some(resident * rustix::param::page_size() as f64)
}

fn open_files() -> Option<f64> {
    let open = std::fs::read_dir("/proc/self/fd").ok()?.count();
    // One of them is that of the folder itself.
    Some(open.saturating_sub(1) as f64)
}
