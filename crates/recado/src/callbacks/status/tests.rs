//! Recorded status callbacks, and injured ones.

use ProviderStatus::{
    Accepted, Canceled, Delivered, Failed, Other, Queued, Read, Receiving, Sent, Undelivered,
};

use super::*;
use crate::callbacks::form::tests::recorded::{injured, recorded};

const TO: Option<&str> = Some("whatsapp:+5511900000001");
const FROM: Option<&str> = Some("whatsapp:+551140000000");
const BSUID: Option<&str> = Some("whatsapp:BR.1000000000000001");

/// File, last digit of the SID, status, error code, recipient, sender.
type Row = (
    &'static str,
    u8,
    ProviderStatus,
    Option<u32>,
    Option<&'static str>,
    Option<&'static str>,
);

const RECORDED: [Row; 18] = [
    ("status-01-queued.form", 0x1, Queued, None, TO, FROM),
    ("status-02-sent.form", 0x2, Sent, None, TO, FROM),
    ("status-03-delivered.form", 0x2, Delivered, None, TO, FROM),
    ("status-04-read.form", 0x2, Read, None, TO, FROM),
    ("status-05-sent-template.form", 0x3, Sent, None, TO, FROM),
    (
        "status-06-delivered-messaging-service.form",
        0x3,
        Delivered,
        None,
        TO,
        FROM,
    ),
    (
        "status-07-undelivered-63016.form",
        0x4,
        Undelivered,
        Some(63016),
        TO,
        FROM,
    ),
    (
        "status-08-failed-63016-with-texts.form",
        0x5,
        Failed,
        Some(63016),
        TO,
        FROM,
    ),
    (
        "status-09-undelivered-63024.form",
        0x6,
        Undelivered,
        Some(63024),
        TO,
        FROM,
    ),
    (
        "status-10-failed-63018-minimal.form",
        0x7,
        Failed,
        Some(63018),
        None,
        None,
    ),
    (
        "status-11-failed-21610-minimal.form",
        0x8,
        Failed,
        Some(21610),
        TO,
        None,
    ),
    (
        "status-12-read-masked-address.form",
        0x9,
        Read,
        None,
        TO,
        FROM,
    ),
    (
        "status-13-delivered-bsuid.form",
        0xa,
        Delivered,
        None,
        BSUID,
        FROM,
    ),
    ("status-14-canceled.form", 0xb, Canceled, None, TO, FROM),
    (
        "status-15-failed-63049.form",
        0xc,
        Undelivered,
        Some(63049),
        TO,
        FROM,
    ),
    (
        "status-16-sms-delivered.form",
        0xd,
        Delivered,
        None,
        Some("+15555550101"),
        Some("+15555550100"),
    ),
    ("status-17-unknown-fields.form", 0xe, Sent, None, TO, FROM),
    ("status-18-unknown-status.form", 0xf, Other, None, TO, FROM),
];

fn sid(n: u8) -> Sid {
    Sid::parse_message(&format!("SM{n:032x}")).unwrap()
}

#[test]
fn recorded_status_callbacks() {
    let recorded = recorded();
    let mut files = recorded.iter().filter(|one| one.file.starts_with("status"));
    for (file, n, status, error_code, to, from) in RECORDED {
        let one = files.next().unwrap();
        assert_eq!(one.file, file);
        let form = Form::parse(&one.body).unwrap();
        assert!(is_status_callback(&form), "{file}");
        let report = StatusCallback::read(&form, None).unwrap();
        assert_eq!(
            (report.message_sid, report.status),
            (Some(sid(n)), status),
            "{file}"
        );
        assert_eq!(
            (report.error_code, report.to, report.from),
            (error_code, to, from),
            "{file}"
        );
        assert_eq!(
            report.unknown_word,
            (status == Other).then_some("teleported"),
            "{file}"
        );
        assert_eq!(report.correlation, None, "{file}");
    }
    assert!(files.next().is_none());
}

