//! A spreadsheet of messages, saved as CSV: comma or semicolon, UTF-8 or the old Windows code
//! page, numbers as people type them.

use std::collections::HashMap;
use std::path::Path;

use delivery::address::{Address, Context, Flag};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::exit::Failure;
use crate::api::check_message;
use crate::effects::Effects;

/// Names under which the column of numbers is found.
const NUMBER_COLUMNS: [&str; 9] = [
    "to",
    "phone",
    "telefone",
    "celular",
    "whatsapp",
    "numero",
    "número",
    "fone",
    "telephone",
];
/// Columns that go to the API under their own name.
const FIELD_COLUMNS: [&str; 10] = [
    "body",
    "content_sid",
    "media_url",
    "kind",
    "priority",
    "send_at",
    "expires_at",
    "delivery",
    "business_key",
    "business_scope",
];

/// What is the same for every row, unless the row says otherwise.
#[derive(Clone, Default)]
pub(super) struct Defaults {
    pub(super) fields: Vec<(&'static str, String)>,
    /// Send to numbers that look like typing mistakes too.
    pub(super) doubtful: bool,
}

/// One row of the sheet.
pub(super) struct Row {
    /// Line of the file, from 1.
    pub(super) line: u64,
    /// The number as typed.
    pub(super) input: String,
    /// Whether it can be sent.
    pub(super) verdict: Verdict,
}

/// Whether a row can be sent.
pub(super) enum Verdict {
    /// It can be sent.
    Good {
        address: Address,
        /// The message for the API, with the row's idempotency key.
        message: Value,
        /// Remarks about the number.
        flags: Vec<&'static str>,
    },
    /// It says the same to the same person as an earlier row.
    Repeated {
        /// Line of the earlier row.
        of: u64,
    },
    /// It cannot be sent.
    Bad {
        /// A stable code.
        code: String,
        /// What was wrong and what to do.
        detail: String,
    },
}

/// Reads a sheet.
pub(super) fn read(path: &Path, defaults: &Defaults) -> Result<Vec<Row>, Failure> {
    read_text(&text(path)?, defaults)
}

/// The text of a file, in any of the usual encodings.
pub(super) fn text(path: &Path) -> Result<String, Failure> {
    let raw = std::fs::read(path)
        .map_err(|error| anyhow::anyhow!("{} cannot be read: {error}", path.display()))?;
    if raw.starts_with(&[0xff, 0xfe]) || raw.starts_with(&[0xfe, 0xff]) {
        return Err(Failure::Usage(vec![format!(
            "{} is written in UTF-16; save it as CSV in UTF-8",
            path.display()
        )]));
    }
    Ok(decode(&raw))
}

/// A reader of rows that may be longer or shorter than the header, with comma or semicolon.
pub(super) fn reader(text: &str) -> csv::Reader<&[u8]> {
    let header = text.trim_start().lines().next().unwrap_or_default();
    let semicolons = header.matches(';').count() > header.matches(',').count();
    csv::ReaderBuilder::new()
        .delimiter(if semicolons { b';' } else { b',' })
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// Reads the text of a sheet.
pub(super) fn read_text(text: &str, defaults: &Defaults) -> Result<Vec<Row>, Failure> {
    if text.trim().is_empty() {
        return Err(Failure::Usage(vec!["the file is empty".to_owned()]));
    }
    let mut reader = reader(text);
    let headers: Vec<String> = reader
        .headers()?
        .iter()
        .map(|h| h.trim().to_owned())
        .collect();
    let Some(number_column) = headers
        .iter()
        .position(|header| NUMBER_COLUMNS.contains(&header.to_lowercase().as_str()))
    else {
        return Err(Failure::Usage(vec![format!(
            "the file has no column for the number; name one of {}",
            NUMBER_COLUMNS.join(", ")
        )]));
    };
    let now = Effects::real().clock.now();
    let mut rows = Vec::new();
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut lines = Lines::of(text);
    for record in reader.records() {
        let record = record?;
        let line = lines.at(record.position().map_or(0, csv::Position::byte));
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        let input = record.get(number_column).unwrap_or_default().to_owned();
        let mut verdict = judge(&input, &headers, &record, defaults);
        if let Verdict::Good { message, .. } = &verdict
            && let Err(problem) = check_message(&message.to_string(), now)
        {
            let first = problem.errors.into_iter().next();
            verdict = match first {
                Some(wrong) => Verdict::Bad {
                    code: wrong.code,
                    detail: format!("{}: {}", wrong.field, wrong.detail),
                },
                None => Verdict::Bad {
                    code: problem.code,
                    detail: problem.detail,
                },
            };
        }
        if let Verdict::Good { message, .. } = &verdict {
            let key = message
                .get("idempotency_key")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if let Some(of) = seen.get(key) {
                verdict = Verdict::Repeated { of: *of };
            } else {
                seen.insert(key.to_owned(), line);
            }
        }
        rows.push(Row {
            line,
            input,
            verdict,
        });
    }
    Ok(rows)
}

fn judge(
    input: &str,
    headers: &[String],
    record: &csv::StringRecord,
    defaults: &Defaults,
) -> Verdict {
    let bad = |code: &str, detail: &str| Verdict::Bad {
        code: code.to_owned(),
        detail: detail.to_owned(),
    };
    let parsed = match Address::parse(input, Context::Sheet) {
        Ok(parsed) => parsed,
        Err(rejection) => return bad(rejection.reason.as_str(), rejection.reason.explain()),
    };
    let doubtful =
        parsed.flags.contains(Flag::MaybeTruncated) || parsed.flags.contains(Flag::SuspectRepeated);
    if doubtful && !defaults.doubtful {
        return bad(
            "doubtful",
            "The number may have lost a digit or be a placeholder. Check it, or send with \
             --send-doubtful.",
        );
    }
    let mut message = Map::new();
    for (name, value) in &defaults.fields {
        message.insert((*name).to_owned(), Value::String(value.clone()));
    }
    let mut variables = Map::new();
    for (header, cell) in headers.iter().zip(record.iter()) {
        let name = header.to_lowercase();
        let cell = cell.trim();
        if cell.is_empty() {
            continue;
        }
        if FIELD_COLUMNS.contains(&name.as_str()) {
            message.insert(name, Value::String(cell.to_owned()));
        } else if let Some(variable) = variable_name(header) {
            variables.insert(variable.to_owned(), Value::String(cell.to_owned()));
        }
    }
    let has_content = ["body", "content_sid", "media_url"]
        .iter()
        .any(|n| message.contains_key(*n));
    if !has_content {
        return bad(
            "content_missing",
            "The row has no body, content_sid or media_url, and none was given for all rows.",
        );
    }
    if !variables.is_empty() && message.contains_key("content_sid") {
        message.insert("variables".to_owned(), Value::Object(variables));
    }
    message.insert(
        "to".to_owned(),
        Value::String(parsed.address.canonical().to_owned()),
    );
    let key = idempotency_key(&message);
    message.insert("idempotency_key".to_owned(), Value::String(key));
    let flags = parsed.flags.iter().map(Flag::as_str).collect();
    Verdict::Good {
        address: parsed.address,
        message: Value::Object(message),
        flags,
    }
}

/// Columns that hold values of a template: `1`, `2`, `3` … or `var:name`.
fn variable_name(header: &str) -> Option<&str> {
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        return Some(header);
    }
    header
        .strip_prefix("var:")
        .map(str::trim)
        .filter(|name| !name.is_empty())
}

/// The same row of the same file, or of another one, has the same key: sending a file twice sends
/// nothing twice.
fn idempotency_key(message: &Map<String, Value>) -> String {
    let mut sorted: Vec<(&String, &Value)> = message.iter().collect();
    sorted.sort_by_key(|(name, _)| name.as_str());
    let mut hash = Sha256::new();
    for (name, value) in sorted {
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value.to_string().as_bytes());
        hash.update([0]);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let hex: String = digest
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("row-{hex}")
}

/// Finds the lines of rows. The reader's own count stops before empty lines that it skips.
struct Lines<'a> {
    text: &'a [u8],
    seen: usize,
    line: u64,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            text: text.as_bytes(),
            seen: 0,
            line: 1,
        }
    }

    /// The line, from 1, of the first letter at or after a byte; bytes only grow.
    fn at(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(letter) = self.text.get(self.seen) {
            if self.seen >= byte && !matches!(letter, b'\n' | b'\r') {
                break;
            }
            self.line += u64::from(*letter == b'\n');
            self.seen += 1;
        }
        self.line
    }
}

