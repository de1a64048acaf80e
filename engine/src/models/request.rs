//! One request to the world: every hop of it allowed, every address of every hop.
//!
//! Redirects are followed by hand, because each of them may lead anywhere: a hop is asked only if the
//! operator names its host, and the address that was judged is the one that is connected to. The hub's
//! token goes to the hub and to nobody that the hub redirects to.

use std::{fmt, io, time::Duration};

use http::{Uri, header};
use ureq::{
    Agent, Body,
    config::Config,
    http::Response,
    tls::TlsConfig,
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{DefaultConnector, NextTimeout},
    },
};

use super::{
    error::FetchError,
    hosts::{Hosts, Origin, Reach},
};
use crate::{digest::Digest, roots};

/// Redirects that are followed: mirrors have one, the hub has one or two.
const HOPS_MAX: usize = 5;
/// How long it may take until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the head of an answer may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long it may be silent within an answer.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(30);
/// What the hub says of a large file before it redirects: what it hashes to.
const LINKED_ETAG: &str = "x-linked-etag";

/// Who asks, and how far it may go.
#[derive(Clone)]
pub struct Client {
    /// Who may be asked.
    pub hosts: Hosts,
    /// Who is the hub.
    pub hub: Origin,
    /// What shows the hub who asks.
    pub hub_token: Option<String>,
    /// Who vouches for those who are asked.
    pub tls: TlsConfig,
}

/// Who has answered, and what.
pub struct Answer {
    /// Its head, and its body to be read.
    pub response: Response<Body>,
    /// Who has answered in the end.
    pub host: String,
    /// What the file hashes to, if the hub has said so on the way.
    pub linked: Option<Digest>,
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub enum Trouble {
    /// Another try may help.
    Lost {
        /// Who was asked.
        host: String,
        /// What went wrong.
        cause: String,
    },
    /// None will.
    Final(FetchError),
}

impl Trouble {
    /// An answer that brings nothing. Servers that fail may not fail again (RFC 9110, section 15.6), and
    /// who asks too often may ask later (RFC 6585, section 4).
    pub fn of_status(host: String, status: u16) -> Self {
        match status {
            408 | 429 | 500..=599 => Self::Lost {
                host,
                cause: format!("it answers {status}"),
            },
            _ => FetchError::Refused { host, status }.into(),
        }
    }
}

impl<E: Into<FetchError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

impl Client {
    /// How far the URL may reach.
    ///
    /// # Errors
    ///
    /// When its host may not be asked.
    pub fn allow(&self, url: &Uri) -> Result<Reach, FetchError> {
        self.hosts
            .reach(url)
            .ok_or_else(|| FetchError::NotAllowed { host: host(url) })
    }

    /// Asks for what is there, with these fields, wherever it sends us.
    ///
    /// # Errors
    ///
    /// Why nobody answers; an answer that says no is an answer.
    pub fn get(&self, url: &Uri, fields: &[(&str, String)]) -> Result<Answer, Trouble> {
        let (mut url, mut linked) = (url.clone(), None);
        for _ in 0..=HOPS_MAX {
            let response = self.ask(&url, fields)?;
            let is_hub = self.is_hub(&url);
            linked = linked.or_else(|| linked_digest(&response).filter(|_| is_hub));
            let Some(target) = target(&url, &response) else {
                return Ok(Answer {
                    response,
                    host: host(&url),
                    linked,
                });
            };
            url = target.map_err(|()| FetchError::Redirects { host: host(&url) })?;
        }
        Err(FetchError::Redirects { host: host(&url) }.into())
    }

    fn ask(&self, url: &Uri, fields: &[(&str, String)]) -> Result<Response<Body>, Trouble> {
        let agent = self.agent(self.allow(url)?);
        // What is compressed on the way has other ranges and another length.
        let mut request = agent.get(url).header(header::ACCEPT_ENCODING, "identity");
        for (name, value) in fields {
            request = request.header(*name, value);
        }
        if let Some(token) = self.hub_token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| trouble(url, error))
    }

