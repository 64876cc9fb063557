//! An error and what caused it.

use std::error::Error;
use std::io;

/// The first of `error` and its causes that is an `E`.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    sources(error).find_map(|source| source.downcast_ref())
}

fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| cause(error))
}

/// An [`io::Error`] names as its source the source of what it wraps, and not that itself.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

/// An error and its causes in one line, none of them twice.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for source in sources(error) {
        let part = source.to_string();
        if text.is_empty() {
            text = part;
        } else if !text.ends_with(&part) {
            text = format!("{text}: {part}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::connector::ConnectTimedOut;

    #[test]
    fn causes_are_told_once() {
        let outer = io::Error::other(ConnectTimedOut);
        assert_eq!(chain(&outer), ConnectTimedOut.to_string());
    }

    #[test]
    fn what_an_io_error_wraps_is_found() {
        let outer = io::Error::other(io::Error::other(ConnectTimedOut));
        assert!(find::<ConnectTimedOut>(&outer).is_some());
    }
}
