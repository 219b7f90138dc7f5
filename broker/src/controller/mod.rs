//! The service of the metadata group: the image, proposals from any broker, this broker's
//! registration and heartbeats, and, on the broker that leads the group, the controller's duties.
//!
//! Decisions stand in `raftmq_core::cluster`; this is where they meet time and network.

mod balancing;
mod duties;
mod elections;
mod heartbeat;
mod images;
mod joining;
mod leadership;
mod leaving;
mod loads;
mod loss;
mod members;
mod messages;
mod moves;
mod producer_ids;
mod progress;
mod reporting;
mod session;
mod succession;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use raftmq_core::cluster::{self, ClusterError, Outcome};
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

pub use duties::Duties;
pub use heartbeat::{Registration, hello};
pub use images::{ClusterBinding, HostedCluster, Images};
pub use loss::NotAccepted;
pub use messages::{Hello, HelloReply, JoinRequest, Joined, MoveProgress, decode, encode};
pub use producer_ids::ProducerIds;
pub use session::Session;
use session::Standing;

use crate::env::Env;
use crate::raft::machine::envelope;
use crate::raft::transport::{Lane, Method, PeerError, Refusal, Served, Transport};
use crate::raft::{Group, HandOvers, ProposeError, RaftHost, Reply};
use loads::Meter;
use messages::Proposed;
use progress::Progress;
use succession::Succession;

/// Pause before a proposal that found no controller is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Why a metadata command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The machine refused it; nothing changed.
    #[error(transparent)]
    Refused(#[from] ClusterError),
    /// No controller took it in time. It may have been carried out nevertheless.
    #[error("no controller answered in time")]
    NoController,
}

/// The metadata service of this broker. Cheap to clone.
#[derive(Clone)]
pub struct Controller {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    host: RaftHost,
    group: Arc<Group>,
    machine: Arc<HostedCluster>,
    images: Images,
    session: Session,
    duties: Duties,
    hand_overs: HandOvers,
    succession: Succession,
    progress: Progress,
    meter: Meter,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Controller").finish_non_exhaustive()
    }
}

impl Controller {
    /// A service over the open metadata group.
    #[must_use]
    pub fn new(env: Env, host: RaftHost, group: Arc<Group>, machine: Arc<HostedCluster>) -> Self {
        let images = machine.binding().images();
        let (session, duties) = (Session::default(), Duties::default());
        Self {
            shared: Arc::new(Shared {
                env,
                host,
                group,
                machine,
                images,
                session,
                duties,
                hand_overs: HandOvers::default(),
                succession: Succession::default(),
                progress: Progress::default(),
                meter: Meter::default(),
            }),
        }
    }

    /// Network, clock and randomness.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// The image, to read and follow.
    #[must_use]
    pub fn images(&self) -> Images {
        self.shared.images.clone()
    }

