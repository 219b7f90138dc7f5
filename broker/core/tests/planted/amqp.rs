//! The planted bugs of AMQP's metadata do harm.

use bytes::Bytes;
use raftmq_core::cluster::amqp::{ChangeUser, ConnectionId, DeclareQueue, PasswordHash, Seed};
use raftmq_core::cluster::{AmqpCommand, Cluster, Command, RegisterBroker, Reply};
use raftmq_core::exchange::{Argument, Arguments, HeaderValue};
use raftmq_core::planted::{Bug, plant};
use raftmq_core::{BrokerId, DirectoryId, Effects, EntryMeta, Machine};

/// A machine in which each command is committed at once.
#[derive(Default)]
struct Log {
    cluster: Cluster,
    log_index: u64,
}

impl Log {
    fn commit(&mut self, command: Command) -> Reply {
        self.log_index += 1;
        let meta = EntryMeta {
            log_index: self.log_index,
            term: 1,
            proposed_at_ms: 1,
            machine_version: 1,
        };
        self.cluster.apply(&meta, command, &mut Effects::new())
    }

    fn declare(&mut self, owner: Option<ConnectionId>, length_max: i64) -> Reply {
        let argument = Argument {
            name: Bytes::from_static(b"x-max-length"),
            tag: b'l',
            value: HeaderValue::Integer(length_max),
        };
        self.commit(Command::Amqp(AmqpCommand::DeclareQueue(DeclareQueue {
            vhost: "/".to_owned(),
            name: "q".to_owned(),
            is_server_named: false,
            is_durable: true,
            is_auto_delete: false,
            owner,
            arguments: Arguments::new(vec![argument]),
        })))
    }
}

/// One live broker and the first virtual host.
fn started() -> (Log, ConnectionId) {
    let mut log = Log::default();
    let cluster_id = "c".to_owned();
    let (id, name) = (BrokerId(1), cluster_id.clone());
    log.commit(Command::CreateCluster { cluster_id }).unwrap();
    log.commit(Command::RegisterBroker(RegisterBroker {
        cluster_id: name,
        id,
        incarnation: [1; 16],
        endpoints: raftmq_core::cluster::Endpoints::default(),
        rack: String::new(),
        directory_id: DirectoryId::default(),
    }))
    .unwrap();
    let epoch = log.cluster.image().broker(id).unwrap().epoch;
    log.commit(Command::UnfenceBroker { id, epoch }).unwrap();
    let seed = AmqpCommand::Seed(Seed {
        user: "guest".to_owned(),
        password_hash: PasswordHash::default(),
    });
    log.commit(Command::Amqp(seed)).unwrap();
    let connection = ConnectionId {
        broker: id,
        broker_epoch: epoch,
        number: 1,
    };
    (log, connection)
}

pub(super) fn each_bug_of_amqp_breaks_its_promise() {
    let (mut log, _) = started();
    log.declare(None, 1).unwrap();
    assert!(log.declare(None, 2).is_err());
    plant(Bug::InequivalentDeclareAccepted);
    assert!(log.declare(None, 2).is_ok(), "another length is accepted");

    let outlives = || {
        let (mut log, connection) = started();
        log.declare(Some(connection), 1).unwrap();
        let close = AmqpCommand::CloseConnection { connection };
        log.commit(Command::Amqp(close)).unwrap();
        log.cluster.image().amqp.queue("/", "q").is_ok()
    };
    assert!(!outlives());
    plant(Bug::ExclusiveQueueOutlivesOwner);
    assert!(outlives(), "nobody can use it any more");

    let keeps_password = || {
        let (mut log, _) = started();
        for (password_hash, tags) in [(Some(b"hash"), None), (None, Some("monitoring"))] {
            let password_hash = password_hash.map(|hash| PasswordHash(Bytes::from_static(hash)));
            let tags = tags.map(|tag: &str| [tag.to_owned()].into());
            let change = AmqpCommand::ChangeUser(ChangeUser {
                name: "jane".to_owned(),
                password_hash,
                tags,
            });
            log.commit(Command::Amqp(change)).unwrap();
        }
        let image = log.cluster.image();
        image.amqp.users["jane"].password_hash.0 == b"hash"[..]
    };
    assert!(keeps_password());
    plant(Bug::ChangedUserLosesPassword);
    assert!(!keeps_password(), "she cannot log in any more");
}
