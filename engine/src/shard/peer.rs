//! Where a caller is.

use std::net::{IpAddr, Ipv4Addr};

use glommio::net::TcpStream;

use crate::identity::guesses::Network;

/// The address at the other end of a connection; none, when the socket does not tell any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(Option<IpAddr>);

impl Peer {
    /// The other end of this one.
    pub fn of(stream: &TcpStream) -> Self {
        Self(stream.peer_addr().ok().map(|peer| peer.ip()))
    }

    /// Whether it is on this machine.
    pub fn is_local(self) -> bool {
        self.0
            .is_some_and(|address| address.to_canonical().is_loopback())
    }

    /// The network that answers for it. All that are not known answer for each other.
    pub fn network(self) -> Network {
        Network::of(self.0.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
    }
}
