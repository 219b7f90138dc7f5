//! Client quotas as Kafka's (KIP-13, KIP-55, KIP-124): who may use how much, and how long a client that
//! used more is to wait.
//!
//! Owns the entities, which of them decides for a client, the measured rates and the waits. Rates are this
//! broker's own, as in Kafka, and are not replicated; the limits are ([`crate::cluster`] keeps them). Knows
//! no protocol, no clock (times come in) and does not delay anybody itself.
//!
//! Deviation: of Kafka's keys, `controller_mutation_rate` (KIP-599) and the entity `ip` (KIP-612) are not
//! there.

mod entity;
mod filter;
mod rate;
mod throttle;
mod value;

pub use entity::{EntityName, QuotaEntity};
pub use filter::{NameMatch, QuotaFilter};
pub use rate::Rate;
pub use throttle::{Limit, Sharing, Throttles, limit_of};
pub use value::{QuotaError, QuotaKind, QuotaValue, QuotaValues};

use std::sync::Arc;

use imbl::OrdMap;

/// The limits of a cluster, by entity. Cheap to clone.
pub type Quotas = OrdMap<QuotaEntity, Arc<QuotaValues>>;

/// Whose request it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClientIdentity {
    /// Who authenticated; Kafka calls those that did not `ANONYMOUS`.
    pub user: Arc<str>,
    /// What the request names itself; may be empty.
    pub client_id: Arc<str>,
}
