//! Errors as answers.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use hoist_api::error::{ApiError, ErrorBody, ErrorKind};

/// A failed call.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) ApiError);

/// What handlers return.
pub(crate) type Answer<T = Response> = Result<T, Failure>;

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = self.0;
        let status =
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if error.kind == ErrorKind::NotModified {
            return StatusCode::NOT_MODIFIED.into_response();
        }
        if status.is_server_error() {
            tracing::warn!(status = status.as_u16(), message = %error.message, "a call failed");
        }
        let body = ErrorBody {
            message: error.message,
            hint: error.hint,
        };
        (status, Json(body)).into_response()
    }
}
