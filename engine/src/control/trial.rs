//! Trying a server out: one short generation, as a task would ask for it.
//!
//! A server may answer its health probe and still not have the model that it is asked for. Before a
//! pool is given another model, each of its servers has to generate with it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use orchestratord_gpu::{
    EngineKind, Event, Generation, Input, Sampling,
    exchange::{self, Exchange, Target},
};
use orchestratord_http::client;

use crate::shared::replica::Remote;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long it may be silent: it may have to load the model first.
const READ_TIMEOUT: Duration = Duration::from_secs(120);
const READ_BYTES: usize = 16 * 1024;

/// Has the server generate a token of its model.
///
/// # Errors
///
/// Why it did not, in words that name no address.
pub fn generate(kind: EngineKind, remote: &Remote) -> Result<(), String> {
    let target = Target {
        kind,
        host: &remote.endpoint.host,
        base_path: &remote.endpoint.base_path,
        model: &remote.model,
        key: None,
    };
    let connection = client::Connection::new(exchange::LIMITS);
    let mut request = Vec::new();
    let exchange = Exchange::begin(connection, &target, &generation(), &mut request);
    let exchange = exchange.map_err(|fault| fault.to_string())?;
    converse(remote, &request, exchange)
}

fn converse(remote: &Remote, request: &[u8], mut exchange: Exchange) -> Result<(), String> {
    let cut = |error: std::io::Error| format!("it does not generate: {}", error.kind());
    let addr = &remote.endpoint.addr;
    let mut stream = TcpStream::connect_timeout(addr, CONNECT_TIMEOUT).map_err(cut)?;
    stream.set_read_timeout(Some(READ_TIMEOUT)).map_err(cut)?;
    stream.write_all(request).map_err(cut)?;
    let mut verdict = Err("it does not generate".to_owned());
    let mut hear = |event| match event {
        Event::Fault(fault) => verdict = Err(fault.to_string()),
        Event::End { .. } => verdict = Ok(()),
        Event::Started { .. } | Event::Token { .. } => {}
    };
    let mut buffer = vec![0; READ_BYTES];
    while !exchange.is_over() {
        match stream.read(&mut buffer).map_err(cut)? {
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
