//! One TCP connection under the feature's full control: any bytes out, answers read one by one.
//!
//! It knows as much of RFC 9112 as reading needs: where a head ends and how long a body is. What it
//! reads must be framed flawlessly; a doubtful answer is an error, never a guess.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::chunked::Chunked;
use crate::claim::PATIENCE;
use crate::client::{Answer, Request};

/// An open connection and the bytes that have arrived on it unread.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    /// Connects to the daemon.
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, String> {
        let open = || {
            let socket = TcpStream::connect_timeout(&addr, PATIENCE)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.set_nodelay(true)?;
            Ok(Self {
                socket,
                received: Vec::new(),
            })
        };
        open().map_err(|error: std::io::Error| format!("connecting to {addr}: {error}"))
    }

    /// Writes these bytes, whatever they say.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.socket
            .write_all(bytes)
            .map_err(|error| format!("writing: {error}"))
    }

    /// Writes a well-formed request.
    pub(crate) fn write_request(&mut self, request: &Request) -> Result<(), String> {
        let mut message = format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\n",
            request.method, request.path
        );
        for (name, value) in &request.headers {
            message += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &request.body {
            message += &format!("Content-Length: {}\r\n", body.len());
        }
        message += "\r\n";
        message += request.body.as_deref().unwrap_or_default();
        self.write(message.as_bytes())
    }

    /// Reads the answer to a request of this method.
    pub(crate) fn read_answer(&mut self, method: &str) -> Result<Answer, String> {
        let mut answer = self.read_head()?;
        let bodiless =
            method == "HEAD" || answer.status < 200 || matches!(answer.status, 204 | 304);
        if !bodiless {
            answer.body = self.read_body(&answer)?;
        }
        Ok(answer)
    }

    /// Reads the head of an answer; its body stays unread.
    pub(crate) fn read_head(&mut self) -> Result<Answer, String> {
        let end = loop {
            if let Some(end) = self
                .received
                .windows(4)
                .position(|window| window == b"\r\n\r\n")
            {
                break end;
            }
            if !self.receive()? {
                return Err("the connection closed before an answer".to_owned());
            }
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        String::from_utf8(head)
            .map_err(|_| "a head is not text".to_owned())
            .and_then(|head| parse_head(&head))
    }

    /// Takes everything that has arrived unread, waiting for at least one byte. Empty: the peer closed.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>, String> {
        if self.received.is_empty() {
            self.receive()?;
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Takes everything that has arrived unread, without waiting for more.
    pub(crate) fn take_arrived(&mut self) -> Result<Vec<u8>, String> {
        self.socket
            .set_nonblocking(true)
            .map_err(|error| error.to_string())?;
        let emptied = loop {
            match self.read_once() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(unread(&error)),
            }
        };
        self.socket
            .set_nonblocking(false)
            .map_err(|error| error.to_string())?;
        emptied.map(|()| std::mem::take(&mut self.received))
    }

    /// Waits until the peer closes; bytes that come instead are an error.
    pub(crate) fn await_close(&mut self) -> Result<(), String> {
        match self.read_once() {
            Ok(false) if self.received.is_empty() => Ok(()),
            // A reset is a close too: the kernel sends one when the daemon leaves our bytes unread.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
            Ok(_) => Err(format!(
                "instead of a close came {}",
                String::from_utf8_lossy(&self.received)
            )),
            Err(error) => Err(unread(&error)),
        }
    }

    /// Reads the body that belongs to this head.
    pub(crate) fn read_body(&mut self, answer: &Answer) -> Result<Vec<u8>, String> {
        match (
            answer.header("transfer-encoding"),
            answer.header("content-length"),
        ) {
            (Some("chunked"), None) => self.read_chunked(),
            (None, Some(length)) => {
                let length = length
                    .parse()
                    .map_err(|_| format!("Content-Length is `{length}`"))?;
                self.read_exactly(length)
            }
            framing => Err(format!(
                "an answer must say how long it is, once: {framing:?}"
            )),
        }
    }

    fn read_chunked(&mut self) -> Result<Vec<u8>, String> {
        let (mut chunked, mut body) = (Chunked::default(), Vec::new());
        while !chunked.is_done() {
            let used = chunked.decode(&self.received, &mut body)?;
            self.received.drain(..used);
            if !chunked.is_done() && !self.receive()? {
                return Err("the connection closed inside a chunked body".to_owned());
            }
        }
        Ok(body)
    }

    fn read_exactly(&mut self, length: usize) -> Result<Vec<u8>, String> {
        while self.received.len() < length {
            if !self.receive()? {
                return Err(format!(
                    "the connection closed {} bytes into {length}",
                    self.received.len()
                ));
            }
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Waits for bytes; false when the peer has closed instead.
    fn receive(&mut self) -> Result<bool, String> {
        self.read_once().map_err(|error| unread(&error))
    }

    fn read_once(&mut self) -> std::io::Result<bool> {
        let mut room = [0; 16 * 1024];
        let read = self.socket.read(&mut room)?;
        self.received.extend_from_slice(&room[..read]);
        Ok(read > 0)
    }
}

fn unread(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            format!("nothing came for {} s", PATIENCE.as_secs())
        }
        _ => format!("reading: {error}"),
    }
}

fn parse_head(head: &str) -> Result<Answer, String> {
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|rest| rest.get(..3));
    let field = |line: &str| {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| format!("`{line}` is not a field"))?;
        Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
    };
    Ok(Answer {
        status: status
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| format!("no status line in {head}"))?,
        headers: lines.map(field).collect::<Result<_, String>>()?,
        body: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread::JoinHandle;

    use super::*;

    /// A server that sends `bytes`, `step` at a time, and closes.
    fn server(bytes: &'static [u8], step: usize) -> (SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let serve = move || {
            let (mut socket, _) = listener.accept().unwrap();
            socket.set_nodelay(true).unwrap();
            bytes
                .chunks(step)
                .for_each(|piece| socket.write_all(piece).unwrap());
        };
        (addr, std::thread::spawn(serve))
    }

    #[test]
    fn answers_are_told_apart_on_one_connection() {
        const ANSWERS: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n\
            HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nOnce\
            HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nupon\r\n0\r\n\r\n\
            HTTP/1.1 204 No Content\r\nX-Note: a time\r\n\r\n";
        for step in [1, 7, ANSWERS.len()] {
            let (addr, server) = server(ANSWERS, step);
            let mut connection = Connection::open(addr).unwrap();
            assert_eq!(connection.read_answer("POST").unwrap().status, 100);
            assert_eq!(connection.read_answer("POST").unwrap().text(), "Once");
            assert_eq!(connection.read_answer("HEAD").unwrap().text(), "");
            assert_eq!(connection.read_answer("GET").unwrap().text(), "upon");
            assert_eq!(
                connection.read_answer("POST").unwrap().header("x-note"),
                Some("a time")
            );
            connection.await_close().unwrap();
            server.join().unwrap();
        }
    }

    #[test]
    fn an_answer_that_is_cut_short_or_badly_framed_is_an_error() {
        for wrong in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nOnc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nOnce\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nOnce",
            "HTTP/1.1 200 OK\r\n\r\nOnce",
            "SMTP 220\r\n\r\n",
        ] {
            let (addr, server) = server(wrong.as_bytes(), 64);
            let answer = Connection::open(addr).unwrap().read_answer("GET");
            assert!(answer.is_err(), "{wrong:?} is an error");
            server.join().unwrap();
        }
    }
}
