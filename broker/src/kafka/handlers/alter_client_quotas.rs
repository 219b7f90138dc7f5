//! AlterClientQuotas (KIP-546): sets and removes quotas of users and client ids.
//!
//! Deviation: of Kafka's keys, `controller_mutation_rate` (KIP-599) and the entity `ip` (KIP-612) are
//! refused.

use std::collections::BTreeSet;

use raftmq_core::cluster::{AlterClientQuotas, Command};
use raftmq_core::quota::{EntityName, QuotaEntity, QuotaKind, QuotaValue, QuotaValues};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::alter_client_quotas::{request, response};
use raftmq_kafka_protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};

use crate::kafka::context::Context;
use crate::kafka::error::of_control;
use crate::kafka::limits::COMMAND_WAIT;
use crate::kafka::wire::text;

/// Kafka's names of what a quota may be for.
pub(super) const USER: &str = "user";
pub(super) const CLIENT_ID: &str = "client-id";
pub(super) const IP: &str = "ip";

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: AlterClientQuotasRequest,
) -> AlterClientQuotasResponse {
    let mut entries = Vec::with_capacity(request.entries.len());
    for entry in request.entries {
        let altered = alter(&context, &entry, request.validate_only).await;
        let (code, message) = match altered {
            Ok(()) => (ErrorCode::None, None),
            Err((code, words)) => (code, Some(text(&words))),
        };
        let entity = entry.entity.into_iter().map(|part| response::EntityData {
            entity_type: part.entity_type,
            entity_name: part.entity_name,
        });
        entries.push(response::EntryData {
            error_code: code.into(),
            error_message: message,
            entity: entity.collect(),
        });
    }
    AlterClientQuotasResponse {
        entries,
        ..AlterClientQuotasResponse::default()
    }
}

async fn alter(
    context: &Context,
    entry: &request::EntryData,
    validate_only: bool,
) -> Result<(), (ErrorCode, String)> {
    let command = command(entry).map_err(|words| (ErrorCode::InvalidRequest, words))?;
    let command = Command::AlterClientQuotas(command);
    let done = context.propose_or_preview(command, validate_only, COMMAND_WAIT);
    done.await
        .map_err(|error| (of_control(&error), error.to_string()))
}

/// What is asked for; names and limits are the cluster's to check.
fn command(entry: &request::EntryData) -> Result<AlterClientQuotas, String> {
    let mut command = AlterClientQuotas {
        entity: entity(&entry.entity)?,
        set: QuotaValues::new(),
        unset: BTreeSet::new(),
    };
    for op in &entry.ops {
        let kind = QuotaKind::of_name(&op.key);
        let kind = kind.ok_or_else(|| format!("quota key {:?} does not exist", op.key))?;
        let is_new = match op.remove {
            true => command.unset.insert(kind),
            false => command
                .set
                .insert(kind, QuotaValue::new(op.value))
                .is_none(),
        };
        if !is_new {
            return Err(format!("quota key {:?} is altered twice", op.key));
        }
    }
    Ok(command)
}

fn entity(parts: &[request::EntityData]) -> Result<QuotaEntity, String> {
    let mut entity = QuotaEntity {
        user: None,
        client_id: None,
    };
    for part in parts {
        let place = match &*part.entity_type {
            USER => &mut entity.user,
            CLIENT_ID => &mut entity.client_id,
            other => return Err(format!("entities of type {other:?} have no quotas here")),
        };
        let name = part.entity_name.as_deref();
        let name = name.map_or(EntityName::Default, |name| EntityName::Named(name.into()));
        if place.replace(name).is_some() {
            return Err(format!("the entity has two parts {:?}", part.entity_type));
        }
    }
    Ok(entity)
}
