//! An embedded registry of the old kind, for `refshim demo` and for tests: CNCF Distribution 2.8's behaviour, in memory.
//!
//! It knows no referrers: no API, no `OCI-Subject`, tags unsorted and all at once. Everything lives in memory and is gone with
//! it; sha512 content is accepted, which the original refuses.

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

/// A running embedded registry with the sample in it; it ends when this is dropped.
pub struct Demo {
    pub sample: Sample,
    serving: Serving,
}

impl Demo {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.serving.address()
    }
}

/// What can go wrong at the start.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    #[error("the embedded registry cannot listen: {0}")]
    Listen(#[from] std::io::Error),
    #[error("the sample image cannot be stored: {0}")]
    Sample(#[from] RegistryError),
}

/// Serves an embedded registry that holds the sample image on `listener`.
pub fn start(listener: TcpListener) -> Result<Demo, DemoError> {
    let registry = DemoRegistry::default();
    let sample = fill(&registry)?;
    let serving = serve(listener, move |request| {
        let registry = registry.clone();
        async move { Ok(registry.handle(request).await) }
    })?;
    Ok(Demo { sample, serving })
}
