//! Who wants no messages, and what changes that.
//!
//! An opt-out holds for the *person*, in every form of the address and for every sender of the
//! account. It comes from an inbound keyword, from the provider's own opt-out handling
//! (Twilio's `OptOutType`), from a refusal code whose class is `opt_out`, or from the operator. Only the
//! person (an opt-in keyword) or the operator undoes it.

pub mod order;

use crate::keyword::{self, KeywordAction, KeywordLanguage};
use crate::time::Timestamp;

/// What a person said about receiving messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Nothing against it.
    Open,
    /// They wrote a word that may mean opt-out; sends are held until they answer.
    Asking {
        /// When the word arrived.
        since: Timestamp,
    },
    /// They want none.
    OptedOut,
}

crate::stored! {
    /// A [`Consent`] without its time.
    ConsentKind {
        /// See [`Consent::Open`].
        Open = 0 "open",
        /// See [`Consent::Asking`].
        Asking = 1 "asking",
        /// See [`Consent::OptedOut`].
        OptedOut = 2 "opted_out",
    }
}

impl Consent {
    /// Which one it is.
    pub const fn kind(self) -> ConsentKind {
        match self {
            Self::Open => ConsentKind::Open,
            Self::Asking { .. } => ConsentKind::Asking,
            Self::OptedOut => ConsentKind::OptedOut,
        }
    }

    /// The stricter of two: what stands when two people turn out to be one. Of two questions the one
    /// that was asked first.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        match (self, other) {
            (Self::OptedOut, _) | (_, Self::OptedOut) => Self::OptedOut,
            (Self::Asking { since: a }, Self::Asking { since: b }) => {
                Self::Asking { since: a.min(b) }
            }
            (asking @ Self::Asking { .. }, Self::Open)
            | (Self::Open, asking @ Self::Asking { .. }) => asking,
            (Self::Open, Self::Open) => Self::Open,
        }
    }

    /// Puts both parts together again.
    pub fn of(kind: ConsentKind, since: Timestamp) -> Self {
        match kind {
            ConsentKind::Open => Self::Open,
            ConsentKind::Asking => Self::Asking { since },
            ConsentKind::OptedOut => Self::OptedOut,
        }
    }
}

/// What an inbound message or another source changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsentChange {
    /// Nothing.
    None,
    /// The person opts out: pending messages are suppressed in the same commit.
    OptOut,
    /// The person opts back in, or says that they only meant something else.
    OptIn,
    /// The word is ambiguous: pending messages are held and the person is asked.
    Ask(KeywordLanguage),
}

crate::stored! {
    /// What an inbound message says about consent, whether or not it changed anything. Which of a
    /// person's words was written last decides, see [`order`].
    ConsentWord {
        /// It opts out.
        OptOut = 1 "opt_out",
        /// It may mean an opt-out.
        Ask = 2 "ask",
        /// It opts in, or answers our question so.
        OptIn = 3 "opt_in",
    }
}

impl ConsentWord {
    /// Of two words that were written at once the stricter stands.
    pub(crate) const fn strictness(self) -> u8 {
        match self {
            Self::OptIn => 0,
            Self::Ask => 1,
            Self::OptOut => 2,
        }
    }
}

/// What the provider itself has understood and answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderKeyword {
    /// A word that opts out.
    Stop,
    /// A word that opts in.
    Start,
    /// A word that asks for help.
    Help,
}

/// What an inbound message carries that can change consent.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundText<'a> {
    /// The text.
    pub body: &'a str,
    /// The payload of a pressed button.
    pub button_payload: Option<&'a str>,
    /// What the provider has understood itself.
    pub provider_keyword: Option<ProviderKeyword>,
}

/// Reads an inbound message for what it says about consent, and what that changes.
pub fn read_inbound(
    consent: Consent,
    inbound: &InboundText<'_>,
) -> (Option<ConsentWord>, ConsentChange) {
    match read_word(consent, inbound) {
        Some((word, language)) => (Some(word), change(consent, word, language)),
        None => (None, ConsentChange::None),
    }
}

/// Reads a message again of which more is known than when it was read as `known`: a button, or what the
/// provider understood. What it said counts once, unless it turns out to say something stricter.
pub fn read_again(
    consent: Consent,
    known: ConsentWord,
    inbound: &InboundText<'_>,
) -> (Option<ConsentWord>, ConsentChange) {
    // As if nobody had been asked: a word that asks is no answer to its own question.
    match read_word(Consent::Open, inbound) {
        Some((word, language)) if word.strictness() > known.strictness() => {
            (Some(word), change(consent, word, language))
        }
        _ => (Some(known), ConsentChange::None),
    }
}

