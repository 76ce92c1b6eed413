//! A table of answers and what each of them means.

mod resource;

use std::time::Duration;

use delivery::outcome::RetryAfter;
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

use super::*;

const ACCOUNT: &str = "AC00000000000000000000000000000001";
const SID: &str = "SM0123456789abcdef0123456789abcdef";

/// What a row expects, in short.
#[derive(Clone, Copy)]
enum Means {
    Sent(ProviderStatus),
    Garbage,
    Server,
    Limited,
    Refused(Option<u32>),
}
use Means::{Garbage, Limited, Refused, Sent, Server};
use ProviderStatus::{Accepted, Delivered, Failed, Other, Queued, Scheduled, Sending};

fn answer(status: u16, body: impl Into<Bytes>) -> Answer {
    Answer {
        status,
        headers: HeaderMap::new(),
        body: Some(body.into()),
    }
}

fn expected(status: u16, means: Means) -> Outcome {
    match means {
        Sent(status) => Outcome::Sent {
            sid: Sid::parse_message(SID).unwrap(),
            status,
        },
        Garbage => Outcome::Unknown(UnknownCause::Garbage(status)),
        Server => Outcome::Unknown(UnknownCause::ServerError(status)),
        Limited => Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after: None,
        },
        Refused(code) => Outcome::Refused {
            http_status: status,
            code,
        },
    }
}

#[track_caller]
fn check(status: u16, body: &str, means: Means) {
    let outcome = classify(&answer(status, body.to_owned()), ACCOUNT);
    let shown: String = body.chars().take(300).collect();
    assert_eq!(outcome, expected(status, means), "{status} {shown}");
}

/// Twilio's answer to a create request, complete.
fn full(status: &str) -> String {
    format!(
        r#"{{"account_sid":"{ACCOUNT}","api_version":"2010-04-01","body":"oi","date_created":"Thu, 24 Aug 2023 05:01:45 +0000","date_sent":null,"date_updated":"Thu, 24 Aug 2023 05:01:45 +0000","direction":"outbound-api","error_code":null,"error_message":null,"from":"whatsapp:+551140000000","messaging_service_sid":null,"num_media":"0","num_segments":"1","price":null,"price_unit":null,"sid":"{SID}","status":"{status}","subresource_uris":{{"media":"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}/Media.json"}},"to":"whatsapp:+5511900000001","uri":"/2010-04-01/Accounts/{ACCOUNT}/Messages/{SID}.json"}}"#
    )
}

fn error_body(status: u16, code: u32) -> String {
    format!(
        r#"{{"code":{code},"message":"The request was refused","more_info":"https://www.twilio.com/docs/errors/{code}","status":{status}}}"#
    )
}

const BODIES_OF_NOBODY: [&str; 14] = [
    "",
    " ",
    "null",
    "true",
    "42",
    "[]",
    "{}",
    "\"SM0123456789abcdef0123456789abcdef\"",
    "<html><body>502 Bad Gateway</body></html>",
    "upstream connect error",
    "{\"message\":\"Forbidden\"}",
    "{\"error\":\"x\",\"status\":\"400\"}",
    "\u{1f}\u{8b}\u{8}\u{0}",
    "{\"code\":21211",
];

