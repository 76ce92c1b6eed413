//! Who wants no messages, and what changes that.
//!
//! An opt-out holds for the *person*, in every form of the address and for every sender of the
//! account. It comes from an inbound keyword, from the provider's own opt-out handling
//! (`OptOutType`), from a refusal code whose class is `opt_out`, or from the operator. Only the
//! person (an opt-in keyword) or the operator undoes it.

use crate::keyword::{self, KeywordAction, KeywordLanguage};
use crate::limits::CONSENT_ANSWER_MAX;
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

/// What an inbound message or another source changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The person opts out: pending messages are suppressed in the same commit.
    OptOut,
    /// The person opts back in, or says that they only meant something else.
    OptIn,
    /// The word is ambiguous: pending messages are held and the person is asked.
    Ask(KeywordLanguage),
}

/// What an inbound message carries that can change consent.
#[derive(Clone, Copy, Debug, Default)]
pub struct InboundText<'a> {
    /// The text.
    pub body: &'a str,
    /// The payload of a pressed button.
    pub button_payload: Option<&'a str>,
    /// Twilio's `OptOutType`: it has recognised and answered the word itself.
    pub opt_out_type: Option<&'a str>,
}

/// Reads an inbound message for what it says about consent.
pub fn read_inbound(consent: Consent, inbound: &InboundText<'_>) -> Change {
    match inbound.opt_out_type {
        Some("STOP") => return opt_out(consent),
        Some("START") => return opt_in(consent),
        _ => {}
    }
    let keyword = keyword::classify(inbound.body)
        .or_else(|| inbound.button_payload.and_then(keyword::classify));
    let Some(keyword) = keyword else {
        let continues = matches!(consent, Consent::Asking { .. }) && says_continue(inbound.body);
        if continues {
            return Change::OptIn;
        }
        if keyword::mentions_opt_out(inbound.body) && consent == Consent::Open {
            return Change::Ask(KeywordLanguage::PtBr);
        }
        return Change::None;
    };
    match keyword.action {
        KeywordAction::OptOut | KeywordAction::ErasureRequest => opt_out(consent),
        KeywordAction::OptIn => opt_in(consent),
        KeywordAction::Ambiguous => match consent {
            Consent::Open => Change::Ask(keyword.language),
            // Asked already: the same word again is the answer.
            Consent::Asking { .. } => Change::OptOut,
            Consent::OptedOut => Change::None,
        },
        KeywordAction::Help | KeywordAction::None => Change::None,
    }
}

/// Whether an unanswered question has become an opt-out.
pub fn answer_is_overdue(consent: Consent, now: Timestamp) -> bool {
    match consent {
        Consent::Asking { since } => now >= since.plus(CONSENT_ANSWER_MAX),
        Consent::Open | Consent::OptedOut => false,
    }
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

fn opt_out(consent: Consent) -> Change {
    if consent == Consent::OptedOut {
        Change::None
    } else {
        Change::OptOut
    }
}

fn opt_in(consent: Consent) -> Change {
    if consent == Consent::Open {
        Change::None
    } else {
        Change::OptIn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKING: Consent = Consent::Asking {
        since: Timestamp::from_seconds(0),
    };

    fn read(consent: Consent, body: &str) -> Change {
        read_inbound(
            consent,
            &InboundText {
                body,
                ..InboundText::default()
            },
        )
    }

    #[test]
    fn words_change_consent_as_the_table_says() {
        for (consent, body, change) in [
            (Consent::Open, "SAIR", Change::OptOut),
            (Consent::Open, " sair! ", Change::OptOut),
            (Consent::Open, "Stop", Change::OptOut),
            (Consent::Open, "excluir meus dados", Change::OptOut),
            (Consent::OptedOut, "SAIR", Change::None),
            (Consent::OptedOut, "voltar", Change::OptIn),
            (Consent::Open, "voltar", Change::None),
            (Consent::Open, "sim", Change::None),
            (Consent::OptedOut, "sim", Change::None),
            (
                Consent::Open,
                "Cancelar",
                Change::Ask(KeywordLanguage::PtBr),
            ),
            (ASKING, "Cancelar", Change::OptOut),
            (ASKING, "sair", Change::OptOut),
            (ASKING, "continuar", Change::OptIn),
            (Consent::Open, "continuar", Change::None),
            (Consent::OptedOut, "continuar", Change::None),
            (Consent::OptedOut, "cancelar", Change::None),
            (Consent::Open, "posso chegar mais tarde?", Change::None),
        ] {
            assert_eq!(read(consent, body), change, "{consent:?} + {body}");
        }
    }

    #[test]
    fn the_providers_own_reading_and_buttons_count_too() {
        let inbound = InboundText {
            opt_out_type: Some("STOP"),
            ..InboundText::default()
        };
        assert_eq!(read_inbound(Consent::Open, &inbound), Change::OptOut);
        let inbound = InboundText {
            opt_out_type: Some("START"),
            ..InboundText::default()
        };
        assert_eq!(read_inbound(Consent::OptedOut, &inbound), Change::OptIn);
        let inbound = InboundText {
            body: "Não quero mais 🙅",
            button_payload: Some("SAIR"),
            ..InboundText::default()
        };
        assert_eq!(read_inbound(Consent::Open, &inbound), Change::OptOut);
    }

    #[test]
    fn silence_for_a_day_is_an_answer() {
        let day = Timestamp::from_seconds(86_400);
        assert!(!answer_is_overdue(ASKING, Timestamp::from_seconds(86_399)));
        assert!(answer_is_overdue(ASKING, day));
        assert!(!answer_is_overdue(Consent::Open, day));
    }
}
