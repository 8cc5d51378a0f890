//! Handshakes under way, shared by the addresses that they come from.
//!
//! Until a handshake is over, only the other side's address is known. So a newcomer is never turned
//! away: when all places are taken, the address with the most of them loses one. Its handshakes
//! form two groups, those that have sent nothing yet and those that have. The larger group loses
//! the one that has been silent longest.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The network that a connection is counted for: an IPv4 address, or the /64 of an IPv6 address,
/// which is what one host is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                Self(Ipv6Addr::from_bits(v6.to_bits() & !(u128::from(u64::MAX))).into())
            }
            v4 => Self(v4),
        }
    }
}

/// The places of a listener.
pub(super) struct Handshakes {
    places: usize,
    /// Counts what is heard on all of them.
    clock: Arc<AtomicU64>,
    under_way: Mutex<HandshakeTable>,
}

#[derive(Default)]
struct HandshakeTable {
    arrivals: u64,
    /// By the order of their arrival.
    all: BTreeMap<u64, Handshake>,
}

struct Handshake {
    network: Network,
    heard: Arc<LastHeard>,
    evicted: Arc<Notify>,
}

/// When the other side was last heard: a tick of the clock that all handshakes share; zero if
/// never.
pub(super) struct LastHeard {
    last: AtomicU64,
    clock: Arc<AtomicU64>,
}

impl LastHeard {
    /// Records that the other side was heard.
    pub(super) fn now(&self) {
        self.last.store(
            self.clock.fetch_add(1, Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
    }
}

/// A handshake's place, until it is dropped.
pub(super) struct HandshakePlace {
    room: Arc<Handshakes>,
    arrival: u64,
    evicted: Arc<Notify>,
    heard: Arc<LastHeard>,
}

impl HandshakePlace {
    /// Waits until the place is given to another.
    pub(super) async fn wait_for_eviction(&self) {
        self.evicted.notified().await;
    }

    /// The record of when the other side was last heard.
    pub(super) fn heard(&self) -> Arc<LastHeard> {
        Arc::clone(&self.heard)
    }
}

impl Drop for HandshakePlace {
    fn drop(&mut self) {
        self.room.lock().all.remove(&self.arrival);
    }
}

impl Handshakes {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self {
            places,
            clock: Arc::default(),
            under_way: Mutex::default(),
        })
    }

    /// Gives a newcomer a place. Returns whether another lost its own.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> (HandshakePlace, bool) {
        let network = Network::from(address);
        let mut under_way = self.lock();
        let evicts = under_way.all.len() >= self.places;
        if evicts {
            under_way.evict(network);
        }
        let evicted = Arc::new(Notify::new());
        let heard = Arc::new(LastHeard {
            last: AtomicU64::new(0),
            clock: Arc::clone(&self.clock),
        });
        let arrival = under_way.arrivals;
        under_way.arrivals += 1;
        let handshake = Handshake {
            network,
            heard: Arc::clone(&heard),
            evicted: Arc::clone(&evicted),
        };
        under_way.all.insert(arrival, handshake);
        (
            HandshakePlace {
                room: Arc::clone(self),
                arrival,
                evicted,
                heard,
            },
            evicts,
        )
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HandshakeTable> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl HandshakeTable {
    /// Takes a place away from the network that has the most; the newcomer counts too.
    fn evict(&mut self, newcomer: Network) {
        let mut places = HashMap::from([(newcomer, 1)]);
        for handshake in self.all.values() {
            *places.entry(handshake.network).or_insert(0) += 1;
        }
        let most = places.values().copied().max().unwrap_or_default();
        let of_the_largest = self
            .all
            .iter()
            .filter(|(_, handshake)| places[&handshake.network] == most);
        let (silent, spoken): (Vec<_>, Vec<_>) = of_the_largest
            .map(|(arrival, handshake)| (handshake.last_heard(), *arrival))
            .partition(|(last, _)| *last == 0);
        // A handshake that just began had no time to send anything, so it stays while most others
        // have.
        let larger = if silent.len() >= spoken.len() {
            silent
        } else {
            spoken
        };
        if let Some((_, arrival)) = larger.into_iter().min()
            && let Some(handshake) = self.all.remove(&arrival)
        {
            handshake.evicted.notify_one();
        }
    }
}

impl Handshake {
    fn last_heard(&self) -> u64 {
        self.heard.last.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    /// Whether the place was given to another.
    fn is_evicted(place: &HandshakePlace) -> bool {
        !place.room.lock().all.contains_key(&place.arrival)
    }

    #[test]
    fn the_address_with_the_most_handshakes_gives_way_and_its_oldest_silent_one_first() {
        let room = Handshakes::new(4);
        let mut flood: Vec<_> = (0..3).map(|_| room.enter(from(1)).0).collect();
        let (other, _) = room.enter(from(2));
        flood[0].heard().now();
        let (newcomer, evicted) = room.enter(from(3));
        assert!(
            evicted && is_evicted(&flood[1]),
            "the first that said nothing"
        );
        assert!(
            !is_evicted(&flood[0])
                && !is_evicted(&flood[2])
                && !is_evicted(&other)
                && !is_evicted(&newcomer)
        );
        // The one that gives way to a newcomer of its own address is of that address too.
        flood.push(room.enter(from(1)).0);
        assert!(is_evicted(&flood[2]) && !is_evicted(&other));
        // Among handshakes that have all sent something, the one that was heard first goes.
        flood[3].heard().now();
        flood[0].heard().now();
        drop(room.enter(from(1)));
        assert!(is_evicted(&flood[3]) && !is_evicted(&flood[0]));
    }

    #[test]
    fn who_just_came_is_not_pushed_out_by_those_who_speak_and_stay() {
        let room = Handshakes::new(8);
        let flood: Vec<_> = (0..8).map(|_| room.enter(from(1)).0).collect();
        flood.iter().for_each(|place| place.heard().now());
        let (honest, _) = room.enter(from(1));
        let next: Vec<_> = (0..3).map(|_| room.enter(from(1)).0).collect();
        assert!(
            !is_evicted(&honest) && flood[..4].iter().all(is_evicted) && !is_evicted(&flood[4])
        );
        // Silent newcomers do not push out one that has sent something.
        honest.heard().now();
        let silent: Vec<_> = (0..20).map(|_| room.enter(from(1)).0).collect();
        assert!(!is_evicted(&honest) && is_evicted(&next[0]) && is_evicted(&silent[0]));
    }

    #[test]
    fn who_leaves_makes_room() {
        let room = Handshakes::new(1);
        drop(room.enter(from(1)));
        assert!(!room.enter(from(1)).1);
    }

    #[test]
    fn one_host_is_one_source_over_ipv6_too() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
