//! What browsers may do with a page.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

/// The only script, part of every page: it adds buttons that copy. Without it, nothing is missing that people could not select.
pub(super) const SCRIPT: &str = include_str!("copy.js");

/// The content security policy: whatever markup might get into a page, browsers load nothing but the style sheet and the icon, run no
/// script but the one of this hash, and submit forms to refshim only. `'self'` would not do for scripts: a registry's content has the
/// same origin.
pub static CONTENT_SECURITY_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(SCRIPT));
    format!(
        "default-src 'none'; script-src 'sha256-{hash}'; style-src 'self'; img-src 'self'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    )
});
