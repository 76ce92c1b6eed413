//! `recado address`: shows how phone numbers are parsed.

use clap::{Args, ValueEnum};
use delivery::address::{Address, Context};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::{print, sheet};

/// Show how phone numbers are parsed
#[derive(Args)]
#[command(after_help = "Examples:
  recado address '(85) 98888-7777' '+55 11 3333-4444'
  recado address --json --context inbound whatsapp:+558588887777
  recado address --csv people.csv        columns input and context; others are ignored")]
pub(super) struct AddressCommand {
    /// Phone numbers as people type them
    #[arg(allow_negative_numbers = true)]
    numbers: Vec<String>,
    /// A CSV file with the columns `input` and, optionally, `context`
    #[arg(long, value_name = "FILE", conflicts_with = "numbers")]
    csv: Option<std::path::PathBuf>,
    /// Where the numbers come from
    #[arg(long, value_enum, default_value = "typed")]
    context: ContextWord,
    /// Write one JSON object for each number
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum ContextWord {
    /// Typed by a person
    Typed,
    /// A cell of a spreadsheet
    Sheet,
    /// The provider's From or To
    Inbound,
    /// The provider's WaId
    #[value(name = "inbound_waid")]
    InboundWaid,
}

/// How a number was parsed.
#[derive(Serialize)]
struct Reading {
    input: String,
    /// `ok` or `reject`.
    status: &'static str,
    /// Why it was rejected, in a stable word.
    reason: Option<&'static str>,
    #[serde(rename = "type")]
    kind: Option<String>,
    e164: Option<String>,
    ddd: Option<String>,
    uf: Option<String>,
    flags: Vec<&'static str>,
    /// `ok`, `not_addressable` (a real number that takes no messages) or `invalid`.
    verdict: &'static str,
    /// What to send to: `whatsapp:+…`.
    whatsapp: Option<String>,
    /// The country.
    region: Option<String>,
    /// Why it was rejected, in a sentence.
    explanation: Option<&'static str>,
}

pub(super) fn run(command: &AddressCommand) -> Result<Exit, Failure> {
    let inputs = match &command.csv {
        Some(path) => read_csv(path, command.context)?,
        None => command
            .numbers
            .iter()
            .map(|n| (n.clone(), command.context))
            .collect(),
    };
    if inputs.is_empty() && command.csv.is_none() {
        return Err(Failure::Usage(vec![
            "give numbers, or --csv FILE".to_owned(),
        ]));
    }
    let readings: Vec<Reading> = inputs
        .into_iter()
        .map(|(input, context)| read(input, context))
        .collect();
    if command.json {
        readings.iter().for_each(print::json);
    } else {
        let rows = readings.iter().map(|reading| {
            vec![
                reading.input.clone(),
                reading.verdict.to_owned(),
                reading.e164.clone().unwrap_or_default(),
                reading.kind.clone().unwrap_or_default(),
                reading.uf.clone().unwrap_or_default(),
                reading
                    .explanation
                    .map_or_else(|| reading.flags.join(", "), str::to_owned),
            ]
        });
        print::table(
            &["input", "verdict", "e164", "type", "state", "remarks"],
            rows,
        );
    }
    Ok(Exit::Complete)
}

fn read_csv(
    path: &std::path::Path,
    default: ContextWord,
) -> Result<Vec<(String, ContextWord)>, Failure> {
    let text = sheet::text(path)?;
    let mut reader = sheet::reader(&text);
    let headers = reader.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim() == name);
    let Some(input) = column("input") else {
        return Err(Failure::Usage(vec![
            "the file has no column `input`".to_owned(),
        ]));
    };
    let context = column("context");
    let mut inputs = Vec::new();
    for row in reader.records() {
        let row = row?;
        let word = context
            .and_then(|column| row.get(column))
            .unwrap_or_default();
        let context = match ContextWord::from_str(word, false) {
            Ok(context) => context,
            Err(_) if word.is_empty() => default,
            Err(_) => {
                let text = format!("`{word}` is not typed, sheet, inbound or inbound_waid");
                return Err(Failure::Usage(vec![text]));
            }
        };
        inputs.push((row.get(input).unwrap_or_default().to_owned(), context));
    }
    Ok(inputs)
}

fn read(input: String, context: ContextWord) -> Reading {
    let context = match context {
        ContextWord::Typed => Context::Typed,
        ContextWord::Sheet => Context::Sheet,
        ContextWord::Inbound => Context::Inbound,
        ContextWord::InboundWaid => Context::InboundWaid,
    };
    match Address::parse(&input, context) {
        Ok(parsed) => {
            let area = parsed.address.area_code();
            Reading {
                status: "ok",
                reason: None,
                kind: Some(parsed.address.kind().as_str().to_owned()),
                e164: parsed.address.e164().map(str::to_owned),
                ddd: area.map(|area| area.ddd.to_string()),
                uf: area.map(|area| area.uf.to_owned()),
                flags: parsed
                    .flags
                    .iter()
                    .map(delivery::address::Flag::as_str)
                    .collect(),
                verdict: "ok",
                whatsapp: Some(parsed.address.whatsapp()),
                region: parsed.address.region().map(str::to_owned),
                explanation: None,
                input,
            }
        }
        Err(rejection) => Reading {
            status: "reject",
            reason: Some(rejection.reason.as_str()),
            kind: rejection
                .known
                .as_ref()
                .map(|known| known.kind.as_str().to_owned()),
            e164: rejection
                .known
                .as_ref()
                .and_then(|known| known.e164.clone()),
            ddd: None,
            uf: None,
            flags: Vec::new(),
            verdict: rejection.status.as_str(),
            whatsapp: None,
            region: rejection
                .known
                .as_ref()
                .map(|known| known.region.to_owned()),
            explanation: Some(rejection.reason.explain()),
            input,
        },
    }
}
