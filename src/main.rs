//! The `refshim` program; everything is in the library.

use std::process::ExitCode;

/// musl's own allocator has one lock for all threads, and gives memory back to the system at once.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    refshim::main()
}
