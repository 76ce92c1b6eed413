//! Pages of a list: where the next one begins, and how long it is.

use super::problem::Problem;

/// A key as a cursor: callers need not know what it is. Its last part only shows that it is one.
pub(super) fn cursor(key: i64) -> String {
    let mut digits = Vec::new();
    let key = key.unsigned_abs();
    let mut rest = u128::from(key) * u128::from(CURSOR_SIGN) + u128::from(cursor_sign(key));
    loop {
        digits.push(char::from_digit(u32::try_from(rest % 36).unwrap_or(0), 36).unwrap_or('0'));
        rest /= 36;
        if rest == 0 {
            break;
        }
    }
    digits.iter().rev().collect()
}

/// The key in a cursor; `None` when it is none of ours.
pub(super) fn key_of_cursor(text: &str) -> Option<i64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    let whole = u128::from_str_radix(text, 36).ok().filter(|_| plain)?;
    let key = u64::try_from(whole / u128::from(CURSOR_SIGN)).ok()?;
    let sign = u64::try_from(whole % u128::from(CURSOR_SIGN)).ok()?;
    i64::try_from(key).ok().filter(|_| sign == cursor_sign(key))
}

const CURSOR_SIGN: u64 = 36 * 36 * 36;

fn cursor_sign(key: u64) -> u64 {
    key.wrapping_mul(7_919).wrapping_add(20_011) % CURSOR_SIGN
}

/// Reads a cursor, as a page gave it.
pub(super) fn parse_cursor(text: &str) -> Result<i64, Problem> {
    key_of_cursor(text).ok_or_else(|| {
        Problem::field(
            "cursor",
            "cursor_invalid",
            "Use next_cursor of the page before.",
        )
    })
}

/// How long a page shall be.
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(50) {
        limit @ 1..=200 => Ok(limit),
        _ => Err(Problem::field(
            "limit",
            "limit_invalid",
            "Write a number from 1 to 200.",
        )),
    }
}
