//! `Retry-After` in every form, and in none.

use hyper::header::HeaderValue;

use super::*;

fn read(value: &str) -> Option<RetryAfter> {
    let mut headers = HeaderMap::new();
    headers.insert(
        RETRY_AFTER,
        HeaderValue::from_bytes(value.as_bytes()).unwrap(),
    );
    retry_after(&headers)
}

#[test]
fn seconds() {
    for (text, seconds) in [
        ("0", 0),
        ("1", 1),
        ("30", 30),
        ("120", 120),
        ("007", 7),
        (" 5 ", 5),
        ("1000000000", 1_000_000_000),
    ] {
        assert_eq!(
            read(text),
            Some(RetryAfter::Delay(Duration::from_secs(seconds))),
            "{text:?}"
        );
    }
}

#[test]
fn dates_in_all_three_forms() {
    // The example of RFC 9110, section 5.6.7.
    let instant = Some(RetryAfter::Until(Timestamp::from_seconds(784_111_777)));
    for text in [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ] {
        assert_eq!(read(text), instant, "{text:?}");
    }
    let later = Some(RetryAfter::Until(Timestamp::from_seconds(1_795_176_000)));
    assert_eq!(read("Fri, 20 Nov 2026 12:00:00 GMT"), later);
}

#[test]
fn nothing_that_can_be_read() {
    assert_eq!(retry_after(&HeaderMap::new()), None);
    for text in [
        "",
        " ",
        "-1",
        "+1",
        "1.5",
        "1e9",
        "0x10",
        "soon",
        "30s",
        "30, 60",
        "\u{0661}",
        "99999999999999999999999999",
        "Sun, 06 Nov 1994",
        "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 25:49:37 GMT",
        "Mon, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0200",
        "Sun, 06 Nov 99999 08:49:37 GMT",
        "1994-11-06T08:49:37Z",
        "GMT",
        ", ::",
        "\u{fffd}",
    ] {
        assert_eq!(read(text), None, "{text:?}");
    }
}

#[test]
fn of_two_headers_the_first_counts() {
    let mut headers = HeaderMap::new();
    headers.append(RETRY_AFTER, HeaderValue::from_static("3"));
    headers.append(RETRY_AFTER, HeaderValue::from_static("9"));
    assert_eq!(
        retry_after(&headers),
        Some(RetryAfter::Delay(Duration::from_secs(3)))
    );
}
