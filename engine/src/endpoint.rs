//! Where a server that generates listens, and whether we may call it.
//!
//! Who registers a worker names a URL that the daemon will then call. So that nobody makes it call what
//! only the daemon can reach (server-side request forgery), a URL counts only if every address that its
//! host resolves to lies in a network that the operator allows: loopback unless told otherwise.
//! The address is resolved once, and that address is what is called: a name that later resolves
//! elsewhere leads nowhere. Redirects are not followed.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _},
    str::FromStr,
};

use http::{Uri, uri::Scheme};
use ipnet::IpNet;
use rustls::pki_types::ServerName;

/// Whom a connection leads to. Connections to two that differ in anything are never taken for each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// What is connected to.
    pub addr: SocketAddr,
    /// For whom its certificate must be, if it is to be encrypted.
    pub tls: Option<ServerName<'static>>,
}

/// A server's address, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whom connections lead to.
    pub peer: Peer,
    /// The `Host` field.
    pub host: String,
    /// What stands before each path, without a slash at its end; often nothing.
    pub base_path: String,
}

/// Why a URL is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadEndpoint {
    /// It is not `http://host[:port][/path]`, nor the same with `https`.
    Malformed,
    /// Its host has no address.
    Unresolved,
    /// An address of its host lies outside of what the operator allows.
    Forbidden,
}

impl fmt::Display for BadEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => {
                "the `url` must be http://host:port or https://host:port, with a path if need be"
            }
            Self::Unresolved => "the host of the `url` has no address",
            Self::Forbidden => {
                "the `url` leads to a network that engines may not be in; --engine-networks allows more"
            }
        })
    }
}

impl Endpoint {
    /// Reads a URL and looks its host up, which may take as long as the resolver does.
    ///
    /// # Errors
    ///
    /// Why it is not called.
    pub fn resolve(url: &str, networks: &Networks) -> Result<Self, BadEndpoint> {
        let uri: Uri = url.parse().map_err(|_| BadEndpoint::Malformed)?;
        let (Some(scheme), Some(authority), None) = (uri.scheme(), uri.authority(), uri.query())
        else {
            return Err(BadEndpoint::Malformed);
        };
        // A user's name and password would end up in logs and views.
        if authority.as_str().contains('@') {
            return Err(BadEndpoint::Malformed);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let (port, tls) = if *scheme == Scheme::HTTPS {
            let name = ServerName::try_from(host).map_err(|_| BadEndpoint::Malformed)?;
            (443, Some(name.to_owned()))
        } else if *scheme == Scheme::HTTP {
            (80, None)
        } else {
            return Err(BadEndpoint::Malformed);
        };
        let port = authority.port_u16().unwrap_or(port);
        let mut addrs = (host, port)
            .to_socket_addrs()
            .map_err(|_| BadEndpoint::Unresolved)?
            .peekable();
        let addr = *addrs.peek().ok_or(BadEndpoint::Unresolved)?;
        if !addrs.all(|addr| networks.allow(addr.ip())) {
            return Err(BadEndpoint::Forbidden);
        }
        Ok(Self {
            peer: Peer { addr, tls },
            host: authority.as_str().to_owned(),
            base_path: uri.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Whether it is on this machine for certain.
    pub fn is_loopback(&self) -> bool {
        self.peer.addr.ip().to_canonical().is_loopback()
    }

    /// Whether nobody between here and there can read what it is told.
    pub fn keeps_secrets(&self) -> bool {
        self.peer.tls.is_some() || self.is_loopback()
    }

    /// The URL of a path on it. Its host is not to be looked up again.
    pub fn url(&self, path: &str) -> String {
        let scheme = match self.peer.tls {
            Some(_) => "https",
            None => "http",
        };
        format!("{scheme}://{}{}{path}", self.host, self.base_path)
    }
}

/// The networks that engines may be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Default for Networks {
    /// This machine.
    fn default() -> Self {
        let v4 = IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8).trunc();
        let v6 = IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128);
        Self(vec![v4, v6])
    }
}

impl Networks {
    /// Whether an engine may be at this address. An IPv4 address in IPv6 clothes is what it is inside.
    pub fn allow(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        self.0.iter().any(|network| network.contains(&addr))
    }
}

impl FromStr for Networks {
    type Err = String;

    /// Networks between commas, as `10.0.0.0/8,fd00::/8`. This machine is always among them.
    fn from_str(text: &str) -> Result<Self, String> {
        let Self(mut networks) = Self::default();
        for network in text.split(',').map(str::trim) {
            let network: IpNet = network
                .parse()
                .map_err(|_| format!("`{network}` is no network, as 10.0.0.0/8 is one"))?;
            networks.push(network);
        }
        Ok(Self(networks))
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let networks: Vec<String> = self.0.iter().map(IpNet::to_string).collect();
        f.write_str(&networks.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(url: &str) -> Result<Endpoint, BadEndpoint> {
        Endpoint::resolve(url, &Networks::default())
    }

    #[test]
    fn a_url_is_an_address_a_host_and_a_path() {
        let endpoint = resolve("http://127.0.0.1:8000/engines/a/").unwrap();
        assert_eq!(endpoint.peer.addr, "127.0.0.1:8000".parse().unwrap());
        assert_eq!(endpoint.peer.tls, None);
        assert_eq!(endpoint.host, "127.0.0.1:8000");
        assert_eq!(
            endpoint.url("/health"),
            "http://127.0.0.1:8000/engines/a/health"
        );
        assert_eq!(resolve("http://[::1]:80").unwrap().base_path, "");
    }

    #[test]
    fn at_https_a_certificate_must_be_for_the_host_that_the_url_names() {
        let endpoint = resolve("https://localhost/a/").unwrap();
        assert_eq!(endpoint.peer.addr.port(), 443);
        assert_eq!(endpoint.peer.tls, Some("localhost".try_into().unwrap()));
        assert_eq!(endpoint.url("/health"), "https://localhost/a/health");
        let endpoint = resolve("https://[::1]:8443").unwrap();
        assert_eq!(endpoint.peer.tls, Some("::1".try_into().unwrap()));
    }

    #[test]
    fn what_is_no_plain_url_of_a_server_is_refused() {
        for url in [
            "",
            "127.0.0.1:8000",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "http://me:secret@127.0.0.1/",
            "http://127.0.0.1/?to=elsewhere",
            "https://no_name-:8443",
        ] {
            assert_eq!(resolve(url), Err(BadEndpoint::Malformed), "{url}");
        }
    }

    #[test]
    fn only_allowed_networks_are_called() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.7:8000",
            "http://0.0.0.0:8000",
            "http://[::ffff:10.0.0.7]:8000",
        ] {
            assert_eq!(resolve(url), Err(BadEndpoint::Forbidden), "{url}");
        }
        let networks = "10.0.0.0/8".parse().unwrap();
        for url in ["http://10.0.0.7:8000", "http://127.0.0.1:1"] {
            assert!(Endpoint::resolve(url, &networks).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        let error = "10.0.0.0/8,everything".parse::<Networks>().unwrap_err();
        assert!(error.contains("everything"), "{error}");
    }
}
