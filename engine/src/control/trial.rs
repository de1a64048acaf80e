//! Trying a server out: one short generation, as a task would ask for it.
//!
//! A server may answer its health probe and still not have the model that it is asked for. Before a
//! pool is given another model, each of its servers has to generate with it.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use orchestratord_gpu::{
    Event, Generation, Input, Sampling,
    exchange::{self, Exchange, Target},
};
use orchestratord_http::client;
use rustls::{ClientConnection, StreamOwned};

use crate::{
    roots,
    settings::{key::EngineKey, link::LinkSettings},
    shared::{replica::Remote, snapshot::Pool},
};

/// How long it may be silent, or take nothing: it may have to load the model first.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 16 * 1024;

/// Has the server generate a token of its model.
///
/// # Errors
///
/// Why it did not, in words that name no address.
pub fn generate(pool: &Pool, remote: &Remote, link: &LinkSettings) -> Result<(), String> {
    let key = pool.settings.key.as_ref().map(EngineKey::read);
    let target = Target {
        kind: pool.kind,
        host: &remote.endpoint.host,
        base_path: &remote.endpoint.base_path,
        model: &remote.model,
        key: key.as_ref().map(|key| key.as_str()),
    };
    let connection = client::Connection::new(exchange::LIMITS);
    let mut request = Vec::new();
    let exchange = Exchange::begin(connection, &target, &generation(), &mut request);
    let exchange = exchange.map_err(|fault| fault.to_string())?;
    let peer = &remote.endpoint.peer;
    let socket = connect(peer.addr, link.connect).map_err(failed)?;
    let Some(name) = &peer.tls else {
        return converse(socket, &request, exchange);
    };
    let tls = ClientConnection::new(link.roots.client(), name.clone());
    let tls = tls.map_err(|error| failed(io::Error::other(error)))?;
    converse(StreamOwned::new(tls, socket), &request, exchange)
}

fn connect(addr: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let socket = TcpStream::connect_timeout(&addr, limit)?;
    socket.set_read_timeout(Some(SILENCE_TIMEOUT))?;
    socket.set_write_timeout(Some(SILENCE_TIMEOUT))?;
    Ok(socket)
}

fn failed(error: io::Error) -> String {
    format!("it does not generate: {}", roots::why(&error))
}

fn converse(
    mut stream: impl Read + Write,
    request: &[u8],
    mut exchange: Exchange,
) -> Result<(), String> {
    stream.write_all(request).map_err(failed)?;
    let mut verdict = Err("it does not generate".to_owned());
    let mut hear = |event| match event {
        Event::Fault(fault) => verdict = Err(fault.to_string()),
        Event::End { .. } => verdict = Ok(()),
        Event::Started { .. } | Event::Token { .. } => {}
    };
    let mut buffer = vec![0; READ_BYTES];
    while !exchange.is_finished() {
        match stream.read(&mut buffer).map_err(failed)? {
            0 => {
                exchange.receive_end(&mut hear);
                break;
            }
            count => exchange.receive(&buffer[..count], &mut hear),
        }
    }
    verdict
}

fn generation() -> Generation {
    Generation {
        input: Input::Prompt("Hello".to_owned()),
        max_tokens: 1,
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
        },
        stop: Vec::new(),
        session: None,
        reuse: false,
        traceparent: None,
    }
}
