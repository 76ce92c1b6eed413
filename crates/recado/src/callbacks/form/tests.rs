//! Bodies good, odd and broken.

pub(in crate::callbacks) mod recorded;

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(raw: &str, expected: &[(&str, &str)]) {
    let form = Form::parse(raw.as_bytes()).unwrap();
    let fields: Vec<_> = form.iter().collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    assert_eq!(fields, expected, "{raw}");
    assert_eq!(
        (form.len(), form.is_empty()),
        (expected.len(), expected.is_empty())
    );
}

#[test]
fn fields_are_decoded() {
    check("", &[]);
    check("a=1", &[("a", "1")]);
    check("a=1&b=2", &[("a", "1"), ("b", "2")]);
    check("b=2&a=1&a=1", &[("b", "2"), ("a", "1"), ("a", "1")]);
    check("a", &[("a", "")]);
    check("a=", &[("a", "")]);
    check("=a", &[("", "a")]);
    check("=", &[("", "")]);
    check("a=b=c", &[("a", "b=c")]);
    check("&&a=1&&", &[("a", "1")]);
    check("a+b=c+d", &[("a b", "c d")]);
    check("a%3Db=%26%2B%25%20", &[("a=b", "&+% ")]);
    check(
        "To=whatsapp%3a%2B5511900000001",
        &[("To", "whatsapp:+5511900000001")],
    );
    check("a=%C3%A7%c3%a3o+%F0%9F%8E%89", &[("a", "ção 🎉")]);
    check("a=ção", &[("a", "ção")]);
    check("a=%00%0A\n", &[("a", "\0\n\n")]);
}

#[test]
fn percent_signs_without_digits_stay() {
    check("a=%", &[("a", "%")]);
    check("a=%4", &[("a", "%4")]);
    check("a=%G1%1G%+4", &[("a", "%G1%1G% 4")]);
    check("a=%%41%&b=%4&c=1", &[("a", "%A%"), ("b", "%4"), ("c", "1")]);
    check("%=%", &[("%", "%")]);
    check("a=%u00e7", &[("a", "%u00e7")]);
}

#[test]
fn values_are_found_by_name() {
    let form = Form::parse(b"a=1&A=2&a=3&empty=&bytes=%FF&%61=4").unwrap();
    assert_eq!(form.get("a"), Some("1"));
    assert_eq!(form.get("A"), Some("2"));
    assert_eq!(form.get("missing"), None);
    assert_eq!(form.get("bytes"), None);
    assert_eq!(
        (form.get("empty"), form.get_filled("empty")),
        (Some(""), None)
    );
    assert_eq!(form.get_filled("a"), Some("1"));
}

#[test]
fn too_many_fields_are_refused() {
    let body = |fields: usize| vec!["a=1"; fields].join("&&");
    assert_eq!(
        Form::parse(body(FIELDS_MAX).as_bytes()).ok().unwrap().len(),
        FIELDS_MAX
    );
    assert_eq!(
        Form::parse(body(FIELDS_MAX + 1).as_bytes()).err(),
        Some(TooManyFields)
    );
    assert_eq!(Form::parse(&[b'&'; 100_000]).ok().unwrap().len(), 0);
}

proptest! {
    #[test]
    fn any_bytes_are_a_form_as_another_reader_sees_it(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
        let form = Form::parse(&raw).unwrap();
        let ours: Vec<_> = form.iter()
            .map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        let theirs: Vec<_> = url::form_urlencoded::parse(&raw).into_owned().collect();
        prop_assert_eq!(ours, theirs);
    }

    #[test]
    fn what_was_encoded_is_decoded(fields in proptest::collection::vec((".{0,10}", ".{0,20}"), 0..20)) {
        let raw = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&fields).finish();
        let form = Form::parse(raw.as_bytes()).unwrap();
        let decoded: Vec<_> = form.iter().collect();
        let expected: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        prop_assert_eq!(decoded, expected);
    }
}
