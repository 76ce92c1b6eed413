//! What names a person. WhatsApp gives one person several names: a phone, an id at this business, and
//! an id at the businesses of the same owner. Which of them belong together is learned from signed
//! callbacks that carry more than one.

use crate::address::{Address, AddressKind};

crate::stored! {
    /// What an identity is.
    IdentityKind {
        /// A phone number in its canonical form.
        Phone = 0 "phone",
        /// An id that WhatsApp gives a person for one business: `BR.1234567890123456`.
        UserId = 1 "user_id",
        /// An id that WhatsApp gives a person for all businesses of one owner: `BR.ENT.1234567890`.
        ParentId = 2 "parent_id",
    }
}

impl IdentityKind {
    /// What an address is as an identity.
    pub fn of(address: &Address) -> Self {
        match address.kind() {
            AddressKind::Mobile | AddressKind::Fixed | AddressKind::Foreign => Self::Phone,
            AddressKind::ScopedUserId => {
                let (_, id) = address.canonical().split_once('.').unwrap_or_default();
                if id.starts_with("ENT.") {
                    Self::ParentId
                } else {
                    Self::UserId
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Context;

    #[test]
    fn phones_user_ids_and_parent_ids_are_told_apart() {
        for (text, kind) in [
            ("whatsapp:+5585988887777", IdentityKind::Phone),
            ("whatsapp:+558532227777", IdentityKind::Phone),
            ("whatsapp:+14155552671", IdentityKind::Phone),
            ("whatsapp:BR.1234567890123456", IdentityKind::UserId),
            ("whatsapp:BR.ENT.1234567890123456", IdentityKind::ParentId),
            ("whatsapp:BR.ENT1234567890123456", IdentityKind::UserId),
        ] {
            let address = Address::parse(text, Context::Inbound).unwrap().address;
            assert_eq!(IdentityKind::of(&address), kind, "{text}");
        }
    }
}
