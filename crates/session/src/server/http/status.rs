//! What a player over HTTP is told when it cannot have what it wants (§14.1), in one place.

use funnel_wire::mms::HResult;
use funnel_wire::wmsp::StatusCode;

/// The status for a reason that is spoken of in MMS's words.
pub(super) fn of(hr: HResult) -> StatusCode {
    match hr {
        HResult::NS_E_FILE_NOT_FOUND
        | HResult::ERROR_FILE_NOT_FOUND
        | HResult::ERROR_PATH_NOT_FOUND
        | HResult::NS_E_PUBLISHING_POINT_REMOVED
        | HResult::NS_E_RESOURCE_GONE => StatusCode::NOT_FOUND,
        HResult::E_ACCESSDENIED
        | HResult::NS_E_SERVER_ACCESSDENIED
        | HResult::NS_E_REFUSED_BY_SERVER => StatusCode::FORBIDDEN,
        HResult::NS_E_BAD_REQUEST | HResult::NS_E_INVALID_REQUEST | HResult::E_INVALIDARG => {
            StatusCode::BAD_REQUEST
        }
        HResult::NS_E_INTERNAL | HResult::NS_E_INTERNAL_SERVER_ERROR | HResult::E_UNEXPECTED => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::SERVICE_UNAVAILABLE, // limits, sources that are away, the end of the server
    }
}

/// The reason for the access log.
pub(super) fn reason(status: StatusCode) -> HResult {
    match status {
        StatusCode::REQUEST_TIMEOUT => HResult::NS_E_TIMEOUT,
        StatusCode::NOT_FOUND => HResult::NS_E_FILE_NOT_FOUND,
        status if status.is_success() || status.is_redirection() => HResult::S_OK,
        _ => HResult::NS_E_BAD_REQUEST,
    }
}
