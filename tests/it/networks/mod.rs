//! Promise: refshim works in networks of companies: through HTTP proxies, with certificates that no public authority issued, and it says
//! what to change where a connection fails. It never goes round in circles with itself.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod certificates;
mod circles;
mod proxies;

use std::path::Path;

use crate::support::fake::{Fake, Knobs};
use crate::support::{Pushed, TlsLink, certificate};

const APP: &str = "o/app";
/// A registry that only a proxy knows.
const HIDDEN: &str = "https://registry.test";

/// A registry with an image, which has an SBOM.
async fn registry() -> (Fake, Pushed) {
    let fake = Fake::start(Knobs::default()).await;
    let image = fake.image(APP, "v1", "image");
    fake.artifact(APP, "sbom", &image, "application/spdx+json", "sbom");
    (fake, image)
}

/// The address of a fake, without a scheme.
fn authority(fake: &Fake) -> String {
    fake.endpoint().authority().to_owned()
}

/// A registry behind TLS, with a certificate of `names` in a folder: `cert.pem`.
async fn behind_tls(fake: &Fake, names: &str) -> (TlsLink, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    certificate::make_signing(folder.path(), names);
    (TlsLink::in_front_of(&authority(fake), folder.path()).await, folder)
}

fn certificate_in(folder: &tempfile::TempDir) -> String {
    path(&folder.path().join("cert.pem"))
}

fn path(file: &Path) -> String {
    file.display().to_string()
}
