//! Who: the one canonical form of a recipient or sender, read from whatever people and providers
//! write, and printed only masked.
//!
//! Identity is E.164 with the Brazilian ninth digit, or a business-scoped user id. Opt-outs,
//! windows, limits and export are keyed on it, never on a raw `From`, `To` or `WaId`: WhatsApp
//! still knows many Brazilian accounts under the number they had before the ninth digit came, so
//! the same person writes from one form and is known to everybody by the other.
//!
//! What cannot be read for certain is refused: a guess would write to a stranger.

mod area;
mod brazil;
mod channel;
mod clean;
mod context;
mod flag;
mod foreign;
mod kind;
mod mask;
mod rejection;

use std::fmt;

pub use area::{AreaCode, area_code};
pub use channel::without_channel;
pub(crate) use clean::is_invisible;
pub use context::Context;
pub use flag::{Flag, Flags};
pub use kind::AddressKind;
pub use mask::Masked;
pub use rejection::{Known, NonGeographic, Reason, RejectStatus, Rejection};

use brazil::{Form, Line};
use clean::{Cleaned, Number, Plus};

/// The canonical identity of a person or of a sender.
///
/// It has no `Display`, and `Debug` shows the masked form, so that a number never reaches a log
/// by accident; [`Address::canonical`] and [`Address::whatsapp`] are the ways to the number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    canonical: Box<str>,
    kind: AddressKind,
}

/// An address and what had to be done to read it.
#[derive(Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Who it is.
    pub address: Address,
    /// What was repaired, and what is doubtful.
    pub flags: Flags,
    /// The E.164 form under which the provider knows the person, where it is not the canonical
    /// one. An answer may go to it. Only [`Context::Inbound`] and [`Context::InboundWaid`] give
    /// it: what a person typed proves no account.
    pub sent_form: Option<String>,
}

impl Address {
    /// Reads an address.
    ///
    /// ```
    /// use delivery::address::{Address, Context};
    ///
    /// let typed = Address::parse("(85) 98888-7777", Context::Typed).unwrap();
    /// let inbound = Address::parse("whatsapp:+558588887777", Context::Inbound).unwrap();
    /// assert_eq!(typed.address, inbound.address);
    /// assert_eq!(inbound.sent_form.as_deref(), Some("+558588887777"));
    /// ```
    ///
    /// # Errors
    /// [`Rejection`] when the text holds no number, more than one, one that the numbering plan
    /// does not know, or one that cannot be messaged.
    pub fn parse(text: &str, context: Context) -> Result<Parsed, Rejection> {
        let number = match clean::clean(text, context)? {
            Cleaned::ScopedUserId(id) => return Ok(Parsed::scoped(id)),
            Cleaned::Number(number) => number,
        };
        let international = number.plus != Plus::Absent || context == Context::InboundWaid;
        let mut flags = number.flags;
        let line = match number.digits() {
            [b'5', b'5', rest @ ..] if international => brazil::read_national(rest, &mut flags)?,
            _ if international => return read_foreign(&number, context),
            digits => brazil::read_bare(digits, &mut flags)
                .map_err(|rejection| hint_at_plus(digits, rejection))?,
        };
        let sent_form = line.written_old().filter(|_| context.is_provider());
        Ok(Parsed {
            address: Address::from_line(&line),
            flags,
            sent_form,
        })
    }

    /// Reads back exactly what [`Address::canonical`] gave, without repairs. Foreign numbers are
    /// checked by shape only: an identity on record stays readable when a country changes its
    /// plan.
    pub fn from_canonical(text: &str) -> Option<Self> {
        let Some(digits) = text.strip_prefix('+') else {
            return clean::is_scoped_id(text).then(|| Self::scoped(text));
        };
        if let Some(national) = digits.strip_prefix("55") {
            let line = Line::read(national.as_bytes(), &mut Flags::default()).ok()?;
            return (line.form != Form::OldMobile).then(|| Self::from_line(&line));
        }
        foreign::is_canonical(digits).then(|| Self::foreign(text))
    }

    /// What the address is.
    pub fn kind(&self) -> AddressKind {
        self.kind
    }

    /// The canonical E.164 number, with the ninth digit; `None` for scoped user ids.
    pub fn e164(&self) -> Option<&str> {
        (self.kind != AddressKind::ScopedUserId).then_some(&*self.canonical)
    }

    /// The key of the identity: E.164, or the scoped user id such as `BR.1234567890123456`.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The address as people write it for WhatsApp: `whatsapp:+5585…`, or `whatsapp:BR.1234…`.
    pub fn whatsapp(&self) -> String {
        format!("{}{}", channel::CHANNEL, self.canonical)
    }

