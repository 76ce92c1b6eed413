//! Errors as RFC 9457 problem details: a stable code for programs, and for people what was wrong
//! and what to do.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::store::StoreError;

/// An error as the answer to a request.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// A URI that names the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status.
    pub status: u16,
    /// Stable word for programs.
    pub code: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// What was wrong and what to do.
    pub detail: String,
    /// Each field that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
    /// The existing message that is the cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// Seconds to wait before trying again; also in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// One field that is wrong.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct FieldProblem {
    /// The field.
    pub field: String,
    /// Stable word for programs.
    pub code: String,
    /// What was wrong and what to do.
    pub detail: String,
}

impl FieldProblem {
    /// A wrong field, with its code and text.
    pub fn new(field: &str, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            field: field.to_owned(),
            code: code.into(),
            detail: detail.into(),
        }
    }
}

impl Problem {
    /// A problem with its status, code and text.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:recado:problem:{code}"),
            status: status.as_u16(),
            code: code.to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            detail: detail.into(),
            errors: Vec::new(),
            message_id: None,
            retry_after: None,
        }
    }

    /// One field of the request is wrong.
    pub fn field(field: &str, code: &str, detail: impl Into<String>) -> Self {
        FieldProblem::new(field, code, detail).into()
    }

    /// Several fields of the request are wrong, or one.
    pub fn fields(errors: Vec<FieldProblem>) -> Self {
        let (code, detail) = match errors.as_slice() {
            [only] => (only.code.clone(), only.detail.clone()),
            _ => (
                "invalid_request".to_owned(),
                format!(
                    "{} fields are wrong; each is named in errors.",
                    errors.len()
                ),
            ),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, &code, detail);
        problem.errors = errors;
        problem
    }

    /// Asks the caller to try again after this many seconds.
    #[must_use]
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Nothing has that id or name.
    pub fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no such {what}."),
        )
    }
}

impl From<FieldProblem> for Problem {
    fn from(error: FieldProblem) -> Self {
        Self::fields(vec![error])
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full | StoreError::ReadOnly(_) | StoreError::Closed => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_unavailable",
                "Nothing was stored: the server cannot write to its database now. Try again later.",
            )
            .after(5),
            StoreError::Busy => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "storage_busy",
                "Nothing was stored: the server is busy writing. Try again.",
            )
            .after(1),
            StoreError::Corrupt(_)
            | StoreError::DecryptError
            | StoreError::Locked(_)
            | StoreError::OtherProgram
            | StoreError::OtherAccount
            | StoreError::OtherVersion { .. }
            | StoreError::Engine(_) => {
                tracing::error!(%error, "a request failed in the database");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "storage_failed",
                    "Nothing was stored: the database failed. The server's log names the cause.",
                )
                .after(5)
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
