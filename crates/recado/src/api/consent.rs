//! Whether people want messages: shows it, and lets the operator change it.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use delivery::consent::Consent;
use delivery::row::PersonRow;
use serde::{Deserialize, Serialize};

use super::extract::{Body, Query, read_json};
use super::field::{parse_address, parse_choice, time_text};
use super::problem::Problem;
use super::state::Api;
use crate::store::{
    ConsentEntry, ConsentEntryKind, ConsentHistory, ConsentView, IdentityView, wait_until_idle,
};

/// How long the answer to an opt-out waits for open requests to that person.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

/// Whose consent to show.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ConsentQuery {
    /// The person's address, in any form.
    to: String,
}

/// Whether a person wants to receive messages.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ConsentJson {
    /// The person's canonical address.
    pub to: String,
    /// `open`, `asking` (the person wrote a word that may mean opt-out, and was asked) or
    /// `opted_out`.
    pub consent: String,
    /// Since when; null when the person has never said anything.
    pub since: Option<String>,
    /// Who said so: `recipient`, `callback` (the provider reported it) or `operator`.
    pub source: Option<String>,
    /// How many waiting messages this change stopped or released.
    pub affected: u64,
    /// By which names the person is known, in the order in which we met them. Consent holds for all.
    pub identities: Vec<IdentityJson>,
    /// What changed consent, or showed who the person is, oldest first.
    pub history: Vec<ConsentEntryJson>,
}

/// One of a person's names.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct IdentityJson {
    /// `phone`, `user_id` (WhatsApp's id of the person at this business) or `parent_id` (at all
    /// businesses of its owner).
    pub kind: String,
    /// The canonical address; null when the person was erased.
    pub address: Option<String>,
}

/// Something that changed a person's consent, or showed who they are.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ConsentEntryJson {
    /// When.
    pub at: String,
    /// `open`, `asking`, `opted_out`; `identity_tied` (another name of theirs became known) or
    /// `person_merged` (somebody else turned out to be them).
    pub event: String,
    /// Who said so: `recipient`, `callback`, `poll` or `operator`.
    pub source: String,
    /// For `identity_tied` and `person_merged`: the kind of the name that became known as theirs.
    pub identity: Option<String>,
    /// Twilio's id of the message that said it, or whose callback showed it.
    pub provider_sid: Option<String>,
    /// Our message whose refusal or report showed it.
    pub message_id: Option<String>,
    /// The code of that refusal.
    pub error_code: Option<u32>,
}

/// Shows whether a person wants to receive messages.
#[utoipa::path(
    get, path = "/api/v1/consent", operation_id = "show_consent", tag = "people", params(ConsentQuery),
    responses((status = 200, body = ConsentJson), (status = 422, body = Problem)),
)]
pub(super) async fn show(
    State(api): State<Api>,
    Query(query): Query<ConsentQuery>,
) -> Result<Json<ConsentJson>, Problem> {
    let address = parse_address("to", &query.to)?;
    let to = address.canonical().to_owned();
    let nobody = ConsentView {
        person: PersonRow::default(),
        consent: Consent::Open,
        since: None,
        source: None,
        affected: 0,
    };
    let view = api.store.consent(address.clone()).await?.unwrap_or(nobody);
    let history = api.store.consent_history(address).await?;
    Ok(Json(consent_json(to, view, history.unwrap_or_default())))
}

/// A change of consent by the operator.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsentRequest {
    /// The person's address, in any form.
    to: String,
    /// `opted_out` or `open`.
    consent: String,
}

/// Opts a person out or back in, for example after a phone call.
#[utoipa::path(
    put, path = "/api/v1/consent", operation_id = "set_consent", tag = "people", request_body = ConsentRequest,
    responses((status = 200, body = ConsentJson), (status = 422, body = Problem)),
)]
pub(super) async fn set(
    State(api): State<Api>,
    headers: HeaderMap,
    Body(body): Body,
) -> Result<Json<ConsentJson>, Problem> {
    let request: ConsentRequest = read_json(&headers, &body)?;
    let address = parse_address("to", &request.to)?;
    let to = address.canonical().to_owned();
    let choices = [("opted_out", true), ("open", false)];
    let (_, opted_out) = parse_choice("consent", &request.consent, &choices, |(word, _)| word)?;
    let view = api
        .store
        .set_consent(address.clone(), opted_out, api.effects.clock.now())
        .await?;
    if opted_out {
        let clock = &*api.effects.clock;
        wait_until_idle(
            &*api.store,
            api.closed.clone(),
            clock,
            view.person,
            ANSWER_WAIT_MAX,
        )
        .await;
    }
    let history = api.store.consent_history(address).await?;
    Ok(Json(consent_json(to, view, history.unwrap_or_default())))
}

fn consent_json(to: String, view: ConsentView, history: ConsentHistory) -> ConsentJson {
    let consent = match view.consent {
        Consent::Open => "open",
        Consent::Asking { .. } => "asking",
        Consent::OptedOut => "opted_out",
    };
    ConsentJson {
        to,
        consent: consent.to_owned(),
        since: view.since.map(time_text),
        source: view.source.map(|source| source.as_str().to_owned()),
        affected: view.affected,
        identities: history.identities.iter().map(identity_json).collect(),
        history: history.entries.iter().map(entry_json).collect(),
    }
}

fn identity_json(identity: &IdentityView) -> IdentityJson {
    let address = identity.address.as_ref();
    IdentityJson {
        kind: identity.kind.as_str().to_owned(),
        address: address.map(|address| address.canonical().to_owned()),
    }
}

fn entry_json(entry: &ConsentEntry) -> ConsentEntryJson {
    let (event, identity) = match entry.what {
        ConsentEntryKind::Consent(consent) => (consent.as_str(), None),
        ConsentEntryKind::IdentityTied(kind) => ("identity_tied", Some(kind)),
        ConsentEntryKind::PersonMerged(kind) => ("person_merged", Some(kind)),
    };
    ConsentEntryJson {
        at: time_text(entry.at),
        event: event.to_owned(),
        source: entry.source.as_str().to_owned(),
        identity: identity.map(|kind| kind.as_str().to_owned()),
        provider_sid: entry.sid.map(|sid| sid.to_string()),
        message_id: entry.message.map(|id| id.to_string()),
        error_code: entry.code,
    }
}
