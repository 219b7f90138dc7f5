//! DescribeClientQuotas (KIP-546): the quotas of the users and client ids that are asked for.

use raftmq_core::cluster::Image;
use raftmq_core::quota::{EntityName, NameMatch, QuotaEntity, QuotaFilter, QuotaValues};
use raftmq_kafka_protocol::ErrorCode;
use raftmq_kafka_protocol::messages::describe_client_quotas::request::ComponentData;
use raftmq_kafka_protocol::messages::describe_client_quotas::response::{
    EntityData, EntryData, ValueData,
};
use raftmq_kafka_protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};

use super::alter_client_quotas::{CLIENT_ID, IP, USER};
use crate::kafka::context::Context;
use crate::kafka::wire::text;

/// Kafka's numbers of matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

pub(in crate::kafka) async fn serve(
    context: Context,
    _version: i16,
    request: DescribeClientQuotasRequest,
) -> DescribeClientQuotasResponse {
    match entries(&context.image(), &request) {
        Ok(entries) => DescribeClientQuotasResponse {
            entries: Some(entries),
            ..DescribeClientQuotasResponse::default()
        },
        Err((code, words)) => DescribeClientQuotasResponse {
            error_code: code.into(),
            error_message: Some(text(&words)),
            entries: None,
            ..DescribeClientQuotasResponse::default()
        },
    }
}

fn entries(
    image: &Image,
    request: &DescribeClientQuotasRequest,
) -> Result<Vec<EntryData>, (ErrorCode, String)> {
    let mut filter = QuotaFilter {
        is_strict: request.strict,
        ..QuotaFilter::default()
    };
    let mut asks_for_ip = false;
    for component in &request.components {
        let wanted = wanted(component)?;
        let part = match &*component.entity_type {
            USER => &mut filter.user,
            CLIENT_ID => &mut filter.client_id,
            IP => {
                asks_for_ip = true;
                continue;
            }
            other => {
                let words = format!("entities of type {other:?} have no quotas here");
                return Err((ErrorCode::UnsupportedVersion, words));
            }
        };
        if part.replace(wanted).is_some() {
            let words = format!("{} is asked for twice", component.entity_type);
            return Err((ErrorCode::InvalidRequest, words));
        }
    }
    if asks_for_ip {
        // No address has a quota.
        return Ok(Vec::new());
    }
    Ok(filter.select(&image.client_quotas).map(entry).collect())
}

fn wanted(component: &ComponentData) -> Result<NameMatch, (ErrorCode, String)> {
    let refused = |words: String| Err((ErrorCode::InvalidRequest, words));
    match (component.match_type, component.r#match.as_deref()) {
        (EXACT, Some(name)) => Ok(NameMatch::Exact(name.into())),
        (EXACT, None) => refused("an exact match needs a name".to_owned()),
        (DEFAULT, None) => Ok(NameMatch::Default),
        (ANY, None) => Ok(NameMatch::Any),
        (DEFAULT | ANY, Some(name)) => refused(format!("{name:?} is not to be matched exactly")),
        (other, _) => refused(format!("match type {other} is unknown")),
    }
}

fn entry((entity, values): (&QuotaEntity, &QuotaValues)) -> EntryData {
    let part = |kind: &str, name: &Option<EntityName>| {
        name.as_ref().map(|name| EntityData {
            entity_type: text(kind),
            entity_name: match name {
                EntityName::Default => None,
                EntityName::Named(name) => Some(text(name)),
            },
        })
    };
    let parts = [part(USER, &entity.user), part(CLIENT_ID, &entity.client_id)];
    let values = values.iter().map(|(kind, value)| ValueData {
        key: text(kind.name()),
        value: value.get(),
    });
    EntryData {
        entity: parts.into_iter().flatten().collect(),
        values: values.collect(),
    }
}