/// What a word changes.
fn change(consent: Consent, word: ConsentWord, language: KeywordLanguage) -> ConsentChange {
    match (word, consent) {
        (ConsentWord::OptOut, Consent::OptedOut)
        | (ConsentWord::OptIn, Consent::Open)
        // Asked already, or out already.
        | (ConsentWord::Ask, Consent::Asking { .. } | Consent::OptedOut) => ConsentChange::None,
        (ConsentWord::OptOut, _) => ConsentChange::OptOut,
        (ConsentWord::OptIn, _) => ConsentChange::OptIn,
        (ConsentWord::Ask, Consent::Open) => ConsentChange::Ask(language),
    }
}

/// The word, and the language in which one would ask about it.
fn read_word(
    consent: Consent,
    inbound: &InboundText<'_>,
) -> Option<(ConsentWord, KeywordLanguage)> {
    let unasked = KeywordLanguage::PtBr;
    match inbound.provider_keyword {
        Some(ProviderKeyword::Stop) => return Some((ConsentWord::OptOut, unasked)),
        Some(ProviderKeyword::Start) => return Some((ConsentWord::OptIn, unasked)),
        Some(ProviderKeyword::Help) | None => {}
    }
    let asking = matches!(consent, Consent::Asking { .. });
    let keyword = keyword::classify(inbound.body)
        .or_else(|| inbound.button_payload.and_then(keyword::classify));
    let Some(keyword) = keyword else {
        if asking && says_continue(inbound.body) {
            return Some((ConsentWord::OptIn, unasked));
        }
        let asks = consent == Consent::Open && keyword::mentions_opt_out(inbound.body);
        return asks.then_some((ConsentWord::Ask, unasked));
    };
    let word = match keyword.action {
        KeywordAction::OptOut | KeywordAction::ErasureRequest => ConsentWord::OptOut,
        KeywordAction::OptIn => ConsentWord::OptIn,
        // Asked already: the same word again is the answer.
        KeywordAction::Ambiguous if asking => ConsentWord::OptOut,
        KeywordAction::Ambiguous => ConsentWord::Ask,
        KeywordAction::Help | KeywordAction::None => return None,
    };
    Some((word, keyword.language))
}

/// The question for an ambiguous word, in the language of the word. Its answers are in the
/// keyword table, except the word for going on, which only means something here.
pub fn question(language: KeywordLanguage) -> &'static str {
    match language {
        KeywordLanguage::PtBr => {
            "Você quer parar de receber nossas mensagens? Responda SAIR para parar ou CONTINUAR \
             para continuar recebendo."
        }
        KeywordLanguage::En => {
            "Do you want to stop receiving our messages? Reply STOP to stop or CONTINUE to keep \
             receiving them."
        }
        KeywordLanguage::Es => {
            "¿Quieres dejar de recibir nuestros mensajes? Responde BAJA para dejar de recibirlos \
             o CONTINUAR para seguir."
        }
    }
}

