//! Which quotas a question is about (KIP-546, DescribeClientQuotas).

use std::sync::Arc;

use crate::quota::{EntityName, QuotaEntity, QuotaValues, Quotas};

/// What one part of an entity must be. The part must be there in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameMatch {
    /// This name.
    Exact(Arc<str>),
    /// The default.
    Default,
    /// Anything.
    Any,
}

impl NameMatch {
    fn fits(&self, name: &EntityName) -> bool {
        match (self, name) {
            (Self::Any, _) | (Self::Default, EntityName::Default) => true,
            (Self::Exact(wanted), EntityName::Named(name)) => wanted == name,
            (Self::Exact(_), EntityName::Default) | (Self::Default, EntityName::Named(_)) => false,
        }
    }
}

/// What an entity must be; an empty filter fits every entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    /// What the user must be; `None` = not asked for.
    pub user: Option<NameMatch>,
    /// What the client id must be; `None` = not asked for.
    pub client_id: Option<NameMatch>,
    /// Whether a part that is not asked for must not be there.
    pub is_strict: bool,
}

impl QuotaFilter {
    /// Tells whether an entity is meant.
    #[must_use]
    pub fn fits(&self, entity: &QuotaEntity) -> bool {
        let fits = |wanted: &Option<NameMatch>, part: &Option<EntityName>| match (wanted, part) {
            (Some(wanted), Some(name)) => wanted.fits(name),
            (Some(_), None) => false,
            (None, Some(_)) => !self.is_strict,
            (None, None) => true,
        };
        fits(&self.user, &entity.user) && fits(&self.client_id, &entity.client_id)
    }

    /// The quotas that are meant, in the order of their entities.
    pub fn select<'a>(
        &'a self,
        quotas: &'a Quotas,
    ) -> impl Iterator<Item = (&'a QuotaEntity, &'a QuotaValues)> {
        let meant = quotas.iter().filter(|(entity, _)| self.fits(entity));
        meant.map(|(entity, values)| (entity, &**values))
    }
}
