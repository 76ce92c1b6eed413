//! From text as people and providers write it to digits: prefixes, labels, extensions, artifacts
//! of spreadsheets, and what must be refused before the digits are looked at.

use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization;

use super::channel::{CHANNEL, without_channel};
use super::context::Context;
use super::flag::{Flag, Flags};
use super::rejection::Reason;

/// More digits than any number has, with every prefix that is tolerated.
const DIGITS_MAX: usize = 20;

/// With this many digits on both sides, a comma or a line break stands between two numbers.
const DIGITS_OF_A_NUMBER: usize = 8;

/// Business-scoped user ids have up to 128 characters after the country and its dot.
const SCOPED_ID_CHARACTERS_MAX: usize = 128;

/// Shorter ones are not believed where people write: `PE.81988887777` is a state and a number.
const SCOPED_ID_CHARACTERS_TYPED_MIN: usize = 15;

/// Words for the person's own line that may stand before the number. A word such as `recado`,
/// which announces the number of somebody else, is left out on purpose.
const LABELS: [&str; 31] = [
    "cel",
    "celular",
    "cell",
    "comercial",
    "contact",
    "contacto",
    "contato",
    "fone",
    "mobile",
    "movel",
    "movil",
    "móvel",
    "móvil",
    "no",
    "nr",
    "nro",
    "num",
    "numero",
    "número",
    "phone",
    "res",
    "residencial",
    "tel",
    "telefone",
    "telefono",
    "teléfono",
    "telephone",
    "whats",
    "whatsapp",
    "wpp",
    "zap",
];

/// Words before the digits of an extension.
const EXTENSIONS: [&str; 9] = [
    "ext",
    "extensao",
    "extension",
    "extensión",
    "extensão",
    "r",
    "ram",
    "ramal",
    "x",
];

/// What a text holds.
pub(super) enum Cleaned {
    /// A phone number.
    Number(Number),
    /// A business-scoped user id, without prefix.
    ScopedUserId(String),
}

/// The digits of one number.
pub(super) struct Number {
    digits: [u8; DIGITS_MAX],
    length: usize,
    pub(super) plus: Plus,
    pub(super) flags: Flags,
}

/// Whether the number says that it is international.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Plus {
    Written,
    Lost,
    Absent,
}

/// Finds the one number or user id in a text.
pub(super) fn clean(text: &str, context: Context) -> Result<Cleaned, Reason> {
    if let Some(number) = clean_plain(text, context) {
        return Ok(Cleaned::Number(number));
    }
    let text = normalize(text);
    let mut flags = Flags::default();
    let mut rest: &str = text.trim_end();
    if context == Context::Sheet {
        rest = strip_decimal(
            rest.trim_start().trim_start_matches(['\'', '’']),
            &mut flags,
        );
    }
    let (rest, addressed) = strip_scheme(rest);
    if is_scoped_id(rest) && (addressed || is_believable(rest, context)) {
        return Ok(Cleaned::ScopedUserId(rest.to_owned()));
    }
    let plus_lost = context == Context::Inbound && is_blank_for_plus(rest);
    let rest = strip_labels(rest);
    if is_scientific(rest) {
        return Err(Reason::ScientificNotation);
    }
    let rest = strip_carrier_placeholder(rest);
    let rest = strip_extension(&rest, &mut flags);
    if names_two_numbers(rest) {
        return Err(Reason::MultipleNumbers);
    }
    let mut number = scan(rest.trim_end_matches([' ', ',', ';', '/', '|']))?;
    number.flags = flags;
    if plus_lost {
        number.lose_plus();
    }
    Ok(Cleaned::Number(number))
}

