//! `X-Twilio-Signature`: whether a callback comes from Twilio.
//!
//! Twilio signs the URL it calls, followed for forms by all fields sorted by name, with HMAC-SHA1
//! under the account's primary auth token (twilio.com/docs/usage/security). The URL is the one
//! that *we* declared: taking scheme or host from the request would let its sender choose them.
//!
//! What a signature does not prove: freshness (a captured request verifies for ever), and where
//! names end and values begin, because they are joined without a separator. A captured request
//! can be cut into other fields, though no byte of it can be changed; what reads fields
//! therefore checks the form of each value.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::form::{Form, TooManyFields, hex_byte};
use crate::secrets::Secret;

/// Base64 of the 20 bytes of an HMAC-SHA1, with padding.
const SIGNATURE_CHARACTERS: usize = 28;
/// The query parameter that carries the SHA-256 of a body that is not a form.
const BODY_HASH_PARAMETER: &str = "bodySHA256";

/// Verifies the callbacks of one route.
#[derive(Clone)]
pub struct Verifier {
    /// HMAC states that have taken in a token and one spelling of a declared URL already; the
    /// most likely first.
    states: Vec<Hmac<Sha1>>,
}

/// Why a verifier cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// There is no token, or an empty one, with which anybody could sign.
    #[error("an auth token is needed to verify callbacks, and it must not be empty")]
    Token,
    /// There is no public URL, or it is not a complete one.
    #[error("the public URL of callbacks must be complete: scheme, host and path")]
    Url,
}

/// Why a callback is refused. Nothing in it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The header is not base64 of 20 bytes.
    #[error("X-Twilio-Signature is not a signature")]
    Malformed,
    /// No valid token gives this signature for this URL and these fields.
    #[error("X-Twilio-Signature does not match: wrong token, URL or content")]
    Mismatch,
    /// The form has too many fields.
    #[error(transparent)]
    Fields(#[from] TooManyFields),
    /// `bodySHA256` is missing, repeated, or not the hash of the body.
    #[error("the query's bodySHA256 is not the hash of the body")]
    BodyHash,
}

impl Verifier {
    /// A verifier for requests to any of `urls` signed with any of `tokens`.
    ///
    /// Each URL is spelled as it was given to Twilio (letter case included; the path that Twilio
    /// calls, behind any proxy's rewriting). Its query and fragment are left out: Twilio calls
    /// exactly the URL it was given, so the query that arrives holds what was declared, and the
    /// fragment is never sent nor signed. Each URL is tried as declared, with its standard port
    /// written out, and without a port, because Twilio's products differ in that.
    /// Several URLs are for moving a route, several tokens for rotating them.
    ///
    /// # Errors
    /// [`VerifierError`] when nothing or everything would verify.
    pub fn new(urls: &[&str], tokens: &[Secret]) -> Result<Self, VerifierError> {
        if tokens.is_empty() || tokens.iter().any(|token| token.expose().is_empty()) {
            return Err(VerifierError::Token);
        }
        let mut spellings = Vec::new();
        for url in urls {
            for spelling in port_spellings(url).ok_or(VerifierError::Url)? {
                if !spellings.contains(&spelling) {
                    spellings.push(spelling);
                }
            }
        }
        let mut states = Vec::with_capacity(spellings.len() * tokens.len());
        for spelling in &spellings {
            for token in tokens {
                let mut state = Hmac::<Sha1>::new_from_slice(token.expose().as_bytes())
                    .map_err(|_| VerifierError::Token)?;
                state.update(spelling.as_bytes());
                states.push(state);
            }
        }
        if states.is_empty() {
            Err(VerifierError::Url)
        } else {
            Ok(Self { states })
        }
    }