    /// This broker's standing with the controller.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.shared.session
    }

    /// The links to other brokers.
    #[must_use]
    pub fn transport(&self) -> &Transport {
        self.shared.host.transport()
    }

    /// Leaderships that this broker is to hand over.
    #[must_use]
    pub fn hand_overs(&self) -> &HandOvers {
        &self.shared.hand_overs
    }

    /// Leader of the metadata group as this broker knows it.
    #[must_use]
    pub fn controller_id(&self) -> Option<u32> {
        let known = self.shared.group.leader();
        known.or_else(|| self.shared.session.hinted_controller())
    }

    /// The term in which this broker is the controller.
    #[must_use]
    pub fn leading_term(&self) -> Option<u64> {
        self.shared.group.leading_term()
    }

    /// Whether this broker may go on leading a partition group: it is in service and has heard the
    /// controller within a session, or a majority of the group's replicas, itself included.
    /// Otherwise somebody else may lead by now (ARCHITECTURE.md, "Leader election").
    #[must_use]
    pub fn may_lead(&self, group: &Group) -> bool {
        let session = self.session_timeout();
        match self.shared.session.standing(session) {
            Standing::InService => return true,
            Standing::OutOfService => return false,
            Standing::Unknown => {}
        }
        let (me, transport) = (self.shared.host.broker_id(), self.shared.host.transport());
        let voters: Vec<u64> = group.raft().voter_ids().collect();
        let is_heard = |id: &&u64| {
            u32::try_from(**id).is_ok_and(|id| id == me || transport.has_heard(id, session))
        };
        voters.iter().filter(is_heard).count() > voters.len() / 2
    }

    /// Whether a majority of the metadata group follows this leader still.
    fn has_quorum(&self) -> bool {
        let metrics = self.shared.group.raft().metrics();
        let metrics = metrics.borrow_watched();
        let alone = metrics.membership_config.voter_ids().count() <= 1;
        let session = self.session_timeout();
        alone
            || metrics
                .last_quorum_acked
                .is_some_and(|at| at.elapsed() < session)
    }

    /// The metadata group.
    #[must_use]
    pub fn group(&self) -> &Arc<Group> {
        &self.shared.group
    }

    /// Says what a command would do now, as far as this broker knows.
    ///
    /// # Errors
    ///
    /// As the command itself.
    pub fn preview(&self, command: cluster::Command) -> Result<Outcome, ControlError> {
        Ok(self.shared.machine.read().preview(command)?)
    }

    /// Proposes a command, here or through the controller, until somebody takes it or `within` is
    /// over, and waits until its outcome is in this broker's image. Commands may be repeated.
    ///
    /// # Errors
    ///
    /// See [`ControlError`].
    pub async fn propose(
        &self,
        command: &cluster::Command,
        within: Duration,
    ) -> Result<Outcome, ControlError> {
        let deadline = Instant::now() + within;
        let bytes = command.encode();
        loop {
            let attempt = timeout_at(deadline, self.propose_once(bytes.clone())).await;
            match attempt {
                Err(_elapsed) => return Err(ControlError::NoController),
                Ok(Some(proposed)) => {
                    let outcome = proposed.reply?;
                    let mut images = self.images();
                    // The outcome is decided; an image that lags only delays the answer.
                    let _ = timeout_at(deadline, images.wait_applied(proposed.log_index)).await;
                    return Ok(outcome);
                }
                Ok(None) => sleep(RETRY_PAUSE).await,
            }
        }
    }

    async fn propose_once(&self, command: Bytes) -> Option<Proposed> {
        if let Some(term) = self.leading_term() {
            return self.propose_here(term, &command).await.ok();
        }
        let controller = self.controller_id()?;
        if controller == self.shared.host.broker_id() {
            return None;
        }
        let transport = self.shared.host.transport();
        let group = self.shared.group.id();
        let call = transport.call(controller, Lane::Control, group, Method::Propose, command);
        match call.await {
            Ok(body) => decode(&body).ok(),
            Err(PeerError::Refused {
                refusal: Refusal::NotController,
                ..
            }) => {
                self.shared.session.forget_hint();
                None
            }
            Err(error) => {
                tracing::debug!(%error, "proposal not taken");
                None
            }
        }
    }

    async fn propose_here(&self, term: u64, command: &[u8]) -> Result<Proposed, ProposeError> {
        let bytes = envelope(self.shared.env.clock.now_ms(), command);
        let (log_index, reply) = self.shared.group.write(term, bytes).await?;
        match reply {
            Reply::Cluster(reply) => Ok(Proposed {
                log_index,
                reply: *reply,
            }),
            Reply::None | Reply::Partition(_) => Err(ProposeError::Stopped),
        }
    }

    /// Carries out another broker's proposal.
    ///
    /// # Errors
    ///
    /// This broker is not the controller, or ceased to be.
    pub async fn serve_propose(&self, command: Bytes) -> Served {
        let not_controller = || (Refusal::NotController, String::new());
        if cluster::Command::decode(&command).is_err() {
            return Err((Refusal::Malformed, "not a metadata command".to_owned()));
        }
        let term = self.leading_term().ok_or_else(not_controller)?;
        let proposed = self.propose_here(term, &command).await;
        proposed
            .map(|proposed| encode(&proposed))
            .map_err(|_| not_controller())
    }

    /// Answers who this broker is and what it knows of the cluster.
    #[must_use]
    pub fn serve_hello(&self, hello: &Hello) -> HelloReply {
        let image = self.shared.images.current();
        let controller_id = self.controller_id().unwrap_or_default();
        let endpoint = image
            .broker(controller_id.into())
            .map(|broker| &broker.endpoints.peer);
        let asker = image.broker(hello.broker_id.into());
        HelloReply {
            broker_id: self.shared.host.broker_id(),
            cluster_id: image.cluster_id.as_deref().unwrap_or_default().to_owned(),
            controller_id,
            controller_endpoint: endpoint.cloned().unwrap_or_default(),
            knows_asker: asker.is_some(),
            takes_asker_for_fenced: asker.is_some_and(|asker| asker.is_fenced),
        }
    }
}
