//! People as they are stored. Each of their addresses is an identity with a key of its own, found by
//! its blind index. Identities that turn out to be the same person's are tied together: they keep
//! key and address, so that what was sealed under them stays readable, and share the consent.

use delivery::address::{Address, AddressVariant};
use delivery::consent::Consent;
use delivery::event::Source;
use delivery::identity::IdentityKind;
use delivery::row::{IdentityRow, PersonRow};
use delivery::time::Timestamp;

use crate::secrets::{DecryptError, PersonKey, Vault};

/// A person as stored, at one of their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Person {
    /// Who it is.
    pub(crate) row: PersonRow,
    /// The identity whose key and address these are.
    pub(crate) identity: IdentityRow,
    /// What the address is.
    pub(crate) kind: IdentityKind,
    /// Whether the person has other identities.
    pub(crate) tied: bool,
    /// The keyed hash of the canonical address.
    pub(crate) blind_index: Vec<u8>,
    /// The identity's key, wrapped; `None` when the person was erased.
    pub(crate) wrapped_key: Option<Vec<u8>>,
    /// The canonical address, sealed.
    pub(crate) sealed_address: Option<Vec<u8>>,
    /// Whether the address has a variant without its ninth digit.
    pub(crate) has_variant: bool,
    /// The variant that the person wrote from, or the one without the ninth digit when a message
    /// was delivered under it.
    pub(crate) variant: Option<AddressVariant>,
    /// What they said about receiving messages.
    pub(crate) consent: Consent,
    /// When.
    pub(crate) consent_at: Option<Timestamp>,
    /// Who told us.
    pub(crate) consent_source: Option<Source>,
}

/// A new identity, made ready outside the transaction.
pub(crate) struct Candidate {
    /// What the address is.
    pub(crate) kind: IdentityKind,
    /// The keyed hash of the canonical address.
    pub(crate) blind_index: [u8; 32],
    /// Its key.
    pub(crate) key: PersonKey,
    /// The key, wrapped.
    pub(crate) wrapped_key: Vec<u8>,
    /// The canonical address, sealed.
    pub(crate) sealed_address: Vec<u8>,
    /// The Brazilian area code, 0 for none.
    pub(crate) area: i64,
    /// Whether the address has a variant without its ninth digit.
    pub(crate) has_variant: bool,
}

impl Candidate {
    /// Makes the key of a new identity and seals its address with it.
    pub(crate) fn new(vault: &Vault, blind_index: [u8; 32], address: &Address) -> Self {
        let (key, wrapped_key) = vault.create_person(&blind_index);
        let data = address_data(&blind_index);
        let sealed_address = vault.seal(&key, &data, address.canonical().as_bytes());
        Self {
            kind: IdentityKind::of(address),
            blind_index,
            key,
            wrapped_key,
            sealed_address,
            area: area(address),
            has_variant: address.alternative().is_some(),
        }
    }

    /// The person that inserting the candidate makes: somebody new, or one that is known.
    pub(crate) fn person(&self, identity: IdentityRow, whose: Option<&Person>) -> Person {
        Person {
            row: whose.map_or(PersonRow(identity.0), |person| person.row),
            identity,
            kind: self.kind,
            tied: whose.is_some(),
            blind_index: self.blind_index.to_vec(),
            wrapped_key: Some(self.wrapped_key.clone()),
            sealed_address: Some(self.sealed_address.clone()),
            has_variant: self.has_variant,
            variant: None,
            consent: whose.map_or(Consent::Open, |person| person.consent),
            consent_at: whose.and_then(|person| person.consent_at),
            consent_source: whose.and_then(|person| person.consent_source),
        }
    }
}

impl Person {
    /// The identity by which the person was met first; their number is its own.
    pub(crate) fn first_identity(person: PersonRow) -> IdentityRow {
        IdentityRow(person.0)
    }

    /// Opens the identity's key.
    ///
    /// # Errors
    /// [`DecryptError`] also for an erased person, who has none.
    pub(crate) fn key(&self, vault: &Vault) -> Result<PersonKey, DecryptError> {
        let wrapped = self.wrapped_key.as_deref().unwrap_or_default();
        vault.open_person(&self.blind_index, wrapped)
    }

    /// Opens the address; `None` when the person was erased.
    ///
    /// # Errors
    /// [`DecryptError`] when the key is wrong or the data are damaged.
    pub(crate) fn address(&self, vault: &Vault) -> Result<Option<Address>, DecryptError> {
        let (Some(_), Some(sealed)) = (&self.wrapped_key, &self.sealed_address) else {
            return Ok(None);
        };
        let key = self.key(vault)?;
        let plain = vault.unseal(&key, &address_data(&self.blind_index), sealed)?;
        Ok(std::str::from_utf8(&plain)
            .ok()
            .and_then(Address::from_canonical))
    }
}

/// The blind index of an address.
pub(crate) fn blind_index(vault: &Vault, address: &Address) -> [u8; 32] {
    vault.index("person", address.canonical().as_bytes())
}

/// The Brazilian area code of an address, 0 for none.
pub(crate) fn area(address: &Address) -> i64 {
    address.area_code().map_or(0, |area| i64::from(area.ddd))
}

/// The associated data of a person's address.
fn address_data(blind_index: &[u8]) -> Vec<u8> {
    [b"person.address:".as_slice(), blind_index].concat()
}
