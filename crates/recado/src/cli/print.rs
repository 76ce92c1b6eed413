//! The only place that writes to the terminal.

use std::io::{IsTerminal, Write};

use comfy_table::{ContentArrangement, LineStyle, TableStyle};

/// Writes a line of data to stdout. That the reader has closed the pipe (`| head`) is no error.
pub(super) fn line(text: &str) {
    let mut stdout = std::io::stdout().lock();
    if writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// Writes a value as one line of JSON.
pub(super) fn json(value: &impl serde::Serialize) {
    line(&serde_json::to_string(value).unwrap_or_default());
}

/// Writes a note to stderr.
pub(super) fn note(text: &str) {
    // Without a terminal there is nobody to read it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes what went wrong to stderr.
pub(super) fn problem(text: &str) {
    note(&format!("recado: {text}"));
}

/// Whether stderr is a terminal, for progress bars and colors.
pub(super) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether somebody sits at the terminal who can be asked.
pub(super) fn can_ask() -> bool {
    is_terminal() && std::io::stdin().is_terminal()
}

/// Asks on stderr; only `y` or `yes` means yes.
pub(super) fn ask(question: &str) -> bool {
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let answer = answer.trim().to_lowercase();
    read.is_ok() && matches!(answer.as_str(), "y" | "yes")
}

/// A line under the header and nothing else.
const TABLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with a header row, as wide as the terminal at most.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = comfy_table::Table::new();
    table.load_style(TABLE).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    if let Some((_, columns)) = console::Term::stdout().size_checked() {
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(columns);
    }
    line(&table.trim_fmt());
}