fn says_continue(body: &str) -> bool {
    let word: String = body.chars().filter(|c| c.is_alphabetic()).collect();
    matches!(
        word.to_uppercase().as_str(),
        "CONTINUAR" | "CONTINUA" | "CONTINUE"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKING: Consent = Consent::Asking {
        since: Timestamp::from_seconds(0),
    };

    fn read(consent: Consent, body: &str) -> ConsentChange {
        let inbound = InboundText {
            body,
            ..InboundText::default()
        };
        read_inbound(consent, &inbound).1
    }

    #[test]
    fn the_stricter_consent_stands_whoever_is_named_first() {
        let later = Consent::Asking {
            since: Timestamp::from_seconds(1),
        };
        for (a, b, stricter) in [
            (Consent::Open, Consent::Open, Consent::Open),
            (Consent::Open, ASKING, ASKING),
            (Consent::Open, Consent::OptedOut, Consent::OptedOut),
            (ASKING, Consent::OptedOut, Consent::OptedOut),
            (ASKING, later, ASKING),
            (Consent::OptedOut, Consent::OptedOut, Consent::OptedOut),
        ] {
            assert_eq!(a.stricter(b), stricter, "{a:?} + {b:?}");
            assert_eq!(b.stricter(a), stricter, "{b:?} + {a:?}");
        }
    }

    #[test]
    fn words_change_consent_as_the_table_says() {
        for (consent, body, change) in [
            (Consent::Open, "SAIR", ConsentChange::OptOut),
            (Consent::Open, " sair! ", ConsentChange::OptOut),
            (Consent::Open, "Stop", ConsentChange::OptOut),
            (Consent::Open, "excluir meus dados", ConsentChange::OptOut),
            (Consent::OptedOut, "SAIR", ConsentChange::None),
            (Consent::OptedOut, "voltar", ConsentChange::OptIn),
            (Consent::Open, "voltar", ConsentChange::None),
            (Consent::Open, "sim", ConsentChange::None),
            (Consent::OptedOut, "sim", ConsentChange::None),
            (
                Consent::Open,
                "Cancelar",
                ConsentChange::Ask(KeywordLanguage::PtBr),
            ),
            (ASKING, "Cancelar", ConsentChange::OptOut),
            (ASKING, "sair", ConsentChange::OptOut),
            (ASKING, "continuar", ConsentChange::OptIn),
            (Consent::Open, "continuar", ConsentChange::None),
            (Consent::OptedOut, "continuar", ConsentChange::None),
            (Consent::OptedOut, "cancelar", ConsentChange::None),
            (
                Consent::Open,
                "posso chegar mais tarde?",
                ConsentChange::None,
            ),
        ] {
            assert_eq!(read(consent, body), change, "{consent:?} + {body}");
        }
    }

    #[test]
    fn a_word_is_a_word_also_when_it_changes_nothing() {
        let said = |consent, body| {
            let inbound = InboundText {
                body,
                ..InboundText::default()
            };
            read_inbound(consent, &inbound).0
        };
        for (consent, body, word) in [
            (Consent::OptedOut, "SAIR", Some(ConsentWord::OptOut)),
            (Consent::Open, "voltar", Some(ConsentWord::OptIn)),
            (Consent::OptedOut, "cancelar", Some(ConsentWord::Ask)),
            (ASKING, "cancelar", Some(ConsentWord::OptOut)),
            (ASKING, "continuar", Some(ConsentWord::OptIn)),
            (Consent::Open, "continuar", None),
            (Consent::Open, "sim", None),
        ] {
            assert_eq!(said(consent, body), word, "{consent:?} + {body}");
        }
    }

    #[test]
    fn what_a_message_turns_out_to_say_counts_when_it_is_stricter() {
        let stop = InboundText {
            body: "cancelar",
            provider_keyword: Some(ProviderKeyword::Stop),
            ..InboundText::default()
        };
        let start = InboundText {
            provider_keyword: Some(ProviderKeyword::Start),
            ..stop
        };
        let alone = InboundText {
            provider_keyword: None,
            ..stop
        };
        let (out, ask, back) = (ConsentWord::OptOut, ConsentWord::Ask, ConsentWord::OptIn);
        let none = ConsentChange::None;
        for (consent, known, inbound, word, change) in [
            (ASKING, ask, stop, out, ConsentChange::OptOut),
            (Consent::OptedOut, ask, stop, out, none),
            (Consent::Open, back, stop, out, ConsentChange::OptOut),
            // No answer to its own question, and nothing milder.
            (ASKING, ask, alone, ask, none),
            (ASKING, ask, start, ask, none),
            (Consent::OptedOut, out, start, out, none),
            (Consent::OptedOut, out, stop, out, none),
        ] {
            let read = read_again(consent, known, &inbound);
            assert_eq!(read, (Some(word), change), "{consent:?} {known:?}");
        }
    }

    #[test]
    fn the_providers_own_reading_and_buttons_count_too() {
        let inbound = InboundText {
            provider_keyword: Some(ProviderKeyword::Stop),
            ..InboundText::default()
        };
        assert_eq!(
            read_inbound(Consent::Open, &inbound).1,
            ConsentChange::OptOut
        );
        let inbound = InboundText {
            provider_keyword: Some(ProviderKeyword::Start),
            ..InboundText::default()
        };
        assert_eq!(
            read_inbound(Consent::OptedOut, &inbound).1,
            ConsentChange::OptIn
        );
        let inbound = InboundText {
            body: "Não quero mais 🙅",
            button_payload: Some("SAIR"),
            ..InboundText::default()
        };
        assert_eq!(
            read_inbound(Consent::Open, &inbound).1,
            ConsentChange::OptOut
        );
    }
}
