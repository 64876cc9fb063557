//! A registry with rights, and refshim in front of it that keeps links in `{name}.refs`.

use std::io::Write as _;
use std::path::Path;

use base64::Engine as _;
use refshim::testing::config::{Config, CredentialsKind};
use refshim::testing::oci::SiblingTemplate;
use tempfile::NamedTempFile;

use crate::support::fake::{Fake, Knobs, Trouble};
use crate::support::{Endpoint, Local, Seen};

/// The image's repository, and the one beside it.
pub const APP: &str = "o/app";
pub const REFS: &str = "o/app.refs";
pub const SBOM: &str = "application/vnd.acme.sbom.v1+json";

/// A fake registry: `keeper` may do everything, `writer` everything in `o/app`, `reader` may pull there, and anybody else nothing.
pub struct Stage {
    pub fake: Fake,
    pub refshim: Local,
    _password: NamedTempFile,
}

impl Stage {
    pub async fn new(knobs: Knobs) -> Self {
        Self::configured(knobs, |_| ()).await
    }

    pub async fn configured(knobs: Knobs, change: impl FnOnce(&mut Config)) -> Self {
        let fake = Fake::start(knobs).await;
        guard(&fake);
        let password = password();
        let refshim = Local::configured(&fake.url(), |config| {
            keeps_beside(config);
            has_account(config, password.path());
            change(config);
        })
        .await;
        Self {
            fake,
            refshim,
            _password: password,
        }
    }

    pub fn as_user(&self, user: &str) -> Endpoint {
        self.refshim.endpoint().basic(user, "x")
    }

    /// The registry itself, as somebody who may do everything.
    pub fn straight(&self) -> Endpoint {
        self.fake.endpoint().basic("keeper", "x")
    }

    /// The requests so far that reached the repository beside, forgotten with all others.
    pub fn asked_beside(&self) -> Vec<String> {
        let beside = |line: &String| line.contains(&format!("/v2/{REFS}/"));
        self.fake.take().into_iter().filter(beside).collect()
    }
}

/// Links are kept in `{name}.refs`.
pub fn keeps_beside(config: &mut Config) {
    config.upstreams[0].siblings = Some(SiblingTemplate::parse("{name}.refs").unwrap());
}

/// refshim's own account is `keeper`.
pub fn has_account(config: &mut Config, password: &Path) {
    let account = &mut config.upstreams[0].listing_credentials;
    account.kind = CredentialsKind::Static;
    account.username = Some("keeper".into());
    account.password_file = Some(password.to_owned());
}

pub fn password() -> NamedTempFile {
    let mut password = NamedTempFile::new().unwrap();
    password.write_all(b"x").unwrap();
    password
}

pub fn basic(user: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:x"));
    format!("Basic {pair}")
}

pub fn guard(fake: &Fake) {
    let challenge = [("www-authenticate", "Basic realm=\"registry\"")];
    fake.trouble(Trouble::answer(401, &challenge, ""), |seen| {
        seen.path == "/v2/" && seen.authorization().is_none()
    });
    let denied = Trouble::oci(403, "DENIED", "requested access to the resource is denied");
    fake.trouble(denied, |seen| seen.path != "/v2/" && !is_granted(seen));
}

/// Signed storage asks nobody for a password.
fn is_granted(seen: &Seen) -> bool {
    let is_read = matches!(seen.method.as_str(), "GET" | "HEAD");
    let is_of_app = seen.path.starts_with(&format!("/v2/{APP}/"));
    match seen.authorization() {
        Some(shown) if shown == basic("keeper") => true,
        Some(shown) if shown == basic("writer") => is_of_app,
        Some(shown) if shown == basic("reader") => is_of_app && is_read,
        _ => !seen.path.starts_with("/v2/"),
    }
}

/// Whether a request is about the repository beside.
pub fn is_beside(seen: &Seen) -> bool {
    seen.path.starts_with(&format!("/v2/{REFS}/"))
}
