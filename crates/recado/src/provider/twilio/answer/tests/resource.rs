//! Answers to questions: one message, and pages of a list.

use super::*;

#[test]
fn a_message_is_read_in_full() {
    let sid = Sid::parse_message(SID).unwrap();
    let read = message(
        Ok(answer(
            200,
            full("undelivered").replace(r#""error_code":null"#, r#""error_code":63016"#),
        )),
        sid,
    );
    let read = read.ok().unwrap();
    assert_eq!((read.sid, read.status), (sid, ProviderStatus::Undelivered));
    assert_eq!(read.to.as_deref(), Some("+5511900000001"));
    assert_eq!(read.from.as_deref(), Some("+551140000000"));
    assert_eq!(
        (read.body.as_deref(), read.error_code),
        (Some("oi"), Some(63016))
    );
    assert!(read.outbound);
    assert_eq!(
        read.created_at,
        Some(Timestamp::from_seconds(1_692_853_305))
    );

    let bare = format!(
        r#"{{"sid":"{SID}","to":7,"error_code":"x","date_created":"yesterday","direction":null}}"#
    );
    let read = message(Ok(answer(200, bare)), sid).ok().unwrap();
    assert!(read.to.is_none() && read.from.is_none() && read.body.is_none() && !read.outbound);
    assert!(read.created_at.is_none() && read.error_code.is_none());
    assert_eq!(read.status, Other);
}

#[test]
fn questions_fail_by_kind() {
    let sid = Sid::parse_message(SID).unwrap();
    let ask = |result| message(result, sid).err();
    let unauthorized = |http_status, code| ProviderError::Unauthorized { http_status, code };
    for (status, body, error) in [
        (
            200,
            full("sent").replace("SM0123", "SM9999"),
            ProviderError::Garbage,
        ),
        (200, "{}".to_owned(), ProviderError::Garbage),
        (200, format!(r#"["{SID}"]"#), ProviderError::Garbage),
        (204, String::new(), ProviderError::Garbage),
        (301, full("sent"), ProviderError::Garbage),
        (
            400,
            error_body(400, 20001),
            ProviderError::Refused {
                http_status: 400,
                code: Some(20001),
            },
        ),
        (400, "<html>".to_owned(), ProviderError::Garbage),
        (401, error_body(401, 20003), unauthorized(401, Some(20003))),
        // From whom that comes nobody knows.
        (401, String::new(), ProviderError::Garbage),
        (403, "<html>blocked</html>".into(), ProviderError::Garbage),
        (403, error_body(403, 20006), unauthorized(403, Some(20006))),
        (404, error_body(404, 20404), ProviderError::NotFound),
        (404, "not here".to_owned(), ProviderError::Garbage),
        (408, String::new(), ProviderError::Unreachable),
        (
            409,
            error_body(409, 30409),
            ProviderError::Refused {
                http_status: 409,
                code: Some(30409),
            },
        ),
        (429, String::new(), ProviderError::RateLimited),
        (500, error_body(500, 20500), ProviderError::Unreachable),
        (503, full("sent"), ProviderError::Unreachable),
    ] {
        assert_eq!(
            ask(Ok(answer(status, body.clone()))),
            Some(error),
            "{status} {body}"
        );
    }
    for failure in [
        Failure::TimedOut,
        Failure::Lost,
        Failure::NotSent(NotSentCause::Connect),
    ] {
        assert_eq!(ask(Err(failure)), Some(ProviderError::Unreachable));
    }
    assert_eq!(ask(Err(Failure::NotHttp)), Some(ProviderError::Garbage));
}

#[test]
fn dates_in_rfc_2822() {
    let at = |text| timestamp(text).map(|instant| instant.micros() / 1_000_000);
    assert_eq!(at("Thu, 24 Aug 2023 05:01:45 +0000"), Some(1_692_853_305));
    assert_eq!(at("Thu, 24 Aug 2023 02:01:45 -0300"), Some(1_692_853_305));
    assert_eq!(at("Mon, 24 Aug 2023 05:01:45 +0000"), Some(1_692_853_305));
    assert_eq!(at("24 Aug 2023 05:01:45 GMT"), Some(1_692_853_305));
    for bad in [
        "",
        "2023-08-24T05:01:45Z",
        "Thu, 32 Aug 2023 05:01:45 +0000",
        "Thu, 24 Aug 2023",
    ] {
        assert_eq!(at(bad), None, "{bad}");
    }
}

#[test]
fn pages_are_whole_or_nothing() {
    let read = |body: String| page(Ok(answer(200, body)));
    let two = read(format!(
        r#"{{"messages":[{0},{0}],"next_page_uri":"/next"}}"#,
        full("sent")
    ))
    .ok()
    .unwrap();
    assert_eq!(
        (two.messages.len(), two.next_page_uri.as_deref()),
        (2, Some("/next"))
    );
    for last in [r#","next_page_uri":null"#, r#","next_page_uri":"""#, ""] {
        let page = read(format!(r#"{{"messages":[]{last}}}"#)).ok().unwrap();
        assert!(page.messages.is_empty() && page.next_page_uri.is_none());
    }
    for bad in [
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"messages":null}"#.to_owned(),
        r#"{"messages":{}}"#.to_owned(),
        r#"{"messages":[{}]}"#.to_owned(),
        r#"{"messages":[null]}"#.to_owned(),
        format!(r#"{{"messages":[{},{{"sid":"x"}}]}}"#, full("sent")),
        format!(r#"{{"messages":[["{SID}"]]}}"#),
        r#"{"messages":[],"next_page_uri":7}"#.to_owned(),
        r#"{"messages":[],"messages":[]}"#.to_owned(),
    ] {
        assert_eq!(
            read(bad.clone()).err(),
            Some(ProviderError::Garbage),
            "{bad}"
        );
    }
}
