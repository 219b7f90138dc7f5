//! Carries an election out: asks the survivors, has them drop the dead leader's lease, and tells
//! the chosen ones to campaign. All groups of a round travel together.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use raftmq_core::cluster::Image;
use raftmq_core::cluster::election::{Disowned, ElectionOrder, Survivor, VoteInfo, plan_elections};
use raftmq_core::ids::{BrokerId, GroupNumber, LogIndex, Term};
use raftmq_store::{GroupId, Vote};

use super::Controller;
use crate::raft::serve::{
    CampaignOrder, GroupState, decode_group_states, encode_campaigns, encode_groups, encode_votes,
};
use crate::raft::transport::{Lane, Method};

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
        let orders = plan_elections(image, disowned, &survivors);
        if !orders.is_empty() {
            tracing::info!(groups_count = orders.len(), "electing leaders");
            for order in &orders {
                let (raft_group, candidate) = (order.group.get(), order.candidate.get());
                let replaced_term = order.replaced_vote.term.get();
                tracing::debug!(raft_group, candidate, replaced_term, "election ordered");
            }
            metrics::counter!("raftmq_controller_elections_total").increment(orders.len() as u64);
            self.drop_leases(&orders, &survivors).await;
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

    async fn drop_leases(
        &self,
        orders: &[ElectionOrder],
        survivors: &BTreeMap<GroupNumber, Vec<Survivor>>,
    ) {
        let mut by_broker: BTreeMap<BrokerId, Vec<(GroupId, Vote)>> = BTreeMap::new();
        let with_lease = |order: &&ElectionOrder| order.replaced_vote != VoteInfo::default();
        for order in orders.iter().filter(with_lease) {
            let vote = vote_of(order.replaced_vote);
            for survivor in survivors.get(&order.group).into_iter().flatten() {
                let votes = by_broker.entry(survivor.broker).or_default();
                votes.push((GroupId(order.group.get()), vote));
            }
        }
        let host = &self.shared.host;
        let drops = by_broker.into_iter().map(|(broker, votes)| async move {
            if broker.get() == host.broker_id() {
                host.drop_leases(votes).await;
            } else {
                let body = encode_votes(&votes);
                let transport = host.transport();
                let method = Method::DropLeases;
                let call = transport.call(broker.get(), Lane::Control, GroupId(0), method, body);
                let _ = call.await;
            }
        });
        join_all(drops).await;
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
