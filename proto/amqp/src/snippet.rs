//! The quotes of a payload in RabbitMQ's error texts, as Erlang prints a binary.
//!
//! Knows ASCII only: Erlang also prints other letters as text; here they come out as numbers.

use std::fmt;

use crate::limits::SNIPPET_BYTES_MAX;

/// Shows the first octets of a payload: `all octets = <<"ab">>` or `first 16 octets = <<0,1,…>>`.
pub(crate) struct Snippet<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.get(..SNIPPET_BYTES_MAX).unwrap_or(self.0);
        let which = if shown.len() == self.0.len() {
            "all"
        } else {
            "first 16"
        };
        write!(f, "{which} octets = ")?;
        write_binary(f, shown)
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    let is_text = octets.iter().all(|&octet| matches!(octet, 0x20..=0x7e));
    f.write_str("<<")?;
    if is_text && !octets.is_empty() {
        f.write_str("\"")?;
        for &octet in octets {
            if matches!(octet, b'"' | b'\\') {
                f.write_str("\\")?;
            }
            write!(f, "{}", char::from(octet))?;
        }
        f.write_str("\"")?;
    } else {
        for (at, octet) in octets.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{octet}")?;
        }
    }
    f.write_str(">>")
}

/// Cuts text to a number of bytes, between two characters.
pub(crate) fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_quoted_as_erlang_prints_it() {
        assert_eq!(Snippet(b"").to_string(), "all octets = <<>>");
        assert_eq!(Snippet(b"a\"b").to_string(), r#"all octets = <<"a\"b">>"#);
        assert_eq!(
            Snippet(&[0, 10, 255]).to_string(),
            "all octets = <<0,10,255>>"
        );
        let long = Snippet(b"0123456789abcdefg").to_string();
        assert_eq!(long, r#"first 16 octets = <<"0123456789abcdef">>"#);
    }

    #[test]
    fn text_is_cut_between_characters() {
        let mut text = "aé".to_owned();
        truncate(&mut text, 2);
        assert_eq!(text, "a");
    }
}
