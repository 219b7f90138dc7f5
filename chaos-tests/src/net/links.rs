//! Which links are cut, who waits for them, and what closed behind a cut.
//!
//! Owns the state that the nemesis changes and every stream asks. Cuts of one link add up; each is
//! counted as an effect of its class once a byte, a connection or a close has met it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::task::Waker;

use parking_lot::Mutex;
use tokio::sync::Notify;
use turmoil::net::TcpStream;

use crate::faults::{Effects, FaultClass};
use crate::nemesis::Host;

type Link = (Host, Host);

/// Shared by the nemesis and all streams.
pub struct Links {
    state: Mutex<State>,
    mended: Notify,
    effects: Effects,
}

#[derive(Default)]
struct State {
    cuts: BTreeMap<Link, Vec<Option<FaultClass>>>,
    slow: BTreeMap<Link, u32>,
    wakers: BTreeMap<Link, Vec<Waker>>,
    buried: Vec<(Link, TcpStream)>,
    paused: BTreeSet<Host>,
    sleepers: BTreeMap<Host, Vec<Waker>>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links")
            .field("cuts", &self.state.lock().cuts)
            .finish_non_exhaustive()
    }
}

impl Links {
    /// All links open; effects are counted in `effects`.
    #[must_use]
    pub fn new(effects: Effects) -> Self {
        Self {
            state: Mutex::default(),
            mended: Notify::new(),
            effects,
        }
    }

    /// Cuts the way from each of `from` to each of `to`; without a class nothing is counted.
    pub fn cut(&self, class: Option<FaultClass>, from: &[Host], to: &[Host]) {
        let mut state = self.state.lock();
        for link in pairs(from, to) {
            state.cuts.entry(link).or_default().push(class);
        }
    }

    /// Takes one cut of each of these ways back.
    pub fn mend(&self, from: &[Host], to: &[Host]) {
        let mut woken = Vec::new();
        {
            let mut state = self.state.lock();
            for link in pairs(from, to) {
                if let Some(cuts) = state.cuts.get_mut(&link) {
                    cuts.pop();
                    if cuts.is_empty() {
                        state.cuts.remove(&link);
                        woken.extend(state.wakers.remove(&link).unwrap_or_default());
                    }
                }
            }
        }
        woken.into_iter().for_each(Waker::wake);
        self.mended.notify_waiters();
    }

    /// From now on `host` reads and writes nothing; connections to it are taken by nobody.
    pub fn pause(&self, host: Host) {
        self.state.lock().paused.insert(host);
    }

    /// Takes a pause back; one that does not stand still is left alone.
    pub fn resume(&self, host: Host) {
        let woken = {
            let mut state = self.state.lock();
            state.paused.remove(&host);
            state.sleepers.remove(&host).unwrap_or_default()
        };
        woken.into_iter().for_each(Waker::wake);
    }

    /// Whether `host` does anything; if not, `waker` is woken when it does again.
    pub(super) fn poll_awake(&self, host: Host, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.paused.contains(&host) {
            return true;
        }
        let sleepers = state.sleepers.entry(host).or_default();
        sleepers.push(waker.clone());
        self.effects.add(FaultClass::Pause, 1);
        false
    }

    /// Waits until `host` does something.
    pub(super) async fn until_awake(&self, host: Host) {
        std::future::poll_fn(|context| match self.poll_awake(host, context.waker()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        })
        .await;
    }

    /// Opens every link.
    pub fn mend_all(&self) {
        let woken: Vec<Waker> = {
            let mut state = self.state.lock();
            state.cuts.clear();
            std::mem::take(&mut state.wakers)
                .into_values()
                .flatten()
                .collect()
        };
        woken.into_iter().for_each(Waker::wake);
        self.mended.notify_waiters();
    }

