//! Promise: who may read is the upstream's to say, each time anew for each caller; what is cached never crosses from one to
//! another, and credentials stay between the caller and the upstream. Memory never says more than the upstream would: neither
//! that something is there, nor that it may be read.

mod basic;
mod existence;
mod headers;
mod refusals;
mod rights;
mod secrets;
mod tokens;
