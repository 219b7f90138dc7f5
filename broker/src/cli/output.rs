//! The only place of the command line that writes to stdout and stderr.
//!
//! Results go to stdout, in the form that `-o` asks for; progress and notes go to stderr. Knows
//! nothing of what is written.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::error::{CliResult, io_failure};

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // Plain comments: what stands here with three slashes makes every --help long.
    // For people.
    #[default]
    Table,
    // One JSON document, or one per record.
    Json,
}

/// Writes `value` as one line of JSON.
pub(crate) fn print_json<T: Serialize>(value: &T) -> CliResult {
    let text = serde_json::to_string(value).expect("our output types always serialise");
    print_line(&text)
}

/// Writes one line of text to stdout at once.
pub(crate) fn print_line(text: &str) -> CliResult {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| io_failure("write to stdout", &error))
}

/// A buffered stdout, for commands that write much.
pub(crate) fn buffered_stdout() -> BufWriter<StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Writes one line to stderr; a closed stderr is nobody's problem.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a table for people: a header, then rows; plain enough for `awk`.
pub(crate) fn print_table(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> CliResult {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    print_line(&table.trim_fmt())
}

/// A name that anybody may have chosen, for a terminal: control characters are written out.
pub(crate) fn harmless(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// Whether progress bars make sense: stderr is a terminal that can move its cursor.
pub(crate) fn is_interactive() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether colours are welcome (`NO_COLOR` set and not empty says no).
pub(crate) fn wants_colour() -> bool {
    is_interactive() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Microseconds as a short text in a fitting unit.
pub(crate) fn duration_text(micros: u64) -> String {
    match micros {
        0..=999 => format!("{micros} us"),
        1_000..=999_999 => format!("{}.{:02} ms", micros / 1_000, micros % 1_000 / 10),
        1_000_000.. => format!(
            "{}.{:02} s",
            micros / 1_000_000,
            micros % 1_000_000 / 10_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(harmless("orders.ä 1"), "orders.ä 1");
        assert_eq!(harmless("a\x1b[2J\nb"), "a\\u{1b}[2J\\nb");
    }

    #[test]
    fn durations_take_a_fitting_unit() {
        assert_eq!(duration_text(7), "7 us");
        assert_eq!(duration_text(1_234), "1.23 ms");
        assert_eq!(duration_text(2_050_000), "2.05 s");
    }
}
