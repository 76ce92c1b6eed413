//! What to do about an error code. The table is data: Twilio renames and splits codes, and
//! operators may override a row in a file of their own.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use crate::message::Kind;

/// The classes of `data/twilio_error_actions.csv`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Repeat with exponential backoff and jitter, a few minutes in total.
    RetryBackoff,
    /// Hold what [`Scope`] names and try again after minutes to a day.
    RetryLater,
    /// The outcome is unknown: look first, then decide.
    ReconcileThenRetry,
    /// Fail; the person cannot be reached on WhatsApp under this address.
    PermanentRecipient,
    /// Fail; the author must change the content.
    PermanentContent,
    /// Fail; the request was built wrong, which is a defect of ours.
    ClientBug,
    /// Stop the scope and alert the operator.
    ConfigAlert,
    /// Fail and suppress the person.
    OptOut,
    /// Free-form outside the window: a template is needed.
    TemplateFallback,
    /// Not about one message: our endpoint misbehaves.
    WebhookHealth,
    /// Record only.
    Informational,
}

/// What an action stops or holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This message.
    Message,
    /// Everything to this person.
    Recipient,
    /// Everything with this template.
    Template,
    /// Everything from this sender.
    Sender,
    /// Everything of the account.
    Account,
    /// Everything to this country.
    Country,
    /// Our own endpoint.
    Endpoint,
}

/// What it takes to pause or hold others because of a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// One message with it is enough: it cannot be about a recipient.
    #[default]
    One,
    /// Messages to two different people within [`EVIDENCE_WINDOW`](crate::limits::EVIDENCE_WINDOW):
    /// one alone may be about the recipient, and concerns nobody else.
    TwoPeople,
    /// None is enough: it is about this message or its recipient, and stops nobody.
    Message,
}

/// Where a code was met, which decides what an unknown one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorSource {
    /// In the answer to a create request.
    Response,
    /// On a status callback or on the message itself.
    Status,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What to do.
    pub action: Action,
    /// What to stop or hold.
    pub scope: Scope,
    /// The meaning in one sentence.
    pub meaning: String,
    /// Whether Twilio charges its fee for failed messages.
    pub failed_fee: bool,
    /// Shortest wait before another attempt, where the code needs one of its own.
    pub wait: Option<Duration>,
    /// Most attempts with this code, where it needs a limit of its own.
    pub attempts_max: Option<u32>,
    /// What it takes to stop others.
    pub evidence: Evidence,
    /// The only kind of message that a hold because of it concerns; `None` for all.
    pub kind: Option<Kind>,
    /// Whether the code is in the table, or this is the default for codes that are not.
    pub listed: bool,
}

/// The table of codes: the built-in rows, with the operator's laid over them.
#[derive(Clone, Debug)]
pub struct Codes {
    rules: HashMap<u32, Rule>,
}

