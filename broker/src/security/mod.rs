//! What users prove who they are with, and what they may do: passwords and patterns of permissions, for
//! every front end that checks or sets them.
//!
//! Pure. Does not know where users are kept, who asks, nor any protocol.

pub(crate) mod password;
pub(crate) mod patterns;
