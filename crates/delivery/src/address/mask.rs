//! How an address is shown where it must not be readable.

use std::fmt;

use super::foreign;
use super::kind::AddressKind;

/// An address with most of the subscriber's digits hidden, for logs and pages:
/// `+55 85 9****-**77`, `+55 85 ****-**34`, `+1 ***…71`, `BR.****…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Masked(String);

impl Masked {
    /// Masks a canonical address; `area` is the area code of a Brazilian line.
    pub(super) fn of(canonical: &str, kind: AddressKind, area: Option<&str>) -> Self {
        let last = canonical
            .get(canonical.len().saturating_sub(2)..)
            .unwrap_or_default();
        Self(match (kind, area) {
            (AddressKind::Mobile, Some(area)) => format!("+55 {area} 9****-**{last}"),
            (AddressKind::Fixed, Some(area)) => format!("+55 {area} ****-**{last}"),
            (AddressKind::ScopedUserId, _) => {
                format!("{}.****…", canonical.get(..2).unwrap_or_default())
            }
            _ => {
                let digits = canonical.trim_start_matches('+');
                let country = digits.get(..foreign::country_code_digits(digits));
                format!("+{} ***…{last}", country.unwrap_or_default())
            }
        })
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
