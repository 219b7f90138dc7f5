//! Checks the bytes of a table once, so that reading it later cannot fail.
//!
//! Takes no memory. The depth is bounded, so a table within a table within a table, however long,
//! costs neither stack nor quadratic time: each byte is looked at once.

use crate::error::SyntaxCause;
use crate::limits::TABLE_DEPTH_MAX;
use crate::slice::{take_array, take_long, take_short};

/// Checks the entries of the outermost table.
pub(crate) fn check_table(bytes: &[u8]) -> Result<(), SyntaxCause> {
    check_entries(bytes, Names::Yes, 1)
}

/// Whether entries have names, as in a table, or none, as in an array.
#[derive(Clone, Copy)]
enum Names {
    Yes,
    No,
}

fn check_entries(mut rest: &[u8], names: Names, depth: usize) -> Result<(), SyntaxCause> {
    if depth > TABLE_DEPTH_MAX {
        return Err(SyntaxCause::TooDeep {
            max: TABLE_DEPTH_MAX,
        });
    }
    while !rest.is_empty() {
        if matches!(names, Names::Yes) {
            take_short(&mut rest)?;
        }
        let [tag] = take_array(&mut rest)?;
        match tag {
            b'V' => {}
            b't' | b'b' | b'B' => skip::<1>(&mut rest)?,
            b's' | b'u' => skip::<2>(&mut rest)?,
            b'I' | b'i' | b'f' => skip::<4>(&mut rest)?,
            b'D' => skip::<5>(&mut rest)?,
            b'l' | b'L' | b'd' | b'T' => skip::<8>(&mut rest)?,
            b'S' | b'x' => {
                take_long(&mut rest)?;
            }
            b'F' | b'A' => {
                let names = if tag == b'F' { Names::Yes } else { Names::No };
                let inner = take_long(&mut rest)?;
                check_entries(inner, names, depth.saturating_add(1))?;
            }
            _ => return Err(SyntaxCause::UnknownValueType { tag }),
        }
    }
    Ok(())
}

fn skip<const N: usize>(rest: &mut &[u8]) -> Result<(), SyntaxCause> {
    take_array::<N>(rest).map(|_| ())
}
