//! Where models may be downloaded from: nowhere, unless the operator says so.
//!
//! ```text
//! host.example            this host, over https on its port 443, at public addresses
//! *.host.example          the hosts below it, likewise
//! http://mirror:8000      this very origin, at any address: a mirror in the operator's own network
//! ```
//!
//! A name that anybody may give to the daemon (a reload's, the catalog's, a redirect's) must not make it
//! call what only the daemon can reach. So a host must be named here, and a host that is named without
//! its scheme must lie in the public internet; whoever names a scheme vouches for where it leads.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use http::Uri;

/// Who may be asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(Vec<Rule>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rule {
    Host(String),
    Below(String),
    Origin(Origin),
}

/// Who answers: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    host: String,
    port: u16,
}

/// Where the addresses of a host may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// In the public internet.
    Public,
    /// Anywhere: the operator vouches for it.
    Anywhere,
}

impl Reach {
    /// Whether an address lies there.
    pub fn includes(self, addr: IpAddr) -> bool {
        self == Self::Anywhere || is_public(addr)
    }
}

impl Origin {
    /// Of this URL, if it is one of the web's.
    pub fn of(url: &Uri) -> Option<Self> {
        let is_https = match url.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let default = if is_https { 443 } else { 80 };
        Some(Self {
            is_https,
            host: url.host()?.to_ascii_lowercase(),
            port: url.port_u16().unwrap_or(default),
        })
    }
}

impl Hosts {
    /// How far the URL may reach; `None` if its host may not be asked.
    pub fn reach(&self, url: &Uri) -> Option<Reach> {
        let origin = Origin::of(url)?;
        let is_named = |rule: &Rule| match rule {
            Rule::Origin(named) => *named == origin,
            Rule::Host(_) | Rule::Below(_) => false,
        };
        let is_public = |rule: &Rule| match rule {
            Rule::Host(host) => *host == origin.host,
            Rule::Below(suffix) => origin
                .host
                .strip_suffix(suffix.as_str())
                .is_some_and(|it| !it.is_empty()),
            Rule::Origin(_) => false,
        };
        if self.0.iter().any(is_named) {
            return Some(Reach::Anywhere);
        }
        let is_usual = origin.is_https && origin.port == 443;
        (is_usual && self.0.iter().any(is_public)).then_some(Reach::Public)
    }
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rules = text
            .split(',')
            .map(str::trim)
            .filter(|rule| !rule.is_empty());
        rules.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no host, as host.example, *.host.example and http://mirror:8000 are"
            )
        };
        if text.contains("://") {
            let url: Uri = text.parse().map_err(|_| wrong())?;
            let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
            let origin = Origin::of(&url).filter(|_| is_bare && !text.contains('@'));
            return origin.map(Self::Origin).ok_or_else(wrong);
        }
        let host = text.to_ascii_lowercase();
        let (suffix, is_below) = match host.strip_prefix('*') {
            Some(suffix) => (suffix.strip_prefix('.').ok_or_else(wrong)?, true),
            None => (host.as_str(), false),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if suffix.is_empty() || suffix.starts_with('.') || !suffix.bytes().all(plain) {
            return Err(wrong());
        }
        Ok(if is_below {
            Self::Below(format!(".{suffix}"))
        } else {
            Self::Host(host)
        })
    }
}

/// As an operator names it: a host, or an origin where the host alone would mean another.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            is_https,
            host,
            port,
        } = self;
        match (is_https, port) {
            (true, 443) => f.write_str(host),
            (true, port) => write!(f, "https://{host}:{port}"),
            (false, port) => write!(f, "http://{host}:{port}"),
        }
    }
}

/// Whether everybody could reach the address too: it is none of the special ones of IANA's registries
/// (RFC 6890) and not one of them in IPv6 clothes.
fn is_public(addr: IpAddr) -> bool {
    match addr.to_canonical() {
        IpAddr::V4(addr) => is_public_v4(addr),
        IpAddr::V6(addr) => is_public_v6(addr),
    }
}

fn is_public_v4(addr: Ipv4Addr) -> bool {
    let [a, b, c, _] = addr.octets();
    let is_special = addr.is_private()
        || addr.is_loopback()
        || addr.is_link_local()
        || addr.is_documentation()
        || a == 0
        // Shared by carriers (RFC 6598), protocols', for benchmarks (RFC 2544), multicast and beyond.
        || (a == 100 && b & 0xc0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 224;
    !is_special
}

fn is_public_v6(addr: Ipv6Addr) -> bool {
    let [a, b, ..] = addr.segments();
    // Global unicast is 2000::/3 (RFC 4291, section 2.4). Of that: Teredo and other protocols'
    // (2001::/23), documentation (2001:db8::/32, 3fff::/20), and 6to4, which is an IPv4 address inside.
    a & 0xe000 == 0x2000
        && !(a == 0x2001 && b & 0xfe00 == 0)
        && !(a == 0x2001 && b == 0x0db8)
        && !(a == 0x3fff && b & 0xf000 == 0)
        && a != 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(hosts: &str, url: &str) -> Option<Reach> {
        let hosts: Hosts = hosts.parse().unwrap();
        hosts.reach(&url.parse().unwrap())
    }

    #[test]
    fn nobody_is_asked_unless_named() {
        assert_eq!(reach("", "https://host.example/tale"), None);
        assert_eq!(reach("other.example", "https://host.example/tale"), None);
    }

    #[test]
    fn a_host_is_asked_over_https_in_public() {
        let hosts = "Host.Example, *.cdn.example";
        for url in [
            "https://host.example/t",
            "https://HOST.example:443/t",
            "https://a.b.cdn.example/t",
        ] {
            assert_eq!(reach(hosts, url), Some(Reach::Public), "{url}");
        }
        for url in [
            "http://host.example/t",
            "https://host.example:8443/t",
            "https://not-host.example/t",
            "https://host.example.evil/t",
            "https://cdn.example/t",
            "https://evilcdn.example/t",
        ] {
            assert_eq!(reach(hosts, url), None, "{url}");
        }
    }

    #[test]
    fn who_names_a_scheme_vouches_for_the_very_origin() {
        let hosts = "http://127.0.0.1:8000,https://mirror";
        assert_eq!(
            reach(hosts, "http://127.0.0.1:8000/t"),
            Some(Reach::Anywhere)
        );
        assert_eq!(reach(hosts, "https://mirror/t"), Some(Reach::Anywhere));
        for url in [
            "http://127.0.0.1:8001/t",
            "https://127.0.0.1:8000/t",
            "http://mirror/t",
        ] {
            assert_eq!(reach(hosts, url), None, "{url}");
        }
    }

    #[test]
    fn what_is_no_host_is_named() {
        for text in [
            "*",
            "*.",
            "*host",
            "host/path",
            "http://host/path",
            "ftp://host",
            "http://me@host",
            "ho st",
        ] {
            let error = text.parse::<Hosts>().unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn only_what_everybody_could_reach_is_public() {
        for addr in [
            "1.1.1.1",
            "100.63.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
        ] {
            assert!(Reach::Public.includes(addr.parse().unwrap()), "{addr}");
        }
        for addr in [
            "0.0.0.0",
            "10.0.0.7",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.7",
            "64:ff9b::a00:7",
            "fc00::1",
            "fe80::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:a00:7::1",
        ] {
            assert!(!Reach::Public.includes(addr.parse().unwrap()), "{addr}");
            assert!(Reach::Anywhere.includes(addr.parse().unwrap()), "{addr}");
        }
    }
}
