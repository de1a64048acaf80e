//! How often keys may be guessed, and from where.
//!
//! A wrong key takes one from the bucket of the network that it came from. While that bucket is empty, every key
//! from there is answered alike, right or wrong: who guesses can't tell a hit from a miss. Only callers
//! that were let in from there before go on, so that a flood of guesses shuts out no one behind the same
//! address who is at work already. Who shares the address and guesses the very key of such a caller is
//! not held up; against that only the length of keys helps.
//!
//! The table has a fixed number of cells, and a network's cell is its hash: nothing grows, nothing is let
//! go, and no lock is taken. Two networks may share a cell, which costs whoever shows wrong keys
//! too. The hash has a secret of its own, so nobody can choose whom to share with.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use orchestratord_sched::{Bucket, Instant};

use super::Identity;

/// Networks that are told apart: 64 KiB, and more than keys are guessed from at a time.
const NETWORKS_MAX: usize = 4096;

/// What one address stands for: itself, or the /64 of an address of version 6, in which a single host may
/// call itself as it likes (RFC 4291 §2.5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network(IpAddr);

impl Network {
    /// The network of an address.
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            address @ IpAddr::V4(_) => address,
        })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => write!(f, "{address}"),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

#[derive(Debug, Default)]
struct Cell {
    wrong: Bucket,
    /// Who was let in from here: a bit each. Like the bucket it stands for itself, so `Relaxed` is enough.
    known: AtomicU64,
}

/// What was guessed from where.
pub struct Guesses {
    cells: Box<[Cell]>,
    secret: RandomState,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            cells: (0..NETWORKS_MAX).map(|_| Cell::default()).collect(),
            secret: RandomState::new(),
        }
    }
}

impl Guesses {
    /// A key that nobody has came from there.
    ///
    /// # Errors
    ///
    /// How long until that may be told.
    pub fn wrong(
        &self,
        from: Network,
        per_minute: NonZeroU32,
        now: Instant,
    ) -> Result<(), Duration> {
        self.cell(from).wrong.take(per_minute, now)
    }

    /// The key of this caller came from there.
    ///
    /// # Errors
    ///
    /// How long until that may be told.
    pub fn right(
        &self,
        from: Network,
        caller: &Identity,
        per_minute: NonZeroU32,
        now: Instant,
    ) -> Result<(), Duration> {
        let cell = self.cell(from);
        let bit = 1 << (self.secret.hash_one(caller) % u64::from(u64::BITS));
        if cell.known.load(Relaxed) & bit == 0 {
            cell.wrong.look(per_minute, now)?;
            cell.known.fetch_or(bit, Relaxed);
        }
        Ok(())
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the least bits of a hash are as good as all"
    )]
    fn cell(&self, network: Network) -> &Cell {
        &self.cells[self.secret.hash_one(network) as usize % NETWORKS_MAX]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ZERO;
    const TWICE: NonZeroU32 = NonZeroU32::new(2).unwrap();
    const WAIT: Result<(), Duration> = Err(Duration::from_secs(30));

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    fn ann() -> Identity {
        Identity::Key("ann".into())
    }

    #[test]
    fn a_network_is_what_one_host_may_call_itself() {
        let told = |address| network(address).to_string();
        assert_eq!(told("192.0.2.7"), "192.0.2.7");
        assert_eq!(told("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(told("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
    }

    #[test]
    fn after_too_many_misses_a_hit_looks_like_a_miss() {
        let (guesses, here) = (Guesses::default(), network("192.0.2.7"));
        for _ in 0..2 {
            assert_eq!(guesses.wrong(here, TWICE, NOW), Ok(()));
        }
        assert_eq!(guesses.wrong(here, TWICE, NOW), WAIT);
        assert_eq!(guesses.right(here, &ann(), TWICE, NOW), WAIT);
        let later = NOW + Duration::from_secs(30);
        assert_eq!(guesses.right(here, &ann(), TWICE, later), Ok(()));
    }

    #[test]
    fn who_was_let_in_before_goes_on() {
        let (guesses, here) = (Guesses::default(), network("192.0.2.7"));
        assert_eq!(guesses.right(here, &ann(), TWICE, NOW), Ok(()));
        while guesses.wrong(here, TWICE, NOW).is_ok() {}
        assert_eq!(guesses.right(here, &ann(), TWICE, NOW), Ok(()));
    }

    #[test]
    fn nobody_pays_for_what_is_guessed_elsewhere() {
        let guesses = Guesses::default();
        let here = network("192.0.2.7");
        while guesses.wrong(here, TWICE, NOW).is_ok() {}
        let cell = |network| std::ptr::from_ref(guesses.cell(network));
        let elsewhere = (0..=u8::MAX).map(|host| network(&format!("198.51.100.{host}")));
        for there in elsewhere.filter(|there| cell(*there) != cell(here)) {
            assert_eq!(guesses.right(there, &ann(), TWICE, NOW), Ok(()));
        }
    }

    #[test]
    fn however_many_networks_guess_the_table_stays_as_large_as_it_is() {
        let guesses = Guesses::default();
        for address in 0..100_000_u32 {
            let _ = guesses.wrong(Network::of(IpAddr::V4(address.into())), TWICE, NOW);
        }
        assert_eq!(guesses.cells.len(), NETWORKS_MAX);
        assert_eq!(size_of_val(&*guesses.cells), 64 * 1024);
    }
}