    fn agent(&self, reach: Reach) -> Agent {
        let config = Agent::config_builder()
            .tls_config(self.tls.clone())
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(HEAD_TIMEOUT))
            .timeout_per_read(Some(SILENCE_TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        let resolver = Judge {
            reach,
            resolver: DefaultResolver::default(),
        };
        Agent::with_parts(config, DefaultConnector::default(), resolver)
    }

    fn is_hub(&self, url: &Uri) -> bool {
        Origin::of(url).is_some_and(|origin| origin == self.hub)
    }
}

/// As an operator would name it.
pub fn host(url: &Uri) -> String {
    Origin::of(url).map_or_else(String::new, |origin| origin.to_string())
}

fn trouble(url: &Uri, error: ureq::Error) -> Trouble {
    let host = host(url);
    // A certificate that is not believed now is not believed in a second.
    let is_final = match &error {
        ureq::Error::Rustls(_) => true,
        ureq::Error::Io(error) => error
            .get_ref()
            .is_some_and(|error| error.is::<rustls::Error>()),
        _ => false,
    };
    let cause = match error {
        ureq::Error::Other(error) if error.is::<NotPublic>() => {
            return FetchError::NotPublic { host }.into();
        }
        ureq::Error::Io(error) => roots::why(&error),
        ureq::Error::Rustls(error) => roots::why_no_tls(&error).to_owned(),
        ureq::Error::Timeout(_) => "it does not answer in time".to_owned(),
        ureq::Error::HostNotFound => "there is no such host".to_owned(),
        ureq::Error::ConnectionFailed => "it can't be reached".to_owned(),
        _ => "it does not answer as HTTP servers do".to_owned(),
    };
    if is_final {
        return FetchError::Unreachable { host, cause }.into();
    }
    Trouble::Lost { host, cause }
}

/// It stands between quotes, as entity tags do (RFC 9110, section 8.8.3).
fn linked_digest(response: &Response<Body>) -> Option<Digest> {
    let tag = response.headers().get(LINKED_ETAG)?.to_str().ok()?;
    Digest::of_hex(tag.strip_prefix('"')?.strip_suffix('"')?).ok()
}

/// Where the answer sends us (RFC 9110, section 15.4); `None` if it does not.
fn target(url: &Uri, response: &Response<Body>) -> Option<Result<Uri, ()>> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response.headers().get(header::LOCATION);
    let location = location.and_then(|location| location.to_str().ok());
    Some(location.and_then(|location| join(url, location)).ok_or(()))
}

/// A reference to a URL, read from where it stands (RFC 3986, section 5.2, without its dots).
fn join(base: &Uri, reference: &str) -> Option<Uri> {
    let reference = reference.split('#').next()?;
    let (scheme, authority) = (base.scheme_str()?, base.authority()?);
    let joined = if reference.contains("://") {
        reference.to_owned()
    } else if reference.starts_with("//") {
        format!("{scheme}:{reference}")
    } else if reference.starts_with('/') {
        format!("{scheme}://{authority}{reference}")
    } else {
        let (folder, _) = base.path().rsplit_once('/')?;
        format!("{scheme}://{authority}{folder}/{reference}")
    };
    let url: Uri = joined.parse().ok()?;
    let has_user = url.authority()?.as_str().contains('@');
    (!has_user).then_some(url)
}

/// Looks a host up, and lets through only addresses that may be reached.
struct Judge {
    reach: Reach,
    resolver: DefaultResolver,
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Judge").field(&self.reach).finish()
    }
}

impl Resolver for Judge {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addrs = self.resolver.resolve(uri, config, timeout)?;
        // One that may not be reached is enough: an honest host has no such address.
        if addrs.iter().all(|addr| self.reach.includes(addr.ip())) {
            return Ok(addrs);
        }
        Err(ureq::Error::Other(Box::new(NotPublic)))
    }
}

#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the address is not public")
    }
}

impl std::error::Error for NotPublic {}

/// What went wrong while a body was read.
pub fn broken(host: &str, error: &io::Error) -> Trouble {
    let cause = match error.kind() {
        io::ErrorKind::TimedOut => "it has fallen silent".to_owned(),
        io::ErrorKind::Other => "its answer breaks off".to_owned(),
        kind => kind.to_string(),
    };
    Trouble::Lost {
        host: host.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_from_where_it_stands() {
        let base: Uri = "https://host.example/org/repo/tale?x=1".parse().unwrap();
        for (location, expected) in [
            (
                "https://cdn.example/t?s=1",
                Some("https://cdn.example/t?s=1"),
            ),
            ("//cdn.example/t", Some("https://cdn.example/t")),
            (
                "/elsewhere/t#part",
                Some("https://host.example/elsewhere/t"),
            ),
            ("fable", Some("https://host.example/org/repo/fable")),
            ("https://me:secret@cdn.example/t", None),
            ("https://", None),
        ] {
            let expected = expected.map(|url| url.parse::<Uri>().unwrap());
            assert_eq!(join(&base, location), expected, "{location}");
        }
    }

    #[test]
    fn a_host_in_the_network_is_not_asked_unless_vouched_for() {
        let client = |hosts: &str| Client {
            hosts: hosts.parse().unwrap(),
            hub: Origin::of(&"https://hub.example".parse().unwrap()).unwrap(),
            hub_token: None,
            tls: TlsConfig::builder().build(),
        };
        let url: Uri = "https://127.0.0.1/tale".parse().unwrap();
        let asked = client("127.0.0.1").get(&url, &[]);
        assert!(matches!(
            asked.err(),
            Some(Trouble::Final(FetchError::NotPublic { .. }))
        ));
        let asked = client("").get(&url, &[]);
        assert!(matches!(
            asked.err(),
            Some(Trouble::Final(FetchError::NotAllowed { .. }))
        ));
    }
}