    /// Notes that turmoil delays a link, or no longer does; only for counting effects.
    pub fn set_slow(&self, a: Host, b: Host, is_slow: bool) {
        let mut state = self.state.lock();
        for link in [(a, b), (b, a)] {
            if is_slow {
                *state.slow.entry(link).or_default() += 1;
            } else {
                state.slow.remove(&link);
            }
        }
    }

    /// Whether bytes may go now; if not, `waker` is woken when they may.
    pub(super) fn poll_open(&self, from: Host, to: Host, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if let Some(cuts) = state.cuts.get(&(from, to)) {
            let class = cuts.iter().copied().flatten().next();
            state
                .wakers
                .entry((from, to))
                .or_default()
                .push(waker.clone());
            if let Some(class) = class {
                self.effects.add(class, 1);
            }
            return false;
        }
        if state.slow.contains_key(&(from, to)) {
            self.effects.add(FaultClass::SlowLink, 1);
        }
        true
    }

    /// Waits until the way is open.
    pub(super) async fn until_open(&self, from: Host, to: Host) {
        std::future::poll_fn(|context| {
            if self.poll_open(from, to, context.waker()) {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
    }

    /// Whether the way is cut.
    #[must_use]
    pub fn is_cut(&self, from: Host, to: Host) -> bool {
        self.state.lock().cuts.contains_key(&(from, to))
    }

    /// Keeps a stream that was dropped behind a cut.
    pub(super) fn bury(&self, from: Host, to: Host, stream: TcpStream) {
        self.state.lock().buried.push(((from, to), stream));
    }

    /// The buried streams of `host` whose way is open again; the caller drops them on that host.
    pub(super) fn exhume(&self, host: Host) -> Vec<TcpStream> {
        let mut state = self.state.lock();
        let State { cuts, buried, .. } = &mut *state;
        let (ready, kept) = std::mem::take(buried)
            .into_iter()
            .partition(|(link, _)| link.0 == host && !cuts.contains_key(link));
        *buried = kept;
        let ready: Vec<(Link, TcpStream)> = ready;
        ready.into_iter().map(|(_, stream)| stream).collect()
    }

    /// Completes at the next mending after this call.
    pub(super) fn mended(&self) -> impl Future<Output = ()> {
        let mut notified = Box::pin(self.mended.notified());
        notified.as_mut().enable();
        notified
    }
}

fn pairs(from: &[Host], to: &[Host]) -> Vec<Link> {
    from.iter()
        .flat_map(|from| to.iter().map(|to| (*from, *to)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Host = Host::Broker(1);
    const B: Host = Host::Broker(2);

    #[test]
    fn cuts_of_one_link_add_up() {
        let links = Links::new(Effects::default());
        links.cut(Some(FaultClass::OneWay), &[A], &[B]);
        links.cut(Some(FaultClass::Partition), &[A], &[B]);
        links.mend(&[A], &[B]);
        assert!(links.is_cut(A, B));
        assert!(!links.is_cut(B, A));

        links.mend(&[A], &[B]);
        assert!(!links.is_cut(A, B));
    }

    #[test]
    fn a_host_that_stands_still_is_woken_when_it_goes_on() {
        let effects = Effects::default();
        let links = Links::new(effects.clone());
        links.pause(A);
        assert!(links.poll_awake(B, Waker::noop()));
        assert!(!links.poll_awake(A, Waker::noop()));

        links.resume(A);
        assert!(links.poll_awake(A, Waker::noop()));
        assert_eq!(effects.counts(), [(FaultClass::Pause, 1)].into());
    }

    #[test]
    fn a_cut_that_nothing_met_has_no_effect() {
        let effects = Effects::default();
        let links = Links::new(effects.clone());
        links.cut(Some(FaultClass::OneWay), &[A], &[B]);
        assert!(effects.counts().is_empty());

        assert!(!links.poll_open(A, B, Waker::noop()));
        assert!(links.poll_open(B, A, Waker::noop()));
        assert_eq!(effects.counts(), [(FaultClass::OneWay, 1)].into());
    }
}
