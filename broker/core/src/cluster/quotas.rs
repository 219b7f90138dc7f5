//! The command that sets and removes client quotas, and their bytes. What a quota means: `crate::quota`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::command::Command;
use crate::cluster::image::Image;
use crate::cluster::{Cluster, Outcome, Reply};
use crate::codec::{CodecError, Reader, Writer};
use crate::limits::{CLIENT_QUOTAS_COUNT_MAX, NAME_BYTES_MAX};
use crate::quota::{EntityName, QuotaEntity, QuotaError, QuotaKind, QuotaValue, QuotaValues};

const VERSION: u8 = 1;
/// A list of keys is longer than there are kinds, so that unknown ones are told.
const KEYS_COUNT_MAX: usize = 64;

const PART_ABSENT: u8 = 0;
const PART_DEFAULT: u8 = 1;
const PART_NAMED: u8 = 2;

/// Sets and removes limits of one entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterClientQuotas {
    /// Whose.
    pub entity: QuotaEntity,
    /// Limits to set.
    pub set: QuotaValues,
    /// Limits to remove; those that are not there are no error.
    pub unset: BTreeSet<QuotaKind>,
}

impl AlterClientQuotas {
    fn check(&self) -> Result<(), QuotaError> {
        self.entity.check()?;
        for (kind, value) in &self.set {
            value.check(*kind)?;
            if self.unset.contains(kind) {
                return Err(QuotaError::SetAndUnset { kind: *kind });
            }
        }
        Ok(())
    }
}

impl Cluster {
    pub(super) fn alter_client_quotas(&mut self, alter: AlterClientQuotas) -> Reply {
        alter.check()?;
        let AlterClientQuotas { entity, set, unset } = alter;
        let before = self.image.client_quotas.get(&entity);
        let mut values = before.map_or_else(BTreeMap::new, |values| QuotaValues::clone(values));
        values.retain(|kind, _| !unset.contains(kind));
        values.extend(set);
        if before.is_none() && self.image.client_quotas.len() >= CLIENT_QUOTAS_COUNT_MAX {
            let max = CLIENT_QUOTAS_COUNT_MAX;
            return Err(QuotaError::TooMany { max }.into());
        }
        if before.map_or(values.is_empty(), |before| **before == values) {
            return Ok(Outcome::Done);
        }
        if values.is_empty() {
            self.image.client_quotas.remove(&entity);
        } else {
            self.image
                .client_quotas
                .insert(entity.clone(), Arc::new(values));
        }
        self.dirty.mark_quota(entity);
        Ok(Outcome::Done)
    }
}

pub(super) fn write_alter(writer: &mut Writer, alter: &AlterClientQuotas) {
    write_entity(writer, &alter.entity);
    write_values(writer, &alter.set);
    writer.count(alter.unset.len());
    for kind in &alter.unset {
        writer.u8(kind.code());
    }
}

pub(super) fn read_alter(reader: &mut Reader) -> Result<Command, CodecError> {
    let entity = read_entity(reader)?;
    let set = read_values(reader)?;
    let count = reader.count("quota keys", 1, KEYS_COUNT_MAX)?;
    let unset = (0..count).map(|_| read_kind(reader));
    let unset = unset.collect::<Result<_, CodecError>>()?;
    let alter = AlterClientQuotas { entity, set, unset };
    Ok(Command::AlterClientQuotas(alter))
}

/// The bytes of an entity, which are the rest of its row's key, too.
pub(super) fn write_entity(writer: &mut Writer, entity: &QuotaEntity) {
    for part in [&entity.user, &entity.client_id] {
        match part {
            None => writer.u8(PART_ABSENT),
            Some(EntityName::Default) => writer.u8(PART_DEFAULT),
            Some(EntityName::Named(name)) => writer.u8(PART_NAMED).text(name),
        };
    }
}

fn read_entity(reader: &mut Reader) -> Result<QuotaEntity, CodecError> {
    let mut part = || match reader.u8()? {
        PART_ABSENT => Ok(None),
        PART_DEFAULT => Ok(Some(EntityName::Default)),
        PART_NAMED => {
            let name = reader.text("name of a quota's entity", NAME_BYTES_MAX)?;
            Ok(Some(EntityName::Named(name.into())))
        }
        tag => Err(unknown("quota entity", tag)),
    };
    Ok(QuotaEntity {
        user: part()?,
        client_id: part()?,
    })
}

fn write_values(writer: &mut Writer, values: &QuotaValues) {
    writer.count(values.len());
    for (kind, value) in values {
        writer.u8(kind.code()).u64(value.bits());
    }
}

fn read_values(reader: &mut Reader) -> Result<QuotaValues, CodecError> {
    let count = reader.count("quotas", 9, KEYS_COUNT_MAX)?;
    let read_one = |_| Ok((read_kind(reader)?, QuotaValue::from_bits(reader.u64()?)));
    (0..count).map(read_one).collect()
}

fn read_kind(reader: &mut Reader) -> Result<QuotaKind, CodecError> {
    let code = reader.u8()?;
    QuotaKind::of_code(code).ok_or_else(|| unknown("quota key", code))
}

fn unknown(what: &str, tag: u8) -> CodecError {
    let what = what.to_owned();
    CodecError::UnknownTag { what, tag }
}

pub(super) fn write_row(values: &QuotaValues) -> Bytes {
    let mut writer = Writer::new();
    write_values(writer.u8(VERSION), values);
    writer.finish()
}

/// Reads a row; `key` is what follows the family.
pub(super) fn read_row(
    key: Bytes,
    reader: &mut Reader,
    image: &mut Image,
) -> Result<(), CodecError> {
    reader.version("client quotas", VERSION)?;
    let mut key = Reader::new(key);
    let entity = read_entity(&mut key)?;
    let values = read_values(reader)?;
    image.client_quotas.insert(entity, Arc::new(values));
    key.finish()
}