    /// The address as it is written in a variant: `+5585…`, or `BR.1234…`. An address that has only
    /// one is written canonically.
    pub fn in_variant(&self, variant: AddressVariant) -> String {
        let other = match variant {
            AddressVariant::Canonical => None,
            AddressVariant::WithoutNinthDigit => self.alternative(),
        };
        other.unwrap_or_else(|| self.canonical.as_ref().into())
    }

    /// The Brazilian area code; `None` for everything else. It says where the line was issued:
    /// people keep their number when they move.
    pub fn area_code(&self) -> Option<&'static AreaCode> {
        let (area, _) = self.brazilian()?;
        area_code(area.parse().ok()?)
    }

    /// The ISO 3166 code of the country, `BR` or `US`; `None` for scoped user ids, whose two
    /// letters do not say where a phone is, and for numbers of no country such as +800.
    pub fn region(&self) -> Option<&'static str> {
        match self.kind {
            AddressKind::Mobile | AddressKind::Fixed => Some("BR"),
            AddressKind::Foreign => foreign::region(&self.canonical),
            AddressKind::ScopedUserId => None,
        }
    }

    /// The other form of a Brazilian mobile, E.164 without the ninth digit, to be tried once when
    /// the provider knows no account under this one. `None` where the line never had such a form:
    /// only 6 to 9 began old mobiles, and behind 9 and 2 to 5 lies somebody's landline.
    pub fn alternative(&self) -> Option<String> {
        let (area, subscriber) = self.brazilian()?;
        let old = subscriber
            .strip_prefix('9')
            .filter(|_| self.kind == AddressKind::Mobile)?;
        old.starts_with(['6', '7', '8', '9'])
            .then(|| format!("+55{area}{old}"))
    }

    /// The form for logs and pages: enough to recognize a number that one knows, too little to
    /// call it.
    pub fn masked(&self) -> Masked {
        let area = self.brazilian().map(|(area, _)| area);
        Masked::of(&self.canonical, self.kind, area)
    }

    /// The area code and the subscriber's digits of a Brazilian line.
    fn brazilian(&self) -> Option<(&str, &str)> {
        match self.kind {
            AddressKind::Mobile | AddressKind::Fixed => {
                self.canonical.strip_prefix("+55")?.split_at_checked(2)
            }
            AddressKind::Foreign | AddressKind::ScopedUserId => None,
        }
    }

    fn from_line(line: &Line<'_>) -> Self {
        let kind = match line.form {
            Form::Fixed => AddressKind::Fixed,
            Form::Mobile | Form::OldMobile => AddressKind::Mobile,
        };
        Self {
            canonical: line.canonical().into(),
            kind,
        }
    }

    fn foreign(canonical: &str) -> Self {
        Self {
            canonical: canonical.into(),
            kind: AddressKind::Foreign,
        }
    }

    fn scoped(id: &str) -> Self {
        Self {
            canonical: id.into(),
            kind: AddressKind::ScopedUserId,
        }
    }
}

crate::stored! {
    /// Under which of its two spellings an address is used. WhatsApp knows some Brazilian mobile
    /// numbers only without their ninth digit.
    AddressVariant {
        /// As stored, with the ninth digit.
        Canonical = 0 "canonical",
        /// A Brazilian mobile without its ninth digit.
        WithoutNinthDigit = 1 "without_ninth_digit",
    }
}

impl AddressVariant {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Canonical => Self::WithoutNinthDigit,
            Self::WithoutNinthDigit => Self::Canonical,
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.masked())
    }
}

impl Parsed {
    fn scoped(id: String) -> Self {
        let flags = Flags::from(Flag::NoPhone);
        Self {
            address: Address::scoped(&id),
            flags,
            sent_form: None,
        }
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("address", &self.address)
            .field("flags", &self.flags)
            .field("has_sent_form", &self.sent_form.is_some())
            .finish()
    }
}

fn read_foreign(number: &Number, context: Context) -> Result<Parsed, Rejection> {
    let mut flags = number.flags;
    let written = number.international();
    let canonical = foreign::read(&written, &mut flags)?;
    let sent_form = (context.is_provider() && written != canonical).then_some(written);
    Ok(Parsed {
        address: Address::foreign(&canonical),
        flags,
        sent_form,
    })
}

/// Digits too many or too few for Brazil may be a foreign number whose plus was left out. Saying
/// so helps; reading it as one would be a guess.
fn hint_at_plus(digits: &[u8], rejection: Rejection) -> Rejection {
    let foreign = digits
        .strip_prefix(b"00")
        .or((digits.len() >= 12).then_some(digits));
    match foreign {
        Some(digits) if rejection.reason == Reason::BadLength && foreign::is_valid(digits) => {
            Reason::ForeignNeedsPlus.into()
        }
        _ => rejection,
    }
}
