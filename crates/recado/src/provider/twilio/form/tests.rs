//! Each content as the form that Twilio reads.

use delivery::message::SenderName;
use delivery::sid::Sid;
use delivery::time::Timestamp;

use super::*;

const SERVICE: &str = "MG00000000000000000000000000000001";
const TEMPLATE: &str = "HX00000000000000000000000000000001";

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn request(from: &str, content: Content) -> CreateRequest {
    CreateRequest {
        to: "+5511900000001".into(),
        from: SenderName::new(from),
        messaging_service: None,
        content,
        expires_at: None,
        correlation_id: "0123456789abcdef0123456789abcdef".into(),
    }
}

fn text(body: &str) -> Content {
    Content::Text {
        body: body.into(),
        persistent_action: None,
    }
}

fn fields(request: &CreateRequest) -> Vec<(String, String)> {
    parsed(&create_form(request, NOW, None))
}

fn parsed(form: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(form.as_bytes())
        .into_owned()
        .collect()
}

#[track_caller]
fn check(request: &CreateRequest, expected: &[(&str, &str)]) {
    let fields = fields(request);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(fields, expected);
}

#[test]
fn text_from_a_number() {
    let content = text("1+1=2 & ação: \"sim\" 🎉\n%41");
    let raw = create_form(&request("+551140000000", content), NOW, None);
    assert_eq!(
        raw,
        "To=whatsapp%3A%2B5511900000001&From=whatsapp%3A%2B551140000000&Body=1%2B1%3D2+%26+\
         a%C3%A7%C3%A3o%3A+%22sim%22+%F0%9F%8E%89%0A%2541"
    );
}

#[test]
fn text_from_a_service() {
    check(
        &request(SERVICE, text("oi")),
        &[
            ("To", "whatsapp:+5511900000001"),
            ("MessagingServiceSid", SERVICE),
            ("Body", "oi"),
        ],
    );
}

#[test]
fn a_number_within_a_service() {
    let service = Sid::parse(SERVICE, &["MG"]).unwrap();
    let request = CreateRequest {
        messaging_service: Some(service),
        ..request("+551140000000", text("oi"))
    };
    check(
        &request,
        &[
            ("To", "whatsapp:+5511900000001"),
            ("From", "whatsapp:+551140000000"),
            ("MessagingServiceSid", SERVICE),
            ("Body", "oi"),
        ],
    );
}

#[test]
fn a_place() {
    let action = Some("geo:-23.561414,-46.655882|MASP".to_owned());
    let content = Content::Text {
        body: "MASP".into(),
        persistent_action: action,
    };
    let fields = fields(&request("+551140000000", content));
    assert_eq!(
        fields[3],
        (
            "PersistentAction".into(),
            "geo:-23.561414,-46.655882|MASP".into()
        )
    );
}

#[test]
fn a_template_keeps_the_order_of_its_variables() {
    let content_sid = Sid::parse(TEMPLATE, &["HX"]).unwrap();
    let variables = vec![
        ("1".to_owned(), "Maria \"M\" \\ Silva".to_owned()),
        ("2".to_owned(), "10h30".to_owned()),
        ("10".to_owned(), "ção".to_owned()),
    ];
    let json = r#"{"1":"Maria \"M\" \\ Silva","2":"10h30","10":"ção"}"#;
    check(
        &request(
            SERVICE,
            Content::Template {
                content_sid,
                variables,
            },
        ),
        &[
            ("To", "whatsapp:+5511900000001"),
            ("MessagingServiceSid", SERVICE),
            ("ContentSid", TEMPLATE),
            ("ContentVariables", json),
        ],
    );
    let bare = Content::Template {
        content_sid,
        variables: Vec::new(),
    };
    assert_eq!(fields(&request(SERVICE, bare)).len(), 3);
}

#[test]
fn a_medium_with_and_without_caption() {
    let url = "https://example.com/a b.pdf?x=1&y=2";
    let medium = |caption: Option<&str>| {
        let content = Content::Media {
            url: url.into(),
            caption: caption.map(Into::into),
        };
        fields(&request(SERVICE, content)).split_off(2)
    };
    assert_eq!(medium(None), [("MediaUrl".into(), url.into())]);
    assert_eq!(
        medium(Some("oi")),
        [
            ("MediaUrl".into(), url.into()),
            ("Body".into(), "oi".into())
        ]
    );
}

#[test]
fn validity_is_whole_seconds_within_bounds() {
    for (millis, seconds) in [
        (1, 1),
        (999, 1),
        (1_000, 1),
        (1_999, 1),
        (5_500, 5),
        (36_000_000, 36_000),
        (36_001_000, 36_000),
        (u64::MAX, 36_000),
    ] {
        let expires_at = Some(NOW.plus(Duration::from_millis(millis)));
        let request = CreateRequest {
            expires_at,
            ..request(SERVICE, text("oi"))
        };
        let expected = ("ValidityPeriod".to_owned(), seconds.to_string());
        assert_eq!(fields(&request)[3], expected, "{millis} ms");
    }
}

#[test]
fn the_callback_url_names_the_attempt() {
    let form = create_form(
        &request(SERVICE, text("oi")),
        NOW,
        Some("https://gateway.example.com/cb#rc=3&rp=5xx,ct,rt"),
    );
    let url = "https://gateway.example.com/cb?c=0123456789abcdef0123456789abcdef#rc=3&rp=5xx,ct,rt";
    assert_eq!(parsed(&form)[3], ("StatusCallback".into(), url.into()));
}

#[test]
fn lists_with_and_without_sender() {
    let mut query = ListQuery {
        to: "+5511900000001".into(),
        from: Some("+551140000000".into()),
        created_since: Timestamp::from_seconds(0),
    };
    assert_eq!(
        list_query(&query),
        "To=whatsapp%3A%2B5511900000001&From=whatsapp%3A%2B551140000000&PageSize=50"
    );
    query.from = None;
    assert_eq!(
        list_query(&query),
        "To=whatsapp%3A%2B5511900000001&PageSize=50"
    );
}