/// What Windows-1252 has where Latin-1 has no letters, from 0x80 to 0x9f (Unicode's mapping
/// table CP1252); the five that it leaves open stay what they are.
const WINDOWS_1252: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
];

/// UTF-8 with or without a byte order mark, else Windows-1252, which Excel writes.
fn decode(raw: &[u8]) -> String {
    let raw = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    match std::str::from_utf8(raw) {
        Ok(text) => text.to_owned(),
        Err(_) => raw
            .iter()
            .map(|byte| {
                let special = usize::from(*byte).checked_sub(0x80);
                let special = special.and_then(|place| WINDOWS_1252.get(place));
                special.copied().unwrap_or_else(|| char::from(*byte))
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(text: &str, defaults: &Defaults) -> Vec<String> {
        read_text(text, defaults)
            .ok()
            .unwrap()
            .iter()
            .map(|row| match &row.verdict {
                Verdict::Good {
                    address, message, ..
                } => {
                    format!(
                        "{} {}",
                        address.canonical(),
                        crate::cli::text::text(message, "body")
                    )
                }
                Verdict::Repeated { of } => format!("repeated {of}"),
                Verdict::Bad { code, .. } => code.clone(),
            })
            .collect()
    }

    #[test]
    fn rows_are_judged_one_by_one() {
        let text = "nome,telefone,body\nAna,(85) 98888-7777,oi\nBia,85 8888-7777,oi\nCau,98888-7777,oi\n\
                    Davi,99999999999,oi\nEva,85 98888-7778,\n\n";
        let defaults = Defaults::default();
        let expected = [
            "+5585988887777 oi",
            "repeated 2",
            "missing_ddd",
            "doubtful",
            "content_missing",
        ];
        assert_eq!(verdicts(text, &defaults), expected);
        let all = Defaults {
            fields: vec![("body", "olá".into())],
            doubtful: true,
        };
        let expected = [
            "+5585988887777 oi",
            "repeated 2",
            "missing_ddd",
            "+5599999999999 oi",
            "+5585988887778 olá",
        ];
        assert_eq!(verdicts(text, &all), expected);
    }

    #[test]
    fn what_the_api_would_refuse_is_refused_before_it() {
        let long = "a".repeat(1_601);
        let text = format!(
            "telefone,body,content_sid,send_at\n85988887777,{long},,\n85988887778,,HX123,\n\
             85988887779,oi,,amanhã\n85988887780,oi,,\n"
        );
        let rows = read_text(&text, &Defaults::default()).ok().unwrap();
        let good: Vec<bool> = rows
            .iter()
            .map(|row| matches!(row.verdict, Verdict::Good { .. }))
            .collect();
        assert_eq!(good, [false, false, false, true]);
        let Verdict::Bad { detail, .. } = &rows[1].verdict else {
            panic!("bad")
        };
        assert!(detail.starts_with("content_sid: "), "{detail}");
    }

    #[test]
    fn semicolons_old_code_pages_and_variables_are_read() {
        let raw = b"celular;1;var:hora;obs\n85988887777;Jo\xe3o;14:00;x\n";
        let defaults = Defaults {
            fields: vec![("content_sid", "HX0123456789abcdef0123456789abcdef".into())],
            doubtful: false,
        };
        let rows = read_text(&decode(raw), &defaults).ok().unwrap();
        let Verdict::Good { message, .. } = &rows[0].verdict else {
            panic!("good")
        };
        let variables = message.get("variables").unwrap();
        assert_eq!(variables.get("1").unwrap(), "João");
        assert_eq!(variables.get("hora").unwrap(), "14:00");
        assert!(message.get("obs").is_none());
    }
}
