//! Takes numbers and counted bytes off the front of a slice, each checked against what remains.
//!
//! Takes no memory and shares nothing: for bytes that are looked at, not kept. Knows no format.

use crate::error::SyntaxCause;

/// Takes so many octets, known when the program is built.
pub(crate) fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SyntaxCause> {
    let (array, behind) = rest.split_first_chunk().ok_or(SyntaxCause::Truncated {
        needed: N,
        remaining: rest.len(),
    })?;
    *rest = behind;
    Ok(*array)
}

/// Takes so many octets.
pub(crate) fn take<'a>(rest: &mut &'a [u8], needed: usize) -> Result<&'a [u8], SyntaxCause> {
    let remaining = rest.len();
    let cause = SyntaxCause::Truncated { needed, remaining };
    rest.split_off(..needed).ok_or(cause)
}

/// Takes octets behind a length of one octet.
pub(crate) fn take_short<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], SyntaxCause> {
    let [length] = take_array(rest)?;
    take(rest, usize::from(length))
}

/// Takes octets behind a length of four octets.
pub(crate) fn take_long<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], SyntaxCause> {
    let length = u32::from_be_bytes(take_array(rest)?);
    take(rest, usize::try_from(length).unwrap_or(usize::MAX))
}
