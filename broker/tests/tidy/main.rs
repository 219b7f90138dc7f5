//! Tidy: what the compiler and clippy cannot see, held by an ordinary test.
//!
//! Reads the files of the project and `cargo metadata`; starts no broker and does not link one.
//! `text` looks at single files, `directions` at who may know whom, `documented` at names that
//! code and documents share, `documented_amqp` at those of AMQP, `planted` at planted bugs, `deploy` at the files
//! under `deploy/`. What does not hold yet stands in `exceptions`, a list that may only shrink.

mod deploy;
mod directions;
mod documented;
mod documented_amqp;
mod exceptions;
mod planted;
mod source;
mod text;
mod tree;
