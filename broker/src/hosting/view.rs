//! Who holds a group, and who leads it, as the metadata image shows it.

use raftmq_core::cluster::{Image, PartitionInfo};
use raftmq_core::ids::BrokerId;
use raftmq_core::space::{Space, SpaceOfBrokers, may_take_records};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupView {
    /// Replicas, the preferred leader first.
    pub replicas: Vec<u32>,
    /// In-sync replicas as last reported.
    pub isr: Vec<u32>,
    /// Replicas whose broker is fenced.
    pub fenced: Vec<u32>,
    /// Replicas whose broker has little room on its disk.
    pub spaces: SpaceOfBrokers,
    /// Who leads, as the metadata group knows.
    pub leader: Option<u32>,
}

impl GroupView {
    pub(crate) fn new(image: &Image, info: &PartitionInfo, spaces: &SpaceOfBrokers) -> Self {
        let replicas: Vec<u32> = info.replicas.iter().map(|id| id.get()).collect();
        let is_fenced = |id: &u32| !image.is_alive(BrokerId(*id));
        let view = Self {
            fenced: replicas.iter().copied().filter(is_fenced).collect(),
            replicas,
            isr: info.isr.iter().map(|id| id.get()).collect(),
            spaces: SpaceOfBrokers::new(),
            leader: info.leader.map(BrokerId::get),
        };
        view.with_spaces(spaces)
    }

    /// The same with what is known now of disks.
    pub(crate) fn with_spaces(self, spaces: &SpaceOfBrokers) -> Self {
        let is_replica = |(id, _): &(&BrokerId, &Space)| self.replicas.contains(&id.get());
        let among = spaces.iter().filter(is_replica);
        let spaces = among.map(|(id, space)| (*id, *space)).collect();
        Self { spaces, ..self }
    }

    /// Whose disks are too full for the leader `me` to take records; `None` = it takes them.
    pub(crate) fn full_for(&self, me: BrokerId) -> Option<Vec<u32>> {
        let replicas: Vec<_> = self.replicas.iter().copied().map(BrokerId).collect();
        let refuses = !may_take_records(me, &replicas, &self.spaces);
        refuses.then(|| self.spaces.keys().map(|id| id.get()).collect())
    }
}
