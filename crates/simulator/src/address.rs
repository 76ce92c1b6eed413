//! Addresses: which are the same, and who is behind one.

/// Whether two addresses are the same, with or without their channel.
pub(crate) fn same_address(one: &str, other: &str) -> bool {
    let plain = |address: &str| {
        let plain = address.strip_prefix("whatsapp:");
        plain.unwrap_or(address).to_owned()
    };
    plain(one) == plain(other)
}

/// The person behind an address: a Brazilian mobile is the same with and without its ninth digit.
pub(crate) fn person(address: &str) -> String {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    match number.strip_prefix("+55") {
        Some(rest) if rest.len() == 11 && rest.as_bytes().get(2) == Some(&b'9') => {
            let (area, subscriber) = rest.split_at(2);
            format!("+55{area}{}", subscriber.get(1..).unwrap_or_default())
        }
        _ => number.to_owned(),
    }
}

/// Whether an address carries the ninth digit of a Brazilian mobile.
pub(crate) fn has_ninth_digit(address: &str) -> bool {
    let number = address.strip_prefix("whatsapp:").unwrap_or(address);
    number
        .strip_prefix("+55")
        .is_some_and(|rest| rest.len() == 11)
}
