//! ApiVersions (KIP-35, KIP-511): what is served.

use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse};

use crate::kafka::apis;
use crate::kafka::context::Context;

/// First version in which clients say what software they are.
const WITH_SOFTWARE: i16 = 3;

pub(in crate::kafka) async fn serve(
    _context: Context,
    version: i16,
    request: ApiVersionsRequest,
) -> ApiVersionsResponse {
    let names = [
        &request.client_software_name,
        &request.client_software_version,
    ];
    if version >= WITH_SOFTWARE && !names.iter().all(|name| is_software_name(name)) {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.into(),
            ..ApiVersionsResponse::default()
        };
    }
    apis::api_versions()
}

/// Letters, digits, `.` and `-`; the latter two neither first nor last.
fn is_software_name(name: &str) -> bool {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    let bytes = name.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    bytes.iter().all(is_inner)
        && ends
            .iter()
            .all(|end| end.is_some_and(u8::is_ascii_alphanumeric))
}
