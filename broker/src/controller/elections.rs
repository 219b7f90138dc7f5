//! Carries an election out: asks the survivors, has them drop the dead leader's lease, and tells
//! the chosen ones to campaign. All groups of a round travel together.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::election::{Disowned, ElectionOrder, Survivor, VoteInfo, plan_elections};
use raftmq_core::cluster::vouches::Replaced;
use raftmq_core::ids::{BrokerId, GroupNumber, LogIndex, Term};
use raftmq_store::{GroupId, Vote};

use super::Controller;
use crate::raft::METADATA_GROUP;
use crate::raft::serve::{
    CampaignOrder, GroupState, decode_group_states, decode_groups, encode_campaigns, encode_groups,
};
use crate::raft::transport::{Lane, Method};
use crate::raft::vouching::{LeaseDrop, LeaseDrops, encode_lease_drops};

impl Controller {
    /// One round for these groups. Returns those that nobody could be ordered to lead yet; whether
    /// the others got a leader is seen in the image later.
    pub(super) async fn elect(
        &self,
        image: &Image,
        disowned: &Disowned,
        groups: Vec<GroupNumber>,
    ) -> Vec<GroupNumber> {
        let survivors = self.ask_survivors(image, &groups).await;
        let mut orders = plan_elections(image, disowned, &survivors);
        if !orders.is_empty() {
            tracing::info!(groups_count = orders.len(), "electing leaders");
            for order in &orders {
                let (raft_group, candidate) = (order.group.get(), order.candidate.get());
                let replaced_term = order.replaced_vote.term.get();
                tracing::debug!(raft_group, candidate, replaced_term, "election ordered");
            }
            metrics::counter!("raftmq_controller_elections_total").increment(orders.len() as u64);
            let kept = self.drop_leases(image, &orders, &survivors).await;
            orders.retain(|order| !kept.contains(&order.group));
            self.order_campaigns(&orders).await;
        }
        let ordered: BTreeSet<GroupNumber> = orders.iter().map(|order| order.group).collect();
        let is_left = |group: &GroupNumber| !ordered.contains(group);
        groups.into_iter().filter(is_left).collect()
    }

    pub(super) async fn ask_survivors(
        &self,
        image: &Image,
        groups: &[GroupNumber],
    ) -> BTreeMap<GroupNumber, Vec<Survivor>> {
        let mut by_broker: BTreeMap<BrokerId, Vec<GroupId>> = BTreeMap::new();
        for info in groups.iter().filter_map(|group| image.partition(*group)) {
            for broker in info.all_replicas().filter(|id| image.is_alive(*id)) {
                by_broker
                    .entry(broker)
                    .or_default()
                    .push(GroupId(info.group.get()));
            }
        }
        let asks = by_broker
            .into_iter()
            .map(|(broker, groups)| async move { (broker, self.ask_one(broker, &groups).await) });
        let mut survivors: BTreeMap<GroupNumber, Vec<Survivor>> = BTreeMap::new();
        for (broker, states) in join_all(asks).await {
            for state in states {
                let group = GroupNumber(state.group.0);
                survivors
                    .entry(group)
                    .or_default()
                    .push(survivor(broker, &state));
            }
        }
        survivors
    }

    async fn ask_one(&self, broker: BrokerId, groups: &[GroupId]) -> Vec<GroupState> {
        let host = &self.shared.host;
        if broker.get() == host.broker_id() {
            return host.group_states(groups);
        }
        let body = encode_groups(groups);
        let transport = host.transport();
        let call = transport.call(
            broker.get(),
            Lane::Control,
            GroupId(0),
            Method::GroupStates,
            body,
        );
        match call.await {
            Ok(body) => decode_group_states(body).unwrap_or_default(),
            Err(_unreachable) => Vec::new(),
        }
    }