/// What is wrong with a row of an override file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverrideProblem {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl Codes {
    /// The built-in table, from `data/twilio_error_actions.csv` and `data/retry_hints.csv`.
    pub fn builtin() -> Self {
        static BUILTIN: LazyLock<Codes> = LazyLock::new(read_builtin);
        BUILTIN.clone()
    }

    /// Lays the rows of an override file over the table. The file is a CSV with the header
    /// `code,action,scope,wait_seconds,attempts_max,evidence`; empty cells keep what the table says,
    /// and the last cell may be left out with its comma.
    ///
    /// # Errors
    /// Every row that cannot be read, all at once; the table is unchanged then.
    pub fn overridden(&self, text: &str) -> Result<Self, Vec<OverrideProblem>> {
        let mut out = self.clone();
        let mut problems = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            if line.trim().is_empty() || line.starts_with('#') || line.starts_with("code,") {
                continue;
            }
            if let Err(problem) = out.apply_override(line) {
                problems.push(OverrideProblem {
                    line: line_number,
                    problem,
                });
            }
        }
        if problems.is_empty() {
            Ok(out)
        } else {
            Err(problems)
        }
    }

    /// The rule for a code, or the default for unlisted ones: what comes back on a message is
    /// taken as permanent, what comes back on a request as a defect of ours. Both are alerts.
    pub fn rule(&self, code: Option<u32>, error_source: ErrorSource) -> Rule {
        if let Some(rule) = code.and_then(|code| self.rules.get(&code)) {
            return rule.clone();
        }
        let (action, meaning) = match error_source {
            ErrorSource::Response => (
                Action::ClientBug,
                "Unlisted error in the answer to the request",
            ),
            ErrorSource::Status => (
                Action::PermanentContent,
                "Unlisted error reported on the message",
            ),
        };
        Rule {
            action,
            scope: Scope::Message,
            meaning: meaning.to_owned(),
            failed_fee: true,
            wait: None,
            attempts_max: None,
            evidence: Evidence::One,
            kind: None,
            listed: false,
        }
    }

    /// Every listed code.
    pub fn listed(&self) -> impl Iterator<Item = (u32, &Rule)> {
        self.rules.iter().map(|(code, rule)| (*code, rule))
    }

    fn apply_override(&mut self, line: &str) -> Result<(), String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let (code, action, scope, wait, attempts, evidence) = match cells[..] {
            [code, action, scope, wait, attempts] => (code, action, scope, wait, attempts, ""),
            [code, action, scope, wait, attempts, evidence] => {
                (code, action, scope, wait, attempts, evidence)
            }
            _ => {
                return Err(
                    "five or six cells are needed: code,action,scope,wait_seconds,attempts_max,evidence"
                        .into(),
                );
            }
        };
        let code: u32 = code
            .parse()
            .map_err(|_| format!("`{code}` is not an error code"))?;
        let mut rule = self.rule(Some(code), ErrorSource::Status);
        rule.listed = true;
        if !action.is_empty() {
            rule.action = Action::from_name(action).ok_or_else(|| unknown_action(action))?;
        }
        if !scope.is_empty() {
            rule.scope = Scope::from_name(scope).ok_or_else(|| unknown_scope(scope))?;
        }
        if !wait.is_empty() {
            let seconds = wait
                .parse()
                .map_err(|_| format!("`{wait}` is not a number of seconds"))?;
            rule.wait = Some(Duration::from_secs(seconds));
        }
        if !attempts.is_empty() {
            rule.attempts_max = Some(
                attempts
                    .parse()
                    .map_err(|_| format!("`{attempts}` is not a number"))?,
            );
        }
        if !evidence.is_empty() {
            rule.evidence =
                Evidence::from_name(evidence).ok_or_else(|| unknown_evidence(evidence))?;
        }
        self.rules.insert(code, rule);
        Ok(())
    }
}

impl Evidence {
    /// Every value.
    pub const ALL: [Self; 3] = [Self::One, Self::TwoPeople, Self::Message];

    /// The word of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::TwoPeople => "two_people",
            Self::Message => "message",
        }
    }

    /// Reads the word of the table.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|evidence| evidence.as_str() == word)
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 11] = [
        Self::RetryBackoff,
        Self::RetryLater,
        Self::ReconcileThenRetry,
        Self::PermanentRecipient,
        Self::PermanentContent,
        Self::ClientBug,
        Self::ConfigAlert,
        Self::OptOut,
        Self::TemplateFallback,
        Self::WebhookHealth,
        Self::Informational,
    ];

    /// The word of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RetryBackoff => "retry_backoff",
            Self::RetryLater => "retry_later",
            Self::ReconcileThenRetry => "reconcile_then_retry",
            Self::PermanentRecipient => "permanent_recipient",
            Self::PermanentContent => "permanent_content",
            Self::ClientBug => "client_bug",
            Self::ConfigAlert => "config_alert",
            Self::OptOut => "opt_out",
            Self::TemplateFallback => "template_fallback",
            Self::WebhookHealth => "webhook_health",
            Self::Informational => "informational",
        }
    }

    /// Reads the word of the table.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }

    /// What the reader of an error should do about it, in one sentence.
    pub fn advice(self) -> &'static str {
        match self {
            Self::RetryBackoff => "Nothing to do: it is retried automatically within minutes.",
            Self::RetryLater => "Nothing to do: it is retried automatically when the limit clears.",
            Self::ReconcileThenRetry => {
                "Wait: the provider is asked what became of it before anything is sent again."
            }
            Self::PermanentRecipient => {
                "Check the number with the person, or reach them another way; sending again will \
                 not help."
            }
            Self::PermanentContent => {
                "Change the content or the template, then send a new message."
            }
            Self::ClientBug => {
                "Report it as a defect of Recado, with the message id; sending again will not help."
            }
            Self::ConfigAlert => {
                "Ask the operator to correct the account, sender or template at Twilio, then \
                 resume the sender."
            }
            Self::OptOut => "Do not write to this person again until they opt back in.",
            Self::TemplateFallback => {
                "Send an approved template: the person has not written within 24 hours."
            }
            Self::WebhookHealth => {
                "Ask the operator to check that the callback URL can be reached from outside."
            }
            Self::Informational => "Nothing to do.",
        }
    }
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 7] = [
        Self::Message,
        Self::Recipient,
        Self::Template,
        Self::Sender,
        Self::Account,
        Self::Country,
        Self::Endpoint,
    ];

    /// The word of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Recipient => "recipient",
            Self::Template => "template",
            Self::Sender => "sender",
            Self::Account => "account",
            Self::Country => "country",
            Self::Endpoint => "endpoint",
        }
    }

    /// Reads the word of the table.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

