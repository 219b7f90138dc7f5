//! A small world for unit tests: metadata with a broker, the virtual host `/` and what a test declares.

use raftmq_core::cluster::amqp::{
    AmqpCommand, BindingChange, BindingTarget, DeclareExchange, DeclareQueue, Seed,
};
use raftmq_core::cluster::{Cluster, Command, Endpoints, Image, Outcome, RegisterBroker};
use raftmq_core::effect::Effects;
use raftmq_core::exchange::{Arguments, ExchangeKind};
use raftmq_core::ids::{BrokerId, DirectoryId};
use raftmq_core::machine::{EntryMeta, MACHINE_VERSION};
use raftmq_core::{GroupNumber, Machine};

use crate::security::password;

pub(crate) const VHOST: &str = "/";
/// Who may do everything there.
const USER: &str = "guest";

/// See the module.
#[derive(Default)]
pub(crate) struct World {
    cluster: Cluster,
    log_index: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self::default();
        let cluster_id = "world".to_owned();
        world.run(Command::CreateCluster {
            cluster_id: cluster_id.clone(),
        });
        let registered = world.run(Command::RegisterBroker(RegisterBroker {
            cluster_id,
            id: BrokerId(1),
            incarnation: [1; 16],
            endpoints: Endpoints::default(),
            rack: String::new(),
            directory_id: DirectoryId([1; 16]),
        }));
        let Outcome::Registered { epoch } = registered else {
            panic!("not registered: {registered:?}");
        };
        world.run(Command::UnfenceBroker {
            id: BrokerId(1),
            epoch,
        });
        world.amqp(AmqpCommand::Seed(Seed {
            user: USER.to_owned(),
            password_hash: password::hash([1; 16], USER.as_bytes()),
        }));
        world
    }

    pub(crate) fn image(&self) -> &Image {
        self.cluster.image()
    }

    pub(crate) fn amqp(&mut self, command: AmqpCommand) -> Outcome {
        self.run(Command::Amqp(command))
    }

    pub(crate) fn queue(&mut self, name: &str, arguments: Arguments) -> GroupNumber {
        let declared = self.amqp(AmqpCommand::DeclareQueue(DeclareQueue {
            vhost: VHOST.to_owned(),
            name: name.to_owned(),
            is_server_named: false,
            is_durable: true,
            is_auto_delete: false,
            owner: None,
            arguments,
        }));
        let Outcome::QueueDeclared { group, .. } = declared else {
            panic!("no queue: {declared:?}");
        };
        group
    }

    pub(crate) fn exchange(&mut self, name: &str, kind: ExchangeKind, is_delayed: bool) {
        self.amqp(AmqpCommand::DeclareExchange(DeclareExchange {
            vhost: VHOST.to_owned(),
            name: name.to_owned(),
            kind,
            is_delayed,
            is_durable: true,
            is_auto_delete: false,
            is_internal: name.starts_with("internal"),
            arguments: Arguments::NONE,
        }));
    }

    pub(crate) fn bind(&mut self, source: &str, queue: &str, key: &str) {
        self.amqp(AmqpCommand::Bind(BindingChange {
            vhost: VHOST.to_owned(),
            source: source.to_owned(),
            target: BindingTarget::Queue(queue.to_owned()),
            key: key.as_bytes().into(),
            arguments: Arguments::NONE,
            connection: None,
        }));
    }

    fn run(&mut self, command: Command) -> Outcome {
        self.log_index += 1;
        let meta = EntryMeta {
            log_index: self.log_index,
            term: 1,
            proposed_at_ms: 0,
            machine_version: MACHINE_VERSION,
        };
        let reply = self.cluster.apply(&meta, command, &mut Effects::new());
        reply.expect("the command is accepted")
    }
}
