//! A server of files on this machine, as a mirror or the model hub would be: it sends on, sends the rest of
//! a file, breaks off, holds back, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// The end of each head: a connection is for one request.
const END: &str = "connection: close\r\n\r\n";
/// What stands for the bytes of every file.
const ETAG: &str = "\"as-it-is\"";

/// What stands at a path.
#[derive(Clone, Debug)]
pub(crate) enum Page {
    /// A file.
    File(Vec<u8>),
    /// The way to elsewhere, and what the file there hashes to, as the hub tells it.
    Elsewhere { url: String, digest: String },
}

/// What happens in the midst of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mishap {
    /// It breaks off.
    BreaksOff,
    /// It is held back until the mirror goes on.
    IsHeldBack,
}

/// A server that listens until it is dropped.
#[derive(Debug)]
pub(crate) struct Mirror {
    addr: SocketAddr,
    scheme: &'static str,
    shelf: Arc<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    state: Mutex<State>,
    goes_on: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<String, Page>,
    /// What happens to the next file that is sent, after so many bytes.
    mishap: Option<(Mishap, usize)>,
    /// Nothing is held back any more.
    goes_on: bool,
    /// Nobody is served any more.
    is_over: bool,
    /// The head of each request.
    heard: Vec<String>,
}

impl Shelf {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// An empty one; it speaks TLS if it is told how.
    pub(crate) fn start(tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (addr, shelf) = (listener.local_addr()?, Arc::new(Shelf::default()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let served = Arc::clone(&shelf);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if served.state().is_over {
                    return;
                }
                let (shelf, tls) = (Arc::clone(&served), tls.clone());
                // A client that goes away is no fault of ours.
                thread::spawn(move || serve(socket, tls, &shelf));
            }
        });
        Ok(Self {
            addr,
            scheme,
            shelf,
        })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Puts something at a path.
    pub(crate) fn put(&self, path: &str, page: Page) {
        self.shelf.state().pages.insert(path.to_owned(), page);
    }

    /// Something happens to the next file that it sends, after so many bytes.
    pub(crate) fn befall(&self, mishap: Mishap, bytes: usize) {
        self.shelf.state().mishap = Some((mishap, bytes));
    }

    /// What was held back is sent.
    pub(crate) fn go_on(&self) {
        self.shelf.state().goes_on = true;
        self.shelf.goes_on.notify_all();
    }

    /// The heads of the requests so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.shelf.state().heard.clone()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.shelf.state().is_over = true;
        self.go_on();
        // So that it looks up from waiting.
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(socket: TcpStream, tls: Option<Arc<ServerConfig>>, shelf: &Shelf) -> io::Result<()> {
    let Some(tls) = tls else {
        return answer(socket, shelf);
    };
    let connection = ServerConnection::new(tls).map_err(io::Error::other)?;
    answer(StreamOwned::new(connection, socket), shelf)
}

fn answer(mut socket: impl Read + Write, shelf: &Shelf) -> io::Result<()> {
    let head = read_head(&mut socket)?;
    let target = head.split(' ').nth(1).unwrap_or_default();
    let page = {
        let mut state = shelf.state();
        state.heard.push(head.clone());
        state.pages.get(target).cloned()
    };
    match page {
        None => write!(
            socket,
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{END}"
        )?,
        Some(Page::Elsewhere { url, digest }) => write!(
            socket,
            "HTTP/1.1 302 Found\r\nlocation: {url}\r\nx-linked-etag: \"{digest}\"\r\n\
             content-length: 0\r\n{END}"
        )?,
        Some(Page::File(bytes)) => {
            let first = first_byte(&head).filter(|first| *first < bytes.len());
            let (rest, total) = (&bytes[first.unwrap_or(0)..], bytes.len());
            match first {
                None => write!(socket, "HTTP/1.1 200 OK\r\n")?,
                Some(first) => write!(
                    socket,
                    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {first}-{}/{total}\r\n",
                    total - 1
                )?,
            }
            let length = rest.len();
            write!(socket, "etag: {ETAG}\r\ncontent-length: {length}\r\n{END}")?;
            send(&mut socket, rest, shelf)?;
        }
    }
    socket.flush()
}

fn send(socket: &mut impl Write, bytes: &[u8], shelf: &Shelf) -> io::Result<()> {
    let mishap = shelf.state().mishap.take();
    let Some((mishap, after)) = mishap else {
        return socket.write_all(bytes);
    };
    let (before, rest) = bytes.split_at(after.min(bytes.len()));
    socket.write_all(before)?;
    socket.flush()?;
    match mishap {
        Mishap::BreaksOff => Ok(()),
        Mishap::IsHeldBack => {
            let waits = |state: &mut State| !state.goes_on;
            drop(shelf.goes_on.wait_while(shelf.state(), waits));
            socket.write_all(rest)
        }
    }
}

fn read_head(socket: &mut impl Read) -> io::Result<String> {
    let mut head = String::new();
    for line in BufReader::new(socket).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        head.push_str(&line.to_lowercase());
        head.push('\n');
    }
    Ok(head)
}

/// Of a request for the rest of this very file.
fn first_byte(head: &str) -> Option<usize> {
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    let is_same = field("if-range: ").is_none_or(|etag| etag == ETAG);
    let first = field("range: bytes=")?.strip_suffix('-')?;
    first.parse().ok().filter(|_| is_same)
}
