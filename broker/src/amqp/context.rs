//! What everything of this front end shares, and what it knows of one client.
//!
//! Knows the broker's parts, the image, and who is logged in where. Decides nothing but what the
//! client's permissions say.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use raftmq_amqp::{Kind, Permission, Publish, Refusal};
use raftmq_core::cluster::amqp::{AmqpCommand, ConnectionId, Permissions, QueueInfo, Vhost};
use raftmq_core::cluster::{Command, Image, Outcome};
use raftmq_core::exchange::Route;
use raftmq_core::ids::BrokerId;
use tokio::sync::{Semaphore, watch};

use super::error::of_amqp;
use super::limits::COMMAND_WAIT;
use super::load::Load;
use super::metrics::Metrics;
use super::patterns::Patterns;
use super::publish::{Scene, plan};
use super::standing::Standing;
use crate::config::AmqpConfig;
use crate::controller::ControlError;
use crate::messages::publish::Plan;
use crate::node::Parts;
use crate::queues::Queues;

/// What all connections of a broker share.
pub(super) struct Shared {
    pub(super) parts: Parts,
    pub(super) config: AmqpConfig,
    pub(super) metrics: Metrics,
    pub(super) load: Arc<Load>,
    pub(super) connections: Arc<Semaphore>,
    pub(super) standing: watch::Sender<Standing>,
}

impl Shared {
    /// The metadata image now.
    pub(super) fn image(&self) -> Arc<Image> {
        self.parts.controller.images().current()
    }

    /// This broker.
    pub(super) fn me(&self) -> BrokerId {
        BrokerId(self.parts.host.broker_id())
    }

    /// The service of queues.
    pub(super) fn queues(&self) -> &Queues {
        &self.parts.queues
    }

    /// Proposes a command about AMQP's world and waits until this broker's image shows its outcome.
    pub(super) async fn propose(&self, command: AmqpCommand) -> Result<Outcome, ControlError> {
        let command = Command::Amqp(command);
        self.parts.controller.propose(&command, COMMAND_WAIT).await
    }
}

/// A client that is logged in and has entered a virtual host.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    pub(super) connection: ConnectionId,
    pub(super) user: Arc<str>,
    pub(super) vhost: Arc<str>,
    compiled: Mutex<Compiled>,
}

/// The permissions that were compiled last, and what came of them.
struct Compiled {
    of: Option<Arc<Permissions>>,
    patterns: Arc<Patterns>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("connection", &self.connection)
            .field("user", &self.user)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        connection: ConnectionId,
        user: Arc<str>,
        vhost: Arc<str>,
    ) -> Self {
        let nothing = Compiled {
            of: None,
            patterns: Arc::new(Patterns::none()),
        };
        Self {
            shared,
            connection,
            user,
            vhost,
            compiled: Mutex::new(nothing),
        }
    }

    pub(super) fn image(&self) -> Arc<Image> {
        self.shared.image()
    }

    /// The client's virtual host.
    ///
    /// # Errors
    /// `UnknownVhost` when it was deleted meanwhile.
    pub(super) fn vhost<'a>(&self, image: &'a Image) -> Result<&'a Arc<Vhost>, Refusal> {
        image.amqp.vhost(&self.vhost).map_err(of_amqp)
    }

    /// Checks what the client may do, by the permissions in this image.
    ///
    /// # Errors
    /// `Denied`, `UnknownVhost`.
    pub(super) fn check(
        &self,
        image: &Image,
        permission: Permission,
        kind: Kind,
        name: &str,
    ) -> Result<(), Refusal> {
        self.patterns(image)?.check(permission, kind, name)
    }

    /// Finds a queue that the client may use at all.
    ///
    /// # Errors
    /// `Unknown`; `Locked` for another connection's exclusive queue.
    pub(super) fn queue<'a>(
        &self,
        image: &'a Image,
        name: &str,
    ) -> Result<&'a Arc<QueueInfo>, Refusal> {
        let queue = image.amqp.queue(&self.vhost, name).map_err(of_amqp)?;
        queue.check_access(Some(self.connection)).map_err(of_amqp)?;
        Ok(queue)
    }

    /// Finds the way of a message, by the image as it is now.
    ///
    /// # Errors
    /// As [`plan`]; `UnknownVhost`.
    pub(super) fn plan(&self, publish: &Publish, route: &mut Route) -> Result<Plan, Refusal> {
        let image = self.image();
        let patterns = self.patterns(&image)?;
        let scene = Scene {
            image: &image,
            vhost: self.vhost(&image)?,
            patterns: &patterns,
        };
        plan(scene, publish, route)
    }

    fn patterns(&self, image: &Image) -> Result<Arc<Patterns>, Refusal> {
        let vhost = self.vhost(image)?;
        let Some(current) = image.amqp.permissions_of(vhost.id, &self.user) else {
            return Ok(Arc::new(Patterns::none()));
        };
        let mut compiled = self.compiled.lock();
        let is_same = |known: &Arc<Permissions>| Arc::ptr_eq(known, current);
        if !compiled.of.as_ref().is_some_and(is_same) {
            compiled.patterns = Arc::new(Patterns::new(current));
            compiled.of = Some(current.clone());
        }
        Ok(compiled.patterns.clone())
    }
}
