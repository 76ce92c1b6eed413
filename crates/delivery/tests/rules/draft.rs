//! Drafts: every problem is named with its field and code, all of them at once.

use delivery::message::{BusinessScope, Content, Draft, Kind, Priority};
use delivery::time::Timestamp;

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);
const HX: &str = "HX0123456789abcdef0123456789abcdef";

fn text(body: &str) -> Draft {
    Draft {
        to: Some("(85) 98888-7777".into()),
        body: Some(body.into()),
        ..Draft::default()
    }
}

fn template(variables: &[(&str, &str)]) -> Draft {
    Draft {
        to: Some("85988887777".into()),
        content_sid: Some(HX.into()),
        variables: variables
            .iter()
            .map(|(n, v)| ((*n).into(), (*v).into()))
            .collect(),
        ..Draft::default()
    }
}

/// The `field code` pairs of all problems, or nothing when the draft is a message.
fn check(draft: Draft) -> Vec<String> {
    match draft.check(NOW) {
        Ok(_) => Vec::new(),
        Err(error) => error
            .problems
            .into_iter()
            .map(|problem| {
                assert!(problem.detail.ends_with('.'), "{}", problem.detail);
                format!("{} {}", problem.field, problem.code)
            })
            .collect(),
    }
}

#[test]
fn good_drafts_become_messages_with_the_documented_defaults() {
    let message = text("oi").check(NOW).unwrap();
    assert_eq!(message.to.canonical(), "+5585988887777");
    assert_eq!(
        (message.kind, message.priority),
        (Kind::Service, Priority::Normal)
    );
    assert!(message.content.needs_window());
    let message = template(&[("2", "14:00"), ("1", "Maria")])
        .check(NOW)
        .unwrap();
    assert_eq!(message.kind, Kind::Utility);
    let Content::Template { variables, .. } = message.content else {
        panic!("a template")
    };
    assert_eq!(variables[0], ("1".into(), "Maria".into()));
}

/// A draft with the fields and codes of its problems.
type Case = (Draft, &'static [&'static str]);

#[test]
fn each_mistake_is_named() {
    let cases = [mistakes_in_content(), mistakes_around_it()].concat();
    for (index, (draft, problems)) in cases.into_iter().enumerate() {
        assert_eq!(check(draft), problems, "case {index}");
    }
}

fn mistakes_in_content() -> Vec<Case> {
    vec![
        (Draft::default(), &["to to_missing", "body content_missing"]),
        (
            Draft {
                to: Some("98888-7777".into()),
                ..text("oi")
            },
            &["to missing_ddd"],
        ),
        (
            Draft {
                to: Some("+5585988887777x".into()),
                ..text("")
            },
            &["to letters", "body body_empty"],
        ),
        (text(&"x".repeat(1_601)), &["body body_too_long"]),
        (text(&"é".repeat(1_600)), &[]),
        (
            Draft {
                body: Some("oi".into()),
                ..template(&[])
            },
            &["content_sid content_not_single"],
        ),
        (
            Draft {
                variables: vec![("1".into(), "x".into())],
                ..text("oi")
            },
            &["variables variables_without_template"],
        ),
        (
            Draft {
                content_sid: Some("HX12".into()),
                ..template(&[])
            },
            &["content_sid content_sid_invalid"],
        ),
        (template(&[("1", "")]), &["variables variable_empty"]),
        (
            template(&[("1", "a\nb")]),
            &["variables variable_characters"],
        ),
        (
            template(&[("1", "a     b")]),
            &["variables variable_characters"],
        ),
        (template(&[("1", "a    b")]), &[]),
        (
            template(&[("um nome", "a")]),
            &["variables variable_name_invalid"],
        ),
        (
            template(&[("1", &"x".repeat(1_025))]),
            &["variables variables_too_long"],
        ),
        (
            Draft {
                media_url: Some("ftp://host/a.png".into()),
                body: None,
                ..text("")
            },
            &["media_url media_url_invalid"],
        ),
        (
            Draft {
                media_url: Some("https://user@host/a.png".into()),
                body: None,
                ..text("")
            },
            &["media_url media_url_invalid"],
        ),
        (
            Draft {
                media_url: Some("https://host/a.png".into()),
                ..text("legenda")
            },
            &[],
        ),
        (
            Draft {
                persistent_action: Some("geo:-3.7,-38.5|Sede".into()),
                ..text("Sede")
            },
            &[],
        ),
        (
            Draft {
                persistent_action: Some("geo:91,0".into()),
                ..text("Sede")
            },
            &["persistent_action persistent_action_invalid"],
        ),
    ]
}

fn mistakes_around_it() -> Vec<Case> {
    vec![
        (
            Draft {
                expires_at: Some(NOW),
                ..text("oi")
            },
            &["expires_at expires_at_past"],
        ),
        (
            Draft {
                send_at: Some(Timestamp::from_seconds(1_800_000_100)),
                expires_at: Some(Timestamp::from_seconds(1_800_000_100)),
                ..text("oi")
            },
            &["expires_at expires_before_send"],
        ),
        (
            Draft {
                send_at: Some(Timestamp::from_seconds(1_900_000_000)),
                ..text("oi")
            },
            &["send_at send_at_too_far"],
        ),
        (
            Draft {
                business_key: Some(String::new()),
                ..text("oi")
            },
            &["business_key business_key_invalid"],
        ),
        (
            Draft {
                business_scope: Some(BusinessScope::Account),
                ..text("oi")
            },
            &["business_scope business_scope_without_key"],
        ),
        (
            Draft {
                metadata: Some("x".repeat(4_097)),
                ..text("oi")
            },
            &["metadata metadata_too_long"],
        ),
        (
            Draft {
                to: Some("whatsapp:BR.1234567890123456".into()),
                kind: Some(Kind::Authentication),
                ..template(&[("1", "123456")])
            },
            &["kind authentication_needs_phone"],
        ),
    ]
}

#[test]
fn a_problem_never_repeats_what_was_written() {
    let draft = Draft {
        to: Some("85 98888-777O".into()),
        ..template(&[("1", "Maria\n")])
    };
    let error = draft.check(NOW).err().unwrap();
    assert_eq!(error.problems.len(), 2);
    for problem in error.problems {
        assert!(!problem.detail.contains("98888") && !problem.detail.contains("Maria"));
    }
}
