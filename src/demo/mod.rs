//! An embedded registry without the referrers API, for `refshim demo` and for tests: it behaves as CNCF Distribution 2.8, in memory.
//!
//! It has no referrers API and no `OCI-Subject`, and lists all tags at once and unsorted. Its contents end with it. Unlike the original, it accepts
//! sha512 digests.

mod blobs;
mod error;
mod lists;
mod registry;
mod response;
mod route;
mod sample;
mod serve;
mod store;
mod stored_manifests;
mod uploads;

use std::net::SocketAddr;

use tokio::net::TcpListener;

pub use error::RegistryError;
pub use registry::DemoRegistry;
pub use sample::{Sample, fill};
pub use serve::{Serving, serve};

/// A running embedded registry with the sample image. It ends when this is dropped.
pub struct Demo {
    pub sample: Sample,
    serving: Serving,
}

impl Demo {
    /// The address on which it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }
}

/// Why the demo cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the embedded registry cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the sample image cannot be stored: {0}")]
    Sample(#[from] RegistryError),
}

/// Serves an embedded registry with the sample image on `listener`.
pub fn start(listener: TcpListener) -> Result<Demo, DemoError> {
    let registry = DemoRegistry::default();
    let sample = fill(&registry)?;
    let serving = serve(listener, move |request| {
        let registry = registry.clone();
        async move { Ok(registry.handle(request).await) }
    })?;
    Ok(Demo { sample, serving })
}
