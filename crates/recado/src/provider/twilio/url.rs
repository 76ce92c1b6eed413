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

/// Whether the fragment of a callback URL asks Twilio for less than to come again after a 5xx of ours.
pub fn asks_for_too_few_tries(url: &str) -> bool {
    let Some((_, fragment)) = url.split_once('#') else {
        return false;
    };
    let parameter = |name: &str| {
        let mut parameters = fragment.split('&').filter_map(|pair| pair.split_once('='));
        parameters.find_map(|(known, value)| (known == name).then_some(value))
    };
    let tries = parameter("rc").and_then(|tries| tries.parse().ok());
    let after = parameter("rp").unwrap_or_default();
    let mut after = after.split(',');
    tries.unwrap_or(0u32) == 0 || !after.any(|policy| ["5xx", "all"].contains(&policy))
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
    fn a_fragment_without_tries_after_a_failure_of_ours_is_noticed() {
        for (url, too_few) in [
            ("https://h/w", false),
            ("https://h/w#rc=5&rp=5xx,ct,rt", false),
            ("https://h/w#rp=all&rc=1", false),
            ("https://h/w#e=sao-paulo", true),
            ("https://h/w#rc=2&e=sao-paulo", true),
            ("https://h/w#rc=0&rp=all", true),
            ("https://h/w#rp=5xx", true),
            ("https://h/w#", true),
        ] {
            assert_eq!(asks_for_too_few_tries(url), too_few, "{url}");
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
