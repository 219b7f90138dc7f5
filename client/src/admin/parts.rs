//! Lists that come in parts.

use tonic::{Response, Status, Streaming};

/// Puts the parts of a list together; `items` takes them out of a message.
///
/// # Errors
/// The list broke off: what came of it is of no use.
pub(super) async fn together<M, T>(
    parts: Response<Streaming<M>>,
    items: impl Fn(M) -> Vec<T>,
) -> Result<Response<Vec<T>>, Status> {
    let mut parts = parts.into_inner();
    let mut all = Vec::new();
    while let Some(part) = parts.message().await? {
        all.append(&mut items(part));
    }
    Ok(Response::new(all))
}
