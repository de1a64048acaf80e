//! One connection on which anything may be said. What comes back is read by a stranger, `httparse`.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use httparse::Status;
use orchestratord_bench::Failure;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// Longer than a daemon that is asked takes to answer.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// More than any answer has.
const FIELDS_MAX: usize = 32;

/// A connection.
pub(crate) struct Wire {
    stream: TcpStream,
    /// What came and was not read yet.
    came: Vec<u8>,
}

/// One answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The first value of a field, whatever the case of its name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// What the body says, if it is JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

impl Wire {
    /// Connects.
    pub(crate) fn open(addr: SocketAddr) -> Result<Self, Failure> {
        Self::prepare(TcpStream::connect(addr))
    }

    /// Connects from this address.
    pub(crate) fn open_from(source: IpAddr, addr: SocketAddr) -> Result<Self, Failure> {
        Self::prepare(connect_from(source, addr))
    }

    fn prepare(stream: io::Result<TcpStream>) -> Result<Self, Failure> {
        let stream = stream.and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE_MAX))?;
            stream.set_write_timeout(Some(SILENCE_MAX))?;
            Ok(stream)
        });
        Ok(Self {
            stream: stream.map_err(|error| Failure::new("connecting", error))?,
            came: Vec::new(),
        })
    }

    /// Sends these bytes. False, if the other side has hung up.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// The same; an answer to HEAD has no body, whatever it says.
    pub(crate) fn ask_for(&mut self, method: &str, request: &[u8]) -> Result<Answer, Failure> {
        if method != "HEAD" {
            return self.ask(request);
        }
        self.send(request);
        let head = self.head()?;
        head.ok_or_else(|| Failure("the daemon hung up instead of an answer".to_owned()))
    }

    /// Sends a request and reads its answer.
    pub(crate) fn ask(&mut self, request: &[u8]) -> Result<Answer, Failure> {
        self.send(request);
        let answer = self.answer()?;
        answer.ok_or_else(|| Failure("the daemon hung up instead of an answer".to_owned()))
    }

    /// The next answer, or nothing, when the other side has hung up. Those that only say to go on are passed over.
    pub(crate) fn answer(&mut self) -> Result<Option<Answer>, Failure> {
        loop {
            match self.head()? {
                None if self.came.is_empty() => return Ok(None),
                None => return Err(Failure("an answer was cut off".to_owned())),
                Some(head) if head.status < 200 => {}
                Some(head) => return self.body(head).map(Some),
            }
        }
    }

    fn head(&mut self) -> Result<Option<Answer>, Failure> {
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
            let mut head = httparse::Response::new(&mut fields);
            let parsed = head.parse(&self.came);
            match parsed.map_err(|error| Failure::new("reading an answer's head", error))? {
                Status::Complete(len) => {
                    let fields = head.headers.iter();
                    let fields = fields.map(|field| (field.name.to_owned(), field.value.to_vec()));
                    let head = Answer {
                        status: head.code.unwrap_or_default(),
                        fields: fields.collect(),
                        body: Vec::new(),
                    };
                    self.came.drain(..len);
                    return Ok(Some(head));
                }
                Status::Partial if self.receive()? => {}
                Status::Partial => return Ok(None),
            }
        }
    }

    fn body(&mut self, mut answer: Answer) -> Result<Answer, Failure> {
        if answer.field("transfer-encoding").is_some() {
            answer.body = self.chunks()?;
        } else if !matches!(answer.status, 204 | 304) {
            let length = answer.field("content-length");
            let length = length.and_then(|length| length.parse().ok());
            let length = length.ok_or_else(|| Failure("an answer has no length".to_owned()))?;
            answer.body = self.take(length)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        loop {
            let parsed = httparse::parse_chunk_size(&self.came);
            match parsed.map_err(|_| Failure("an answer's chunk has no size".to_owned()))? {
                Status::Partial => self.receive_more()?,
                Status::Complete((line, 0)) => {
                    self.take(line + 2)?;
                    return Ok(body);
                }
                Status::Complete((line, size)) => {
                    self.take(line)?;
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    body.extend(self.take(size)?);
                    self.take(2)?;
                }
            }
        }
    }

    fn take(&mut self, len: usize) -> Result<Vec<u8>, Failure> {
        while self.came.len() < len {
            self.receive_more()?;
        }
        Ok(self.came.drain(..len).collect())
    }

    fn receive_more(&mut self) -> Result<(), Failure> {
        match self.receive()? {
            true => Ok(()),
            false => Err(Failure("an answer was cut off".to_owned())),
        }
    }

    /// All that comes until the other side hangs up.
    pub(crate) fn rest(&mut self) -> Result<Vec<u8>, Failure> {
        while self.receive()? {}
        Ok(std::mem::take(&mut self.came))
    }

    /// Waits for bytes. False, when there will be none any more.
    pub(crate) fn receive(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => Ok(false),
            Ok(count) => {
                self.came.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            // Whoever is sent more than they read may reset the connection instead.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(Failure::new("waiting for an answer", error)),
        }
    }

    /// The next bytes that came, at least so many of them.
    pub(crate) fn bytes(&mut self, len: usize) -> Result<Option<Vec<u8>>, Failure> {
        while self.came.len() < len {
            if !self.receive()? {
                return Ok(None);
            }
        }
        Ok(Some(self.came.drain(..len).collect()))
    }
}

fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect(&addr.into())?;
    Ok(socket.into())
}
