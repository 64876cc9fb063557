//! One registry as typed calls, asked of real registries and of scripted ones that behave as `docs` say registries do.

mod forward;
mod kinds;
mod listing_end;
mod moves;
mod native;
mod reads;
mod redirects;
mod refresh;
mod scripted;
mod seek;
mod tags;
mod tls;
mod walk;
mod writes;

use refshim::testing::config::{LimitsConfig, UpstreamConfig};
use refshim::testing::oci::{Digest, Reference, RepositoryName};
use refshim::testing::registry::{Answer, Caller, TagNames, Upstream, UpstreamError};

/// The upstream at `url` with its settings changed.
fn upstream_with(url: &str, change: impl FnOnce(&mut UpstreamConfig, &mut LimitsConfig)) -> Upstream {
    let mut config = UpstreamConfig::new(url.parse().unwrap());
    let mut limits = LimitsConfig::default();
    change(&mut config, &mut limits);
    Upstream::new(&config, &limits).unwrap()
}

fn upstream(url: &str) -> Upstream {
    upstream_with(url, |_, _| {})
}

fn repository() -> RepositoryName {
    RepositoryName::parse("team/app").unwrap()
}

fn reference(text: &str) -> Reference {
    Reference::parse(text).unwrap()
}

fn digest(bytes: impl AsRef<[u8]>) -> Digest {
    Digest::sha256(bytes.as_ref())
}

fn anyone() -> Caller {
    Caller::anonymous()
}

fn alice() -> Caller {
    Caller::with(Some("Bearer alice".parse().unwrap()))
}

#[track_caller]
fn found<T: std::fmt::Debug>(answer: Result<Answer<T>, UpstreamError>) -> T {
    match answer {
        Ok(Answer::Found(found)) => found,
        other => panic!("nothing found: {other:?}"),
    }
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(answer: Result<T, UpstreamError>) -> String {
    match answer {
        Err(UpstreamError::Invalid(reason)) => reason,
        other => panic!("taken as valid: {other:?}"),
    }
}

fn names(tags: &TagNames) -> Vec<&str> {
    tags.iter().collect()
}
