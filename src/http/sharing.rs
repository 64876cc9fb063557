//! What a request may have in common with others.

/// The connections that a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Also one that others use at the same time, over HTTP/2. The response must be read without pause.
    Connection,
    /// Only one of its own. Its body or its response may stand still: where all use one connection, a few such would stop everything, as
    /// they share its window and the number of its streams.
    Nothing,
}