/// Whether a text is a scoped user id: the country, a dot, letters and digits. The ids of a
/// parent business have `ENT.` between them.
pub(super) fn is_scoped_id(text: &str) -> bool {
    let Some((country, id)) = text.split_once('.') else {
        return false;
    };
    let id = id.strip_prefix("ENT.").unwrap_or(id);
    country.len() == 2
        && country.bytes().all(|byte| byte.is_ascii_uppercase())
        && (1..=SCOPED_ID_CHARACTERS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Number {
    /// The digits in ASCII.
    pub(super) fn digits(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    /// The digits as an international number.
    pub(super) fn international(&self) -> String {
        "+".chars()
            .chain(self.digits().iter().copied().map(char::from))
            .collect()
    }

    fn push(&mut self, digit: char) -> Result<(), Reason> {
        let place = self.digits.get_mut(self.length).ok_or(Reason::BadLength)?;
        *place = u8::try_from(digit).map_err(|_| Reason::Letters)?;
        self.length += 1;
        Ok(())
    }

    fn lose_plus(&mut self) {
        self.plus = Plus::Lost;
        self.flags.add(Flag::PlusLost);
    }
}

/// The quick way for what nearly every text is: digits with the usual separators, perhaps after
/// the provider's prefix. `None` sends the text the long way, which decides by itself.
fn clean_plain(text: &str, context: Context) -> Option<Number> {
    let rest = without_channel(text);
    // What a blank and a trailing zero mean depends on where the text is from.
    if rest.starts_with(' ') || (context == Context::Sheet && rest.ends_with('0')) {
        return None;
    }
    let usual = |c: char| matches!(c, '0'..='9' | '+' | ' ' | '-' | '.' | '(' | ')');
    if rest.chars().all(usual) {
        scan(rest).ok()
    } else {
        None
    }
}

/// NFKC without control and format characters. Line breaks stay and tabs become blanks, because
/// they separate.
fn normalize(text: &str) -> Cow<'_, str> {
    let is_kept = |c: char| c == '\n' || !(c.is_control() || is_invisible(c));
    if text.is_ascii() && text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let as_blank = |c: char| match c {
        '\t' => ' ',
        '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
        other => other,
    };
    Cow::Owned(
        text.chars()
            .map(as_blank)
            .filter(|c| is_kept(*c))
            .nfkc()
            .collect(),
    )
}

/// Format characters and variation selectors: they print nothing and come along when a number is
/// copied from a page, a chat or the contacts of a phone.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Drops `.0` after nothing but digits: the cell was a number and was exported as a float.
fn strip_decimal<'a>(text: &'a str, flags: &mut Flags) -> &'a str {
    let whole = [".00", ",00", ".0", ",0"]
        .iter()
        .find_map(|tail| text.strip_suffix(tail));
    match whole {
        Some(whole)
            if whole.len() >= DIGITS_OF_A_NUMBER
                && whole.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            flags.add(Flag::SheetDecimal);
            whole
        }
        _ => text,
    }
}

/// Drops the provider's prefix, and says whether it was there.
fn strip_scheme(text: &str) -> (&str, bool) {
    match text.trim_start().split_at_checked(CHANNEL.len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case(CHANNEL) => (rest, true),
        _ => (text, false),
    }
}

fn is_believable(id: &str, context: Context) -> bool {
    context.is_provider() || id.len() >= 3 + SCOPED_ID_CHARACTERS_TYPED_MIN
}

fn is_blank_for_plus(text: &str) -> bool {
    text.starts_with(' ') && text.trim_start().starts_with(|c: char| c.is_ascii_digit())
}

/// Drops what may stand before a number and says nothing: labels, bullets, pictures.
fn strip_labels(text: &str) -> &str {
    let is_ornament = |c: char| {
        c.is_whitespace()
            || matches!(c, '"' | '\'' | '`' | '-' | '.' | ',' | ':')
            || !(c.is_ascii() || c.is_alphanumeric())
    };
    let mut rest = text.trim_start_matches(is_ornament);
    loop {
        let end = rest
            .find(|c: char| !c.is_alphabetic())
            .unwrap_or(rest.len());
        let Some((word, after)) = rest.split_at_checked(end) else {
            return rest;
        };
        if word.is_empty() || !LABELS.contains(&word.to_lowercase().as_str()) {
            return rest;
        }
        // `Cel/WhatsApp` is two labels; a slash before a digit is kept, to be refused.
        let after = after.trim_start_matches(is_ornament);
        rest = match after.strip_prefix('/').map(str::trim_start) {
            Some(next) if next.starts_with(char::is_alphabetic) => next,
            _ => after,
        };
    }
}

