//! Our URLs as Twilio must have them: of one attempt's reports, and of inbound messages.

/// Twilio's connection overrides (twilio.com/docs/usage/webhooks/webhooks-connection-overrides):
/// up to five more tries after a 5xx, a failed connection or an answer that came too late. Without
/// them Twilio tries once more at most, and never after a 5xx.
const OVERRIDES: &str = "rc=5&rp=5xx,ct,rt";

/// The status callback URL of one attempt: the correlation id in the query, which the signature
/// covers, and Twilio's connection overrides (how it retries) in the fragment, which the signature
/// does not cover. Without them a 5xx of ours would lose the report for good.
pub(super) fn status_callback(base: &str, correlation: &str) -> String {
    let (base, fragment) = base.split_once('#').unwrap_or((base, OVERRIDES));
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}c={correlation}#{fragment}")
}

/// A callback URL as it must stand in Twilio's console: with the connection overrides, unless the
/// operator has given a fragment.
pub fn with_overrides(url: &str) -> String {
    if url.contains('#') {
        url.to_owned()
    } else {
        format!("{url}#{OVERRIDES}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_correlation_id_stands_in_the_query_and_the_overrides_in_the_fragment() {
        for (base, url) in [
            ("https://h/s", "https://h/s?c=7#rc=5&rp=5xx,ct,rt"),
            ("https://h/s?t=1", "https://h/s?t=1&c=7#rc=5&rp=5xx,ct,rt"),
            ("https://h/s#e=sao-paulo", "https://h/s?c=7#e=sao-paulo"),
        ] {
            assert_eq!(status_callback(base, "7"), url);
        }
    }

    #[test]
    fn the_console_gets_the_same_overrides_unless_there_are_others() {
        for (url, console) in [
            ("https://h/w", "https://h/w#rc=5&rp=5xx,ct,rt"),
            ("https://h/w?t=1", "https://h/w?t=1#rc=5&rp=5xx,ct,rt"),
            (
                "https://h/w#e=sao-paulo&rc=1",
                "https://h/w#e=sao-paulo&rc=1",
            ),
        ] {
            assert_eq!(with_overrides(url), console);
        }
    }
}
