//! Errors of the inner layers as the API tells them. The chain of causes becomes one message; nothing is logged here.

use hoist_api::error::{ApiError, ErrorKind, chain};
use hoist_volumes::{VolumeError, VolumeErrorKind};

use crate::image::{ImageError, ImageErrorKind};
use crate::shim::ShimError;

/// 500 with the whole chain.
pub(crate) fn internal(error: &(dyn std::error::Error + '_)) -> ApiError {
    ApiError::internal(error)
}

/// By the image store's kind.
pub(crate) fn image_error(error: ImageError) -> ApiError {
    let kind = match error.kind() {
        ImageErrorKind::NotFound => ErrorKind::NotFound,
        ImageErrorKind::Invalid => ErrorKind::BadRequest,
        ImageErrorKind::Conflict => ErrorKind::Conflict,
        ImageErrorKind::NoSpace | ImageErrorKind::Internal => ErrorKind::Internal,
    };
    ApiError::new(kind, chain(&error))
}

/// By the volume store's kind.
pub(crate) fn volume_error(error: VolumeError) -> ApiError {
    let kind = match error.kind() {
        VolumeErrorKind::NotFound => ErrorKind::NotFound,
        VolumeErrorKind::Invalid => ErrorKind::BadRequest,
        VolumeErrorKind::Conflict => ErrorKind::Conflict,
        VolumeErrorKind::Internal => ErrorKind::Internal,
    };
    ApiError::new(kind, chain(&error))
}

/// What a shim refuses is the user's to mend when the command cannot be executed.
pub(crate) fn shim_error(error: &ShimError) -> ApiError {
    match error {
        ShimError::Refused(failure) if matches!(failure.exit_code, 126 | 127) => {
            ApiError::bad_request(failure.message.clone())
        }
        other => internal(other),
    }
}
