//! Password hashes: how they are made and checked.
//!
//! Owns their bytes, which the metadata keeps without looking: a version, a salt, and SHA-256 over salt
//! and password, as RabbitMQ's `rabbit_password_hashing_sha256` with a longer salt. A slow hash would
//! guard a stolen image better, but every connection pays for it, and after a failover all clients
//! connect at once.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use raftmq_core::cluster::amqp::PasswordHash;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// SHA-256 over salt and password.
const SALTED_SHA_256: u8 = 1;
/// Length of a salt, bytes.
pub(crate) const SALT_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
/// Length of a password that is set, bytes, inclusive.
pub(crate) const PASSWORD_BYTES_MAX: usize = 1_024;

/// A password that is not set.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum PasswordError {
    /// Nothing to guess.
    #[error("password is empty")]
    Empty,
    /// Longer than anybody types.
    #[error("password takes {actual} bytes, more than the limit of {PASSWORD_BYTES_MAX}")]
    TooLong {
        /// Its length.
        actual: usize,
    },
}

/// Checks a password that is to be set.
///
/// # Errors
/// See [`PasswordError`].
pub(crate) const fn check(password: &[u8]) -> Result<(), PasswordError> {
    match password.len() {
        0 => Err(PasswordError::Empty),
        1..=PASSWORD_BYTES_MAX => Ok(()),
        actual => Err(PasswordError::TooLong { actual }),
    }
}

/// Hashes a password with a salt that is random and used once.
pub(crate) fn hash(salt: [u8; SALT_BYTES], password: &[u8]) -> PasswordHash {
    let mut bytes = BytesMut::with_capacity(1 + SALT_BYTES + DIGEST_BYTES);
    bytes.put_u8(SALTED_SHA_256);
    bytes.put_slice(&salt);
    bytes.put_slice(&digest(&salt, password));
    PasswordHash(bytes.freeze())
}

/// Tells whether a password is the one that was hashed. A hash of another kind, or none, matches no
/// password; how long it takes does not say how much of it is right.
pub(crate) fn verify(hash: &PasswordHash, password: &[u8]) -> bool {
    let Some((salt, expected)) = split(&hash.0) else {
        return false;
    };
    let actual = digest(salt, password);
    let differences = actual
        .iter()
        .zip(expected)
        .fold(0, |all, (one, other)| black_box(all | (one ^ other)));
    differences == 0
}

fn split(hash: &Bytes) -> Option<(&[u8], &[u8])> {
    let (kind, rest) = hash.split_first()?;
    let is_ours = *kind == SALTED_SHA_256 && rest.len() == SALT_BYTES + DIGEST_BYTES;
    is_ours.then(|| rest.split_at(SALT_BYTES))
}

fn digest(salt: &[u8], password: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut sha = Sha256::new();
    sha.update(salt);
    sha.update(password);
    sha.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let guest = hash([7; SALT_BYTES], b"guest");
        assert!(verify(&guest, b"guest"));
        for other in [&b""[..], b"Guest", b"guest ", b"guest\0"] {
            assert!(!verify(&guest, other), "{other:?}");
        }
        assert_ne!(guest, hash([8; SALT_BYTES], b"guest"), "salted");
    }

    #[test]
    fn an_empty_password_and_an_endless_one_are_not_set() {
        assert_eq!(check(b""), Err(PasswordError::Empty));
        assert_eq!(check(b"x"), Ok(()));
        assert_eq!(check(&[b'x'; PASSWORD_BYTES_MAX]), Ok(()));
        let actual = PASSWORD_BYTES_MAX + 1;
        let long = vec![b'x'; actual];
        assert_eq!(check(&long), Err(PasswordError::TooLong { actual }));
    }

    #[test]
    fn a_hash_of_another_kind_or_length_matches_nothing() {
        let good = hash([7; SALT_BYTES], b"");
        let mut other_kind = good.0.to_vec();
        other_kind[0] = 2;
        let cut = good.0.slice(..good.0.len() - 1);
        for bad in [Bytes::new(), other_kind.into(), cut] {
            assert!(!verify(&PasswordHash(bad), b""));
        }
        assert!(verify(&good, b""), "the empty password has a hash like any");
    }
}
