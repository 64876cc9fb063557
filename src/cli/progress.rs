//! The progress of long work, shown on terminals only.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

/// A bar of `steps` steps on standard error, where that is a terminal; dropping it removes it from there.
pub(super) fn bar(what: &'static str, steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64).with_finish(ProgressFinish::AndClear);
    // The template is right; without it there would be a bar too.
    if let Ok(style) = ProgressStyle::with_template("{msg}: {pos} of {len} {wide_bar} {eta}") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}

/// The same for so many bytes.
pub(super) fn byte_bar(what: &'static str, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_finish(ProgressFinish::AndClear);
    if let Ok(style) = ProgressStyle::with_template("{msg}: {bytes} of {total_bytes} {wide_bar} {bytes_per_sec} {eta}")
    {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
