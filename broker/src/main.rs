//! The binary `raftmq`; everything is in the library.

fn main() {
    raftmq::cli::main()
}