/// `8,5989E+10` and the like: digits, a fraction, a power of ten, and nothing else.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    let (whole, fraction) = mantissa.split_once(['.', ',']).unwrap_or((mantissa, "0"));
    let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    [whole, fraction, power]
        .iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Drops the `xx` of `0xx85`, which stands for any carrier code. It counts only at the start of a
/// national number: elsewhere an x stands for a digit that nobody knows.
fn strip_carrier_placeholder(text: &str) -> Cow<'_, str> {
    let at = text.to_ascii_lowercase().find("xx");
    let Some((before, after)) = at.and_then(|at| text.split_at_checked(at)) else {
        return Cow::Borrowed(text);
    };
    let digits: String = before.chars().filter(char::is_ascii_digit).collect();
    match after.split_at_checked(2) {
        Some((_, after)) if matches!(digits.as_str(), "0" | "550" | "00550") => {
            Cow::Owned(format!("{before}{after}"))
        }
        _ => Cow::Borrowed(text),
    }
}

/// Drops an extension of up to six digits after a number: `ramal 12`, `ext. 12`, `;ext=12`.
fn strip_extension<'a>(text: &'a str, flags: &mut Flags) -> &'a str {
    let is_digit = |c: char| c.is_ascii_digit();
    let end = text.trim_end_matches([' ', ')']);
    let before = end.trim_end_matches(is_digit);
    if !(1..=6).contains(&(end.len() - before.len())) {
        return text;
    }
    let before = before.trim_end_matches([' ', '.', ':', '=']);
    let number = before.trim_end_matches(char::is_alphabetic);
    let Some(word) = before.strip_prefix(number) else {
        return text;
    };
    if !EXTENSIONS.contains(&word.to_lowercase().as_str())
        || number.chars().filter(char::is_ascii_digit).count() < DIGITS_OF_A_NUMBER
    {
        return text;
    }
    flags.add(Flag::ExtDropped);
    number.trim_end_matches([' ', ',', ';', '/', '-', '('])
}

/// Whether a separator stands between digits that only stands between two numbers.
fn names_two_numbers(text: &str) -> bool {
    let digits = |part: &str| part.chars().filter(char::is_ascii_digit).count();
    let total = digits(text);
    let mut before = 0;
    let mut word = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            before += 1;
        }
        if c.is_alphabetic() {
            word.extend(c.to_lowercase());
            continue;
        }
        let spelled = matches!(word.as_str(), "e" | "ou" | "and" | "or" | "y");
        let least = match c {
            _ if spelled => 1,
            '/' | '\u{2044}' | ';' | '|' | '&' => 1,
            ',' | '\n' => DIGITS_OF_A_NUMBER,
            _ => usize::MAX,
        };
        // The digit that ends a word is behind it.
        let ahead = total - before + usize::from(c.is_ascii_digit());
        let behind = before - usize::from(c.is_ascii_digit());
        if behind >= least && ahead >= least {
            return true;
        }
        word.clear();
    }
    false
}

/// Reads digits and the separators that people put between them; any other character refuses the
/// text, because it may stand for a digit.
fn scan(text: &str) -> Result<Number, Reason> {
    let mut number = Number {
        digits: [0; DIGITS_MAX],
        length: 0,
        plus: Plus::Absent,
        flags: Flags::default(),
    };
    let mut room = Ok(());
    for c in text.chars() {
        match c {
            '0'..='9' => room = room.and(number.push(c)),
            '+' if number.length == 0 => number.plus = Plus::Written,
            '+' if number.length >= DIGITS_OF_A_NUMBER => return Err(Reason::MultipleNumbers),
            c if is_separator(c) => {}
            _ => return Err(Reason::Letters),
        }
    }
    // Letters and second numbers say more about the text than its length does.
    room?;
    if number.length == 0 {
        Err(Reason::Empty)
    } else {
        Ok(number)
    }
}

fn is_separator(c: char) -> bool {
    c.is_whitespace()
        || matches!(
            c,
            '-' | '.' | ',' | '(' | ')' | '[' | ']' | '"' | '\'' | '’' | '·' | '•'
        )
        || matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}')
}
