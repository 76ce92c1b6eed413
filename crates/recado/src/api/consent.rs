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
use crate::store::{ConsentView, wait_until_idle};

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
    let view = api.store.consent(address).await?.unwrap_or(nobody);
    Ok(Json(consent_json(to, view)))
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
        .set_consent(address, opted_out, api.effects.clock.now())
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
    Ok(Json(consent_json(to, view)))
}

fn consent_json(to: String, view: ConsentView) -> ConsentJson {
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
    }
}
