//! Promise: who may read is the upstream's to say, each time anew for each caller; what is cached never crosses from one to
//! another, and credentials stay between the caller and the upstream.

mod basic;
mod refusals;
mod secrets;
mod tokens;

#[path = "../support/mod.rs"]
mod support;
