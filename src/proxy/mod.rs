//! What happens to a request: it is routed, answered from the links that were found, or passed through.

mod headers;
mod rewrite;
mod route;
