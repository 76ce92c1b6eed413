//! Where Twilio reports to: our callback URL for one attempt.

/// The status callback URL of one attempt: the correlation id in the query, which the signature
/// covers, and Twilio's connection overrides (how it retries) in the fragment, which the signature
/// does not cover. Without them a 5xx of ours would lose the report for good.
pub(super) fn status_callback(base: &str, correlation: &str) -> String {
    let (base, fragment) = match base.split_once('#') {
        Some((base, fragment)) => (base, fragment),
        None => (base, "rc=5&rp=5xx,ct,rt"),
    };
    let separator = if base.contains('?') { '&' } else { '?' };
    format!("{base}{separator}c={correlation}#{fragment}")
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
}
