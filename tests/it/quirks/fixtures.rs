//! Registries whose listings lack what is there, and refshim that searches them by computed names.

use std::path::Path;
use std::time::Duration;

use refshim::testing::config::{Config, CredentialsKind, Depth};

use crate::support::Local;
use crate::support::fake::Fake;
use crate::support::fake::knobs::{Knobs, Shown, TagPages};

/// Of the user `insider` with the password `password`.
pub const INSIDER: &str = "Basic aW5zaWRlcjpwYXNzd29yZA==";

pub fn lists(shown: Shown) -> Option<TagPages> {
    Some(TagPages {
        shown,
        ..TagPages::default()
    })
}

pub fn only(names: &[&str], asked_join: bool) -> Shown {
    Shown::Only {
        names: names.iter().map(|&name| name.to_owned()).collect(),
        asked_join,
    }
}

/// A registry that lists these tags alone, whatever is pushed and asked for.
pub async fn lists_only(names: &[&str]) -> Fake {
    Fake::start(Knobs {
        tags: lists(only(names, false)),
        ..Knobs::default()
    })
    .await
}

/// Searches by computed names. No answer is served past its freshness while it is renewed.
pub fn by_names(config: &mut Config) {
    config.links.depth = Depth::Names;
    config.cache.stale_while_revalidate = Duration::ZERO;
}

/// `links.credentials`: the user `insider` lists for callers.
pub fn lists_as_insider(config: &mut Config, password: &Path) {
    let account = &mut config.upstreams[0].listing_credentials;
    account.kind = CredentialsKind::Static;
    account.username = Some("insider".into());
    account.password_file = Some(password.to_owned());
}

pub async fn front(fake: &Fake) -> Local {
    Local::configured(&fake.url(), by_names).await
}