    /// Has the survivors drop the leases that the orders name. Returns the groups in which one keeps it for now.
    async fn drop_leases(
        &self,
        image: &Image,
        orders: &[ElectionOrder],
        survivors: &BTreeMap<GroupNumber, Vec<Survivor>>,
    ) -> BTreeSet<GroupNumber> {
        let mut by_broker: BTreeMap<BrokerId, Vec<LeaseDrop>> = BTreeMap::new();
        let with_lease = |order: &&ElectionOrder| order.replaced_vote != VoteInfo::default();
        for order in orders.iter().filter(with_lease) {
            let drop = LeaseDrop {
                group: GroupId(order.group.get()),
                vote: vote_of(order.replaced_vote),
                replaced: self.replaced(image, order),
            };
            for survivor in survivors.get(&order.group).into_iter().flatten() {
                by_broker.entry(survivor.broker).or_default().push(drop);
            }
        }
        let host = &self.shared.host;
        let session_ms = u64::try_from(self.session_timeout().as_millis()).unwrap_or(u64::MAX);
        let drops = by_broker.into_iter().map(|(broker, drops)| async move {
            let order = LeaseDrops { session_ms, drops };
            if broker.get() == host.broker_id() {
                return host.drop_leases(order).await;
            }
            let body = encode_lease_drops(&order);
            let transport = host.transport();
            let method = Method::DropLeases;
            let call = transport.call(broker.get(), Lane::Control, METADATA_GROUP, method, body);
            // Who does not answer has dropped nothing, and grants nothing.
            let answer = call.await.unwrap_or_default();
            decode_groups(answer).unwrap_or_default()
        });
        let kept = join_all(drops).await.into_iter().flatten();
        kept.map(|group| GroupNumber(group.0)).collect()
    }

    /// The leader that an order replaces, where it may still lead without knowing of its fence: it is fenced, and
    /// its process may live. One that has registered since knows, and has suspended its leaderships.
    fn replaced(&self, image: &Image, order: &ElectionOrder) -> Option<Replaced> {
        let vote = order.replaced_vote;
        let leader = vote.voted_for.filter(|_| vote.is_committed)?;
        let broker = image.broker(leader).filter(|broker| broker.is_fenced)?;
        let is_gone = self.shared.host.transport().is_gone(leader.get());
        (!is_gone).then_some(Replaced {
            broker: leader,
            fenced_at: broker.epoch,
        })
    }

    async fn order_campaigns(&self, orders: &[ElectionOrder]) {
        let mut by_broker: BTreeMap<BrokerId, Vec<CampaignOrder>> = BTreeMap::new();
        for order in orders {
            by_broker
                .entry(order.candidate)
                .or_default()
                .push(CampaignOrder {
                    group: GroupId(order.group.get()),
                    replaces: vote_of(order.replaced_vote),
                });
        }
        let host = &self.shared.host;
        let campaigns = by_broker.into_iter().map(|(broker, orders)| async move {
            if broker.get() == host.broker_id() {
                host.campaigns(orders).await;
            } else {
                let body = encode_campaigns(&orders);
                let transport = host.transport();
                let method = Method::Campaign;
                let call = transport.call(broker.get(), Lane::Control, GroupId(0), method, body);
                let _ = call.await;
            }
        });
        join_all(campaigns).await;
    }
}

fn survivor(broker: BrokerId, state: &GroupState) -> Survivor {
    let leader_id = state.vote.leader_id;
    let voted_for = u32::try_from(leader_id.voted_for).ok().map(BrokerId);
    // Before its first election a replica "votes" for itself in term 0; that is no vote.
    let vote = if leader_id.term == 0 {
        VoteInfo::default()
    } else {
        VoteInfo {
            term: Term(leader_id.term),
            voted_for,
            is_committed: state.vote.committed,
        }
    };
    let last_log = state
        .last_log
        .map(|log_id| (Term(log_id.leader_id.term), LogIndex(log_id.index)));
    let GroupState {
        is_recovering,
        is_leading,
        ..
    } = *state;
    Survivor {
        broker,
        vote,
        last_log,
        is_recovering,
        is_leading,
    }
}

fn vote_of(vote: VoteInfo) -> Vote {
    let voted_for = vote.voted_for.map_or(0, |broker| u64::from(broker.get()));
    if vote.is_committed {
        Vote::new_committed(vote.term.get(), voted_for)
    } else {
        Vote::new(vote.term.get(), voted_for)
    }
}
