//! Keywords: the table as the program reads it, and how tolerantly it is matched.

use delivery::keyword::{KeywordAction, KeywordLanguage, classify, mentions_opt_out};
use proptest::prelude::*;

const TABLE: &str = include_str!("../../data/optout_keywords.csv");

struct Row {
    words: String,
    language: KeywordLanguage,
    action: KeywordAction,
    sure: bool,
}

fn rows() -> Vec<Row> {
    let mut reader = csv::Reader::from_reader(TABLE.as_bytes());
    let rows = reader.records().map(|row| {
        let row = row.expect("a row");
        assert_eq!(row.len(), 5);
        Row {
            words: row[0].to_owned(),
            language: KeywordLanguage::from_tag(&row[1]).expect("a language"),
            action: KeywordAction::from_name(&row[2]).expect("an action"),
            sure: &row[3] == "sure",
        }
    });
    rows.collect()
}

fn action(text: &str) -> Option<KeywordAction> {
    classify(text).map(|keyword| keyword.action)
}

#[test]
fn every_row_of_the_table_is_known_in_every_dress() {
    let rows = rows();
    assert_eq!(rows.len(), 50);
    for row in rows {
        let words = &row.words;
        for text in [
            words.clone(),
            words.to_lowercase(),
            format!("  {words}\n"),
            format!("{words}!!!"),
            format!("*{words}*."),
            format!("🛑 \"{}\" 🙅🏽‍♀️", words.to_lowercase()),
            words.replace(' ', "   "),
            words.replace(' ', ", "),
            words.chars().flat_map(|c| [c, '\u{200b}']).collect(),
            words.replace('A', "Á").replace('O', "õ"),
        ] {
            let keyword = classify(&text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (keyword.action, keyword.language),
                (row.action, row.language),
                "{text}"
            );
        }
    }
}

#[test]
fn only_the_whole_message_counts() {
    for (text, wanted) in [
        ("não", Some(KeywordAction::None)),
        ("Não!", Some(KeywordAction::None)),
        ("Na\u{303}o quero receber", Some(KeywordAction::OptOut)),
        ("ＳＡＩＲ", Some(KeywordAction::OptOut)),
        ("𝐒𝐓𝐎𝐏", Some(KeywordAction::OptOut)),
        ("\u{202e}sair\u{202c}", Some(KeywordAction::OptOut)),
        ("s.t.o.p", Some(KeywordAction::OptOut)),
        ("opt-out", Some(KeywordAction::OptOut)),
        ("remove-me", Some(KeywordAction::OptOut)),
        ("Cancelar\u{fe0f}", Some(KeywordAction::Ambiguous)),
        ("excluir meus dados", Some(KeywordAction::ErasureRequest)),
        ("ajuda?", Some(KeywordAction::Help)),
        ("Voltar", Some(KeywordAction::OptIn)),
        ("", None),
        (" \n\t", None),
        ("🛑", None),
        ("posso parar no caminho?", None),
        ("vou sair às 14h", None),
        ("sairei", None),
        ("pa rar", None),
        ("stop stop", None),
        ("não posso ir", None),
    ] {
        assert_eq!(action(text), wanted, "{text:?}");
    }
}

#[test]
fn longer_texts_are_searched_for_sure_phrases_of_several_words() {
    for row in rows() {
        let is_wish = matches!(
            row.action,
            KeywordAction::OptOut | KeywordAction::ErasureRequest
        );
        let wanted = is_wish && row.sure && row.words.contains(' ');
        for text in [
            row.words.clone(),
            format!("Bom dia, {}, obrigado", row.words.to_lowercase()),
            format!("{}/por favor", row.words),
        ] {
            assert_eq!(mentions_opt_out(&text), wanted, "{text}");
        }
        assert!(
            !mentions_opt_out(&format!("x{}x", row.words)),
            "{}",
            row.words
        );
    }
    for (text, wanted) in [
        ("Por favor, NÃO QUERO MAIS receber essas mensagens", true),
        ("me\u{200b} tire   da lista por gentileza", true),
        ("quem não quero receber é ele", true),
        ("quero receber mais vagas", false),
        ("posso parar no caminho?", false),
        ("vou cancelar a entrevista", false),
        ("não posso receber visitas", false),
        ("", false),
    ] {
        assert_eq!(mentions_opt_out(text), wanted, "{text}");
    }
}

#[test]
fn words_and_tags_are_read_back() {
    for action in KeywordAction::ALL {
        assert_eq!(KeywordAction::from_name(action.as_str()), Some(action));
    }
    for language in KeywordLanguage::ALL {
        assert_eq!(KeywordLanguage::from_tag(language.tag()), Some(language));
    }
    assert_eq!(KeywordAction::from_name("stop"), None);
    assert_eq!(KeywordLanguage::from_tag("pt"), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_case_never_matters(text in any::<String>()) {
        let upper: String = text.chars().map(|c| c.to_ascii_uppercase()).collect();
        prop_assert_eq!(classify(&text), classify(&upper));
        prop_assert_eq!(mentions_opt_out(&text), mentions_opt_out(&upper));
    }

    #[test]
    fn a_keyword_with_another_word_is_no_keyword(
        index in 0..50usize, word in "[b-df-hj-np-tv-z]{3,8}",
    ) {
        let keyword = &rows()[index].words;
        prop_assert_eq!(classify(&format!("{keyword} {word}")), None);
        prop_assert_eq!(classify(&format!("{word} {keyword}")), None);
    }
}
