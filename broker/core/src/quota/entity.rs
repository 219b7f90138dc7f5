//! To whom a quota applies. Knows no limits.

use std::sync::Arc;

use crate::limits::NAME_BYTES_MAX;
use crate::planted::{self, Bug};
use crate::quota::{ClientIdentity, QuotaError};

/// One part of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntityName {
    /// Whoever has no quota of their own (Kafka: a null name, `<default>`).
    Default,
    /// This one.
    Named(Arc<str>),
}

impl EntityName {
    fn named(name: &Arc<str>) -> Self {
        Self::Named(Arc::clone(name))
    }
}

/// Users, clients, or clients of users. At least one part is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity {
    /// The user; `None` = whatever user.
    pub user: Option<EntityName>,
    /// The client id; `None` = all clients of the user together.
    pub client_id: Option<EntityName>,
}

impl QuotaEntity {
    /// Checks that there is a part, and that names are neither empty nor too long.
    ///
    /// # Errors
    /// `NoEntity`, `EntityName`.
    pub fn check(&self) -> Result<(), QuotaError> {
        if self.user.is_none() && self.client_id.is_none() {
            return Err(QuotaError::NoEntity);
        }
        for part in [&self.user, &self.client_id] {
            if let Some(EntityName::Named(name)) = part
                && !(1..=NAME_BYTES_MAX).contains(&name.len())
            {
                let (actual, max) = (name.len(), NAME_BYTES_MAX);
                return Err(QuotaError::EntityName { actual, max });
            }
        }
        Ok(())
    }

    /// The entities that may decide for a client; the first that has a limit does (KIP-55, "Quota
    /// Precedence": what names the user comes before what does not, names before defaults).
    #[must_use]
    pub fn candidates(who: &ClientIdentity) -> [Self; 8] {
        let user = Some(EntityName::named(&who.user));
        let client = Some(EntityName::named(&who.client_id));
        let default = Some(EntityName::Default);
        let order = [
            (user.clone(), client.clone()),
            (user.clone(), default.clone()),
            (user, None),
            (default.clone(), client.clone()),
            (default.clone(), default.clone()),
            (default.clone(), None),
            (None, client),
            (None, default),
        ];
        let mut candidates = order.map(|(user, client_id)| Self { user, client_id });
        if planted::is_planted(Bug::QuotaDefaultsFirst) {
            candidates.reverse();
        }
        candidates
    }
}
