//! The binary `raftmq`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    raftmq::cli::main()
}