#[test]
fn good_answers() {
    for &status in ProviderStatus::ALL {
        check(201, &full(status.as_str()), Sent(status));
    }
    check(200, &full("queued"), Sent(Queued));
    check(202, &full("accepted"), Sent(Accepted));
    check(201, &full("teleported"), Sent(Other));
    check(201, &full("failed"), Sent(Failed));
    check(201, &full("Queued"), Sent(Other));
    for (body, status) in [
        (r#"{"sid":"SM0123456789abcdef0123456789abcdef"}"#, Other),
        (
            r#"{"sid":"SM0123456789ABCDEF0123456789ABCDEF","status":"queued"}"#,
            Queued,
        ),
        (
            r#" {"sid":"SM0123456789abcdef0123456789abcdef","status":null} "#,
            Other,
        ),
        (
            r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":7}"#,
            Other,
        ),
        (
            r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":["sent"]}"#,
            Other,
        ),
        (
            r#"{"s\u0069d":"SM0123456789abcdef0123456789abcdef","status":"sending"}"#,
            Sending,
        ),
        (
            r#"{"sid":"SM0123456789abcdef0123456789abcdef","account_sid":null,"status":"delivered"}"#,
            Delivered,
        ),
        (
            r#"{"sid":"SM0123456789abcdef0123456789abcdef","account_sid":"ac00000000000000000000000000000001","status":"scheduled"}"#,
            Scheduled,
        ),
        (
            r#"{"sid":"SM0123456789abcdef0123456789abcdef","x":1,"x":2,"tags":{"a":[1,{"b":null}]},"status":"queued"}"#,
            Queued,
        ),
    ] {
        check(201, body, Sent(status));
    }
    let media = full("queued").replace("SM0123", "MM0123");
    let sid = Sid::parse_message("MM0123456789abcdef0123456789abcdef").unwrap();
    assert_eq!(
        classify(&answer(201, media), ACCOUNT),
        Outcome::Sent {
            sid,
            status: Queued
        }
    );
}

#[test]
fn success_without_a_message_is_unknown() {
    for status in [200, 201, 202, 204, 206, 226, 299] {
        for body in BODIES_OF_NOBODY {
            check(status, body, Garbage);
        }
    }
    let other_account = full("queued").replace(
        r#""account_sid":"AC00000000000000000000000000000001""#,
        r#""account_sid":"AC00000000000000000000000000000002""#,
    );
    for body in [
        other_account.as_str(),
        r#"["SM0123456789abcdef0123456789abcdef",null,null,null,null,"queued",null,null,null]"#,
        r#"[{"sid":"SM0123456789abcdef0123456789abcdef"}]"#,
        r#"{"message":{"sid":"SM0123456789abcdef0123456789abcdef"}}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","to":1e400}"#,
        r#"{"sid":null,"status":"queued"}"#,
        r#"{"sid":"","status":"queued"}"#,
        r#"{"sid":1,"status":"queued"}"#,
        r#"{"sid":["SM0123456789abcdef0123456789abcdef"]}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcde"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef0"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdeg"}"#,
        r#"{"sid":"sm0123456789abcdef0123456789abcdef"}"#,
        r#"{"sid":" SM0123456789abcdef0123456789abcdef"}"#,
        r#"{"sid":"AC0123456789abcdef0123456789abcdef"}"#,
        r#"{"sid":"MG0123456789abcdef0123456789abcdef"}"#,
        r#"{"SID":"SM0123456789abcdef0123456789abcdef"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","sid":"SM0123456789abcdef0123456789abcdef"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","sid":"SM00000000000000000000000000000002"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","s\u0069d":"SM00000000000000000000000000000002"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","status":"failed"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","account_sid":"AC00000000000000000000000000000001","account_sid":"AC00000000000000000000000000000001"}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef"} {}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef"},"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef",}"#,
        r#"{'sid':'SM0123456789abcdef0123456789abcdef'}"#,
        r#"{"sid":"SM0123456789abcdef0123456789abcdef","body":"\ud800"}"#,
        "\u{feff}{\"sid\":\"SM0123456789abcdef0123456789abcdef\"}",
        "<Response><sid>SM0123456789abcdef0123456789abcdef</sid></Response>",
    ] {
        check(201, body, Garbage);
    }
    // An error body under a success status belongs to neither.
    check(200, &error_body(200, 21211), Garbage);
}

#[test]
fn a_cut_answer_is_never_sent() {
    let body = full("queued");
    for cut in 0..body.len() {
        check(201, &body[..cut], Garbage);
    }
}

#[test]
fn deep_wide_and_broken_bodies_do_no_harm() {
    let brackets = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    // Where we do not look, depth costs nothing; where we look, it is refused.
    check(
        201,
        &format!(r#"{{"x":{brackets},"sid":"{SID}"}}"#),
        Sent(Other),
    );
    check(
        201,
        &format!(r#"{{"sid":"{SID}","status":{brackets}}}"#),
        Garbage,
    );
    check(
        400,
        &format!(r#"{{"status":400,"message":"x","code":{brackets}}}"#),
        Garbage,
    );
    check(201, &brackets, Garbage);
    let wide = format!(
        r#"{{{}"sid":"{SID}","status":"queued"}}"#,
        r#""k":"v","#.repeat(90_000)
    );
    check(201, &wide, Sent(Queued));
    let invalid_utf8 = [br#"{"sid":""#.as_slice(), &[0xff; 34], br#""}"#].concat();
    assert_eq!(
        classify(&answer(201, invalid_utf8), ACCOUNT),
        expected(201, Garbage)
    );
    let too_long = |status| Answer {
        status,
        headers: HeaderMap::new(),
        body: None,
    };
    for (status, means) in [
        (201, Garbage),
        (301, Garbage),
        (400, Garbage),
        (408, Server),
        (429, Limited),
        (500, Server),
    ] {
        assert_eq!(
            classify(&too_long(status), ACCOUNT),
            expected(status, means),
            "{status}"
        );
    }
}

#[test]
fn other_classes_of_status_decide_alone() {
    let (good, bad) = (full("queued"), error_body(500, 20500));
    for status in [500, 501, 502, 503, 504, 507, 511, 520, 524, 599, 408] {
        for body in ["", "<html>", &good, &bad, &error_body(status, 20500)] {
            check(status, body, Server);
        }
    }
    for status in [
        100, 101, 103, 199, 300, 301, 302, 303, 304, 307, 308, 399, 600, 999,
    ] {
        for body in ["", &good, &error_body(status, 21211)] {
            check(status, body, Garbage);
        }
    }
    for body in [
        "",
        "slow down",
        "<html>",
        &good,
        &error_body(429, 20429),
        "{}",
        "[",
        "null",
    ] {
        check(429, body, Limited);
    }
}

#[test]
fn refusals_by_every_code() {
    for (status, codes) in [
        (
            400,
            &[
                14107, 20001, 21210, 21211, 21212, 21214, 21219, 21265, 21408, 21602, 21603, 21604,
                21605, 21606, 21608, 21609, 21610, 21611, 21612, 21614, 21616, 21617, 21618, 21619,
                21620, 21621, 21622, 21623, 21624, 21627, 21654, 21655, 21656, 21657, 21658, 21701,
                21703, 21705, 21708, 21710, 21712, 21901, 21910, 30036, 35111, 35112, 35113, 35114,
                35115, 35117, 35118, 35125, 35127, 63007, 63031, 63063, 92005, 92006, 92007,
            ][..],
        ),
        (401, &[20003, 20005, 20009]),
        (403, &[20003, 20006, 20008, 20403, 90010]),
        (404, &[20404]),
        (405, &[20004]),
        (409, &[20409, 30409]),
        (413, &[21617]),
        (422, &[21211]),
        (451, &[63058]),
    ] {
        for code in codes {
            check(status, &error_body(status, *code), Refused(Some(*code)));
        }
    }
    check(400, r#"{"message":"no code","status":400}"#, Refused(None));
    check(
        400,
        r#"{"code":null,"message":"null code","status":400}"#,
        Refused(None),
    );
    check(
        400,
        r#"{"code":0,"message":"","more_info":null,"status":400}"#,
        Refused(Some(0)),
    );
    check(
        400,
        r#"{"code":21211,"message":"x","status":400,"x":{"status":1}}"#,
        Refused(Some(21211)),
    );
}

#[test]
fn refusals_by_nobody_are_unknown() {
    for status in [
        400, 401, 402, 403, 404, 405, 409, 410, 413, 414, 418, 425, 431, 451, 499,
    ] {
        for body in BODIES_OF_NOBODY {
            check(status, body, Garbage);
        }
    }
    for body in [
        full("queued").as_str(),
        &error_body(404, 20404),
        &error_body(500, 20500),
        &format!("[{}]", error_body(400, 21211)),
        r#"[400,"as an array",21211]"#,
        r#"{"code":21211,"message":"no status"}"#,
        r#"{"code":21211,"status":400}"#,
        r#"{"code":21211,"message":null,"status":400}"#,
        r#"{"code":21211,"message":7,"status":400}"#,
        r#"{"code":21211,"message":"status as text","status":"400"}"#,
        r#"{"code":"21211","message":"code as text","status":400}"#,
        r#"{"code":21211.5,"message":"half a code","status":400}"#,
        r#"{"code":-1,"message":"negative","status":400}"#,
        r#"{"code":99999999999,"message":"too large","status":400}"#,
        r#"{"code":[21211],"message":"array","status":400}"#,
        r#"{"code":21211,"code":21610,"message":"twice","status":400}"#,
        r#"{"code":21211,"message":"twice","status":400,"status":400}"#,
        r#"{"code":21211,"message":"cut","status":400"#,
    ] {
        check(400, body, Garbage);
    }
}

#[test]
fn the_wait_comes_with_429_alone() {
    let with_wait = |status, wait: &'static str| {
        let mut answer = answer(status, error_body(status, 20429));
        let name = HeaderName::from_static("retry-after");
        answer.headers.insert(name, HeaderValue::from_static(wait));
        classify(&answer, ACCOUNT)
    };
    for (wait, retry_after) in [
        ("7", Some(RetryAfter::Delay(Duration::from_secs(7)))),
        (
            "1000000000",
            Some(RetryAfter::Delay(Duration::from_secs(1_000_000_000))),
        ),
        (
            "Sun, 06 Nov 1994 08:49:37 GMT",
            Some(RetryAfter::Until(Timestamp::from_seconds(784_111_777))),
        ),
        ("-7", None),
        ("soon", None),
        ("", None),
    ] {
        let limited = Outcome::NotSent {
            cause: NotSentCause::RateLimited,
            retry_after,
        };
        assert_eq!(with_wait(429, wait), limited, "{wait}");
    }
    assert_eq!(with_wait(503, "7"), expected(503, Server));
    assert_eq!(with_wait(400, "7"), expected(400, Refused(Some(20429))));
}

#[test]
fn failures_without_an_answer() {
    for (failure, expected) in [
        (Failure::TimedOut, UnknownCause::Timeout),
        (Failure::Lost, UnknownCause::ConnectionLost),
        (Failure::NotHttp, UnknownCause::Garbage(0)),
    ] {
        assert_eq!(outcome(Err(failure), ACCOUNT), Outcome::Unknown(expected));
    }
    let cause = NotSentCause::Dns;
    let expected = Outcome::NotSent {
        cause,
        retry_after: None,
    };
    assert_eq!(outcome(Err(Failure::NotSent(cause)), ACCOUNT), expected);
}
