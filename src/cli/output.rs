//! What goes to standard output: tables for people, JSON for programs.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use serde::Serialize;

use super::error::CliError;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON for programs; later versions add fields and change none.
    Json,
}

/// Prints `text`. A reader that closes the pipe early (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), CliError> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&(text + "\n")),
        Err(error) => Err(CliError::failed(format!(
            "the answer cannot be printed as JSON: {error}"
        ))),
    }
}

/// Columns of the terminal; `None` where standard output is none, so that whoever reads it gets everything.
pub(super) fn terminal_width() -> Option<usize> {
    let (terminal_size::Width(columns), _) = terminal_size::terminal_size_of(std::io::stdout())?;
    Some(usize::from(columns))
}

/// Text of others without the characters that would move a terminal's cursor or break the line.
pub(super) fn printable(text: &str) -> String {
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(clean).collect()
}

/// `rows` under `header`, columns aligned, last column ragged.
pub(super) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| printable(cell)))
        .collect();
    let mut widths = header.map(|title| title.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(header);
    for row in &rows {
        text.push_str(&line(row.each_ref().map(String::as_str)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_foreign_text_is_harmless() {
        let rows = [
            ["a".to_owned(), "x\x1b[31m\ny".to_owned()],
            ["longer".to_owned(), String::new()],
        ];
        assert_eq!(
            table(["ONE", "TWO"], &rows),
            "ONE     TWO\na       x\u{fffd}[31m\u{fffd}y\nlonger\n"
        );
    }
}
