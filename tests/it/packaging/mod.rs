//! Promise: what is released is made by scripts that are run here, on the program of the tests instead of a release build: a crate that
//! builds, an image and a Debian package that work, and signatures that are found through refshim.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod crate_file;
mod debian;
mod image;
mod release;
mod workflow;

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;

use crate::support::process::find;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Who builds, and the run that did, in the provenance.
const BUILDER: &str = "https://builder.example.org";
const INVOCATION: &str = "https://builder.example.org/runs/1";
/// Seconds since 1970: the date of all that is made.
const EPOCH: &str = "1790000000";

fn path(relative: &str) -> PathBuf {
    Path::new(ROOT).join(relative)
}

fn read(relative: &str) -> String {
    std::fs::read_to_string(path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
}

/// What a program prints when it succeeds.
#[track_caller]
fn run(program: impl AsRef<Path>, arguments: &[&str]) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(ROOT)
        .env("SOURCE_DATE_EPOCH", EPOCH)
        // A package is to be made quickly here, not to be small.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "none")
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{} {arguments:?}\n{}{}",
        program.display(),
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// A folder with all that is released, made once for all tests by `packaging/assemble`.
async fn assembled() -> &'static Path {
    static MADE: OnceCell<PathBuf> = OnceCell::const_new();
    let made = MADE.get_or_init(|| async { tokio::task::spawn_blocking(assemble).await.expect("it is assembled") });
    made.await
}

fn assemble() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("release");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("an earlier run's is removed");
    }
    let program = folder.join("x86_64-unknown-linux-musl/refshim");
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("a folder");
    // Release builds have no symbols, of which this one has a hundred megabytes.
    let [from, to] = [Path::new(env!("CARGO_BIN_EXE_refshim")), &program].map(|path| path.to_str().expect("UTF-8"));
    run(find("strip"), &["-o", to, from]);
    run(
        path("packaging/assemble"),
        &[folder.to_str().expect("UTF-8"), BUILDER, INVOCATION],
    );
    folder
}
