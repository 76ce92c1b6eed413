//! Words with which people opt out, opt in or ask for help, from `data/optout_keywords.csv`.
//!
//! Only a whole message counts: somebody who writes "posso parar no caminho?" wants to stop on
//! the way, not to be forgotten.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::address::is_invisible;

/// What a keyword asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeywordAction {
    /// No more messages.
    OptOut,
    /// Messages again; means something only after an opt-out.
    OptIn,
    /// Either no more messages or something about the matter at hand: ask.
    Ambiguous,
    /// Delete what is known about the person, which includes no more messages.
    ErasureRequest,
    /// Help.
    Help,
    /// Nothing: an answer to a question, listed so that it is never taken for a command.
    None,
}

/// The language of a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeywordLanguage {
    /// Portuguese of Brazil.
    PtBr,
    /// English.
    En,
    /// Spanish.
    Es,
}

/// One keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Keyword {
    /// What it asks for.
    pub action: KeywordAction,
    /// Its language.
    pub language: KeywordLanguage,
}

/// The keyword or phrase that a whole message is, whatever its case, accents, punctuation, emoji
/// and blanks.
pub fn classify(text: &str) -> Option<Keyword> {
    // `opt-out` is `opt out`, and `s.t.o.p` is `stop`.
    [Punctuation::Dropped, Punctuation::Blank]
        .into_iter()
        .find_map(|punctuation| TABLE.words.get(&normalize(text, punctuation)).copied())
}

/// Whether a longer text contains a phrase of two or more words that surely asks for no more
/// messages, erasure requests included. Such a text is for a person to read: it may quote the
/// phrase or turn it round.
pub fn mentions_opt_out(text: &str) -> bool {
    let text = format!(" {} ", normalize(text, Punctuation::Blank));
    TABLE
        .phrases
        .iter()
        .any(|phrase| text.contains(phrase.as_str()))
}

impl KeywordAction {
    /// Every action.
    pub const ALL: [Self; 6] = [
        Self::OptOut,
        Self::OptIn,
        Self::Ambiguous,
        Self::ErasureRequest,
        Self::Help,
        Self::None,
    ];

    /// The word of the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OptOut => "opt_out",
            Self::OptIn => "opt_in",
            Self::Ambiguous => "ambiguous",
            Self::ErasureRequest => "erasure_request",
            Self::Help => "help",
            Self::None => "none",
        }
    }

    /// Reads the word of the table.
    pub fn from_name(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

impl KeywordLanguage {
    /// Every language.
    pub const ALL: [Self; 3] = [Self::PtBr, Self::En, Self::Es];

    /// The BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Self::PtBr => "pt-BR",
            Self::En => "en",
            Self::Es => "es",
        }
    }

    /// Reads a BCP 47 tag.
    pub fn from_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.tag() == tag)
    }
}

struct Table {
    words: HashMap<String, Keyword>,
    /// Sure phrases of two or more words, each between blanks.
    phrases: Vec<String>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table {
        words: HashMap::new(),
        phrases: Vec::new(),
    };
    for line in include_str!("../data/optout_keywords.csv").lines().skip(1) {
        table.read_row(line);
    }
    table
});

impl Table {
    /// The file is part of the program. Only its last cell, a remark, is ever quoted, and it is
    /// not read; the tests read the file a second time with a CSV library and compare.
    fn read_row(&mut self, line: &str) {
        let mut cells = line.splitn(5, ',');
        let (Some(written), Some(language), Some(action), Some(confidence)) = (
            cells.next(),
            cells.next().and_then(KeywordLanguage::from_tag),
            cells.next().and_then(KeywordAction::from_name),
            cells.next(),
        ) else {
            return;
        };
        let words = normalize(written, Punctuation::Blank);
        let is_wish = matches!(
            action,
            KeywordAction::OptOut | KeywordAction::ErasureRequest
        );
        if is_wish && confidence == "sure" && words.contains(' ') {
            self.phrases.push(format!(" {words} "));
        }
        self.words.insert(words, Keyword { action, language });
    }
}

/// What becomes of a character that is neither letter, digit nor blank.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Punctuation {
    Dropped,
    Blank,
}

/// Letters and digits in lower case without accents, single blanks between words.
fn normalize(text: &str, punctuation: Punctuation) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.nfkd().flat_map(char::to_lowercase) {
        if c.is_alphanumeric() {
            if blank && !out.is_empty() {
                out.push(' ');
            }
            blank = false;
            out.push(c);
        } else if !is_combining_mark(c) && !is_invisible(c) {
            blank |= c.is_whitespace() || punctuation == Punctuation::Blank;
        }
    }
    out
}