#[test]
fn inbound_messages_and_debugger_events_are_no_status_callbacks() {
    for one in recorded()
        .iter()
        .filter(|one| !one.file.starts_with("status"))
    {
        let form = Form::parse(&one.body).unwrap();
        assert!(!is_status_callback(&form), "{}", one.file);
    }
}

#[test]
fn any_part_may_be_missing_or_odd() {
    let read = |body: &str| {
        let form = Form::parse(body.as_bytes()).unwrap();
        let report = StatusCallback::read(&form, None);
        let read = report.map(|report| {
            (
                report.message_sid,
                report.status,
                report.unknown_word.map(str::to_owned),
                report.error_code,
            )
        });
        (is_status_callback(&form), read)
    };
    let one = format!("SM{:032x}", 1);
    let known = |status, code| Some((Some(sid(1)), status, None, code));
    assert_eq!(read(""), (false, None));
    assert_eq!(read("MessageSid=x"), (false, None));
    assert_eq!(read("MessageStatus="), (true, None));
    assert!(!read("SmsStatus=received").0);
    assert_eq!(
        read("SmsStatus=receiving"),
        (false, Some((None, Receiving, None, None)))
    );
    assert_eq!(
        read("MessageStatus=sent"),
        (true, Some((None, Sent, None, None)))
    );
    assert_eq!(
        read(&format!("SmsStatus=sent&SmsSid={one}")),
        (true, known(Sent, None))
    );
    assert_eq!(
        read(&format!(
            "SmsStatus=sent&MessageStatus=read&MessageSid={one}"
        )),
        (true, known(Read, None))
    );
    assert_eq!(
        read("MessageStatus=accepted&MessageSid=AC1"),
        (true, Some((None, Accepted, None, None)))
    );
    let odd = |word: &str| Some((None, Other, Some(word.to_owned()), None));
    assert_eq!(read("MessageStatus=Sent"), (true, odd("Sent")));
    assert_eq!(read("MessageStatus=sent%20"), (true, odd("sent ")));
    for (code, expected) in [
        ("30008", Some(30008)),
        ("0", None),
        ("", None),
        ("-1", None),
        ("%2B1", None),
        ("1.5", None),
        ("99999999999", None),
        ("x", None),
        ("4294967295", Some(u32::MAX)),
    ] {
        let body = format!("MessageStatus=failed&MessageSid={one}&ErrorCode={code}");
        assert_eq!(read(&body), (true, known(Failed, expected)), "{code}");
    }
}

#[test]
fn correlation_ids() {
    let id = 0x0011_2233_4455_6677_8899_aabb_ccdd_eeff_u128.to_be_bytes();
    for query in [
        "c=00112233445566778899aabbccddeeff",
        "c=00112233445566778899AABBCCDDEEFF",
        "x=1&c=00112233445566778899aabbccddeeff&y=2",
        "c=00112233445566778899aabbccddeeff&c=ff",
        "cc=1&c=00112233445566778899aabbccddeeff",
    ] {
        assert_eq!(correlation(query), Some(id), "{query}");
    }
    for query in [
        "",
        "c",
        "c=",
        "C=00112233445566778899aabbccddeeff",
        "c=00112233445566778899aabbccddeef",
        "c=00112233445566778899aabbccddeeff0",
        "c=0011223344556677-8899aabbccddeef",
        "c=ff&c=00112233445566778899aabbccddeeff",
        "c=é0112233445566778899aabbccddeef",
        "c=%30112233445566778899aabbccddee",
        "d=00112233445566778899aabbccddeeff",
    ] {
        assert_eq!(correlation(query), None, "{query}");
    }
}

#[test]
fn injured_bodies_are_read_without_panic() {
    let mut read = 0;
    for body in injured(20_261_120, 10_000) {
        let Ok(form) = Form::parse(&body) else {
            continue;
        };
        read += usize::from(StatusCallback::read(&form, std::str::from_utf8(&body).ok()).is_some());
    }
    // The injuries leave something to read: the test reaches the reader's inside.
    assert!((3_000..10_000).contains(&read), "{read}");
}