    /// Verifies a form and returns its fields. `query` is the query string exactly as received,
    /// without its `?`; `None` when there was no `?`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify_form(
        &self,
        query: Option<&str>,
        raw_body: &[u8],
        signature: &str,
    ) -> Result<Form, Refusal> {
        // No body is decoded for a sender that cannot even write a signature.
        let signature = decode_signature(signature)?;
        let form = Form::parse(raw_body)?;
        let mut signed = signed_query(query, raw_body.len());
        append_sorted(&mut signed, &form);
        self.compare(&signed, &signature)?;
        Ok(form)
    }

    /// Verifies a body that is not a form: the URL is signed, and its query carries the body's
    /// SHA-256 in lower-case hexadecimal digits as `bodySHA256`.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify_json(
        &self,
        query: Option<&str>,
        raw_body: &[u8],
        signature: &str,
    ) -> Result<(), Refusal> {
        self.verify_get(query, signature)?;
        let claimed = body_hash(query.unwrap_or_default()).ok_or(Refusal::BodyHash)?;
        let actual: [u8; 32] = Sha256::digest(raw_body).into();
        if actual.ct_eq(&claimed).into() {
            Ok(())
        } else {
            Err(Refusal::BodyHash)
        }
    }

    /// Verifies a request without a body, whose URL alone is signed.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn verify_get(&self, query: Option<&str>, signature: &str) -> Result<(), Refusal> {
        let signature = decode_signature(signature)?;
        self.compare(&signed_query(query, 0), &signature)
    }

    fn compare(&self, signed: &[u8], signature: &[u8; 20]) -> Result<(), Refusal> {
        for state in &self.states {
            let mut mac = state.clone();
            mac.update(signed);
            let expected: [u8; 20] = mac.finalize().into_bytes().into();
            let equal: Choice = expected.ct_eq(signature);
            if equal.into() {
                return Ok(());
            }
        }
        Err(Refusal::Mismatch)
    }
}

fn decode_signature(text: &str) -> Result<[u8; 20], Refusal> {
    if text.len() != SIGNATURE_CHARACTERS {
        return Err(Refusal::Malformed);
    }
    // The decoder wants room for whole groups of four characters, which is one byte more.
    let mut bytes = [0u8; 21];
    match STANDARD.decode_slice(text, &mut bytes) {
        Ok(20) => bytes.first_chunk().copied().ok_or(Refusal::Malformed),
        _ => Err(Refusal::Malformed),
    }
}

/// The signed text after the declared URL, with room for the fields.
fn signed_query(query: Option<&str>, fields_bytes: usize) -> Vec<u8> {
    let mut signed = Vec::with_capacity(query.map_or(0, |query| query.len() + 1) + fields_bytes);
    if let Some(query) = query {
        signed.push(b'?');
        signed.extend_from_slice(query.as_bytes());
    }
    signed
}

/// Names and values in byte order; of equal fields one counts, and a name with several values is
/// written before each of them.
fn append_sorted(signed: &mut Vec<u8>, form: &Form) {
    let mut fields: Vec<(&[u8], &[u8])> = Vec::with_capacity(form.len());
    fields.extend(form.iter());
    fields.sort_unstable();
    fields.dedup();
    for (name, value) in fields {
        signed.extend_from_slice(name);
        signed.extend_from_slice(value);
    }
}

fn body_hash(query: &str) -> Option<[u8; 32]> {
    let mut values = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix(BODY_HASH_PARAMETER)?.strip_prefix('='));
    let (Some(digits), None) = (values.next(), values.next()) else {
        return None;
    };
    if digits.len() != 64 || digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return None;
    }
    let mut hash = [0u8; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = hex_byte(*high, *low)?;
    }
    Some(hash)
}

/// The URL without query and fragment as given, with a port, and without one; `None` when it is
/// not a complete `http` or `https` URL.
fn port_spellings(url: &str) -> Option<[String; 3]> {
    let url = url.split(['?', '#']).next()?;
    let (scheme, rest) = url.split_once("://")?;
    let standard_port = match scheme.to_ascii_lowercase().as_str() {
        "https" => "443",
        "http" => "80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host_start = authority.rfind('@').map_or(0, |at| at + 1);
    let host_and_port = authority.get(host_start..)?;
    // The colons of an IPv6 address stand in brackets; the one before a port comes after them.
    let after_brackets = host_and_port.rfind(']').unwrap_or(0);
    let colon = host_and_port
        .get(after_brackets..)?
        .find(':')
        .map(|at| at + after_brackets);
    let (host, port) = match colon {
        Some(colon) => (host_and_port.get(..colon)?, host_and_port.get(colon + 1..)?),
        None => (host_and_port, standard_port),
    };
    if host.is_empty() || port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let user = authority.get(..host_start)?;
    Some([
        url.to_owned(),
        format!("{scheme}://{user}{host}:{port}{path}"),
        format!("{scheme}://{user}{host}{path}"),
    ])
}

#[cfg(test)]
mod tests;