/// Whether a code says that nobody uses WhatsApp under this number, so that the other variant may
/// be tried: 63003 (channel could not find the recipient) and 63024 (invalid recipient).
pub fn is_unknown_number(code: Option<u32>) -> bool {
    matches!(code, Some(63_003 | 63_024))
}

fn unknown_action(word: &str) -> String {
    let words: Vec<_> = Action::ALL.iter().map(|action| action.as_str()).collect();
    format!(
        "`{word}` is not an action; write one of {}",
        words.join(", ")
    )
}

fn unknown_scope(word: &str) -> String {
    let words: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    format!("`{word}` is not a scope; write one of {}", words.join(", "))
}

fn unknown_evidence(word: &str) -> String {
    let words: Vec<_> = Evidence::ALL.iter().map(|value| value.as_str()).collect();
    format!(
        "`{word}` is not a kind of evidence; write one of {}",
        words.join(", ")
    )
}

/// The two files are part of the program, so a row that does not read is a defect, caught by the
/// tests; it is left out rather than allowed to stop the process.
fn read_builtin() -> Codes {
    let mut rules = HashMap::new();
    for line in include_str!("../data/twilio_error_actions.csv")
        .lines()
        .skip(1)
    {
        let cells = csv_cells(line);
        if let [code, _met, action, scope, meaning, fee, _basis] = &cells[..]
            && let (Ok(code), Some(action), Some(scope)) = (
                code.parse(),
                Action::from_name(action),
                Scope::from_name(scope),
            )
        {
            let rule = Rule {
                action,
                scope,
                meaning: meaning.clone(),
                failed_fee: fee != "no",
                wait: None,
                attempts_max: None,
                evidence: Evidence::One,
                kind: None,
                listed: true,
            };
            rules.insert(code, rule);
        }
    }
    let mut codes = Codes { rules };
    for line in include_str!("../data/retry_hints.csv").lines().skip(1) {
        codes.apply_hint(line);
    }
    codes
}

impl Codes {
    fn apply_hint(&mut self, line: &str) {
        let cells = csv_cells(line);
        let [code, wait, attempts, scope, evidence, kind, _basis] = &cells[..] else {
            return;
        };
        let Some(rule) = code
            .parse()
            .ok()
            .and_then(|code: u32| self.rules.get_mut(&code))
        else {
            return;
        };
        rule.wait = wait.parse().ok().map(Duration::from_secs);
        rule.attempts_max = attempts.parse().ok();
        rule.scope = Scope::from_name(scope).unwrap_or(rule.scope);
        rule.evidence = Evidence::from_name(evidence).unwrap_or_default();
        rule.kind = Kind::from_name(kind);
    }
}

/// Splits one line of a CSV file with `"` quotes and no line breaks inside cells.
pub(crate) fn csv_cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => {
                if let Some(cell) = cells.last_mut() {
                    cell.push(other);
                }
            }
        }
    }
    cells
}
