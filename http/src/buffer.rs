//! Received bytes that nobody has taken yet.
//!
//! A line may come a byte at a time, and looking for its end from its start each time would let a
//! peer buy quadratic work with linear traffic. So the buffer remembers how far it has searched,
//! and moves bytes to its front only when at least as many have been taken: every byte is searched
//! once and moved a bounded number of times.

use crate::error::Refusal;
use memchr::memchr2;

/// What an empty buffer keeps between messages: most heads fit, and an idle connection costs no
/// more than this however much it once carried.
const KEPT_MAX: usize = 4 * 1024;

/// A queue of bytes with one question of its own: where does the next line end?
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Everything before it has been taken.
    start: usize,
    /// This many bytes from `start` on hold no line end; at most `len()`.
    searched: usize,
}

impl Buffer {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.start >= self.len() {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of the `wanted` bytes are here.
    pub(crate) fn available(&self, wanted: u64) -> usize {
        usize::try_from(wanted).map_or(self.len(), |wanted| wanted.min(self.len()))
    }

    /// Takes `count` bytes, which must be here.
    pub(crate) fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start += count;
        self.searched = 0;
        &self.bytes[start..self.start]
    }

    /// Gives back the memory that only a large message needed. While bytes wait it keeps all, or a
    /// peer who sends many small messages ahead would have them moved after each.
    pub(crate) fn release(&mut self) {
        if self.is_empty() && self.bytes.capacity() > KEPT_MAX {
            *self = Self::default();
        }
    }

    /// Takes the next line if it is complete and gives it without its CRLF.
    ///
    /// Only CRLF ends a line. RFC 9112 §2.2 lets a recipient take a bare LF too, and reading a bare
    /// CR as one was common; each pair of programs that disagree here has been used to smuggle a
    /// request past one of them. The answer depends on the first `max` bytes and the two after
    /// them alone, so it is the same however the bytes were split on their way. Until the line is
    /// taken, `max` stays the same.
    ///
    /// # Errors
    ///
    /// `too_long` when the line has more than `max` bytes; 400 for a bare CR or LF.
    pub(crate) fn take_line(
        &mut self,
        max: usize,
        too_long: Refusal,
    ) -> Result<Option<&[u8]>, Refusal> {
        let window_max = max.saturating_add(2);
        let window = &self.bytes[self.start..];
        let window = &window[..window.len().min(window_max)];
        debug_assert!(self.searched <= window.len());
        let found = memchr2(b'\r', b'\n', &window[self.searched..]);
        self.searched = found.map_or(window.len(), |found| self.searched + found);

        let line_len = self.searched;
        match window[line_len..] {
            [b'\r', b'\n', ..] => {
                let line = &self.take(line_len + 2)[..line_len];
                Ok(Some(line))
            }
            [b'\n', ..] => Err(BARE_LF),
            [b'\r', _, ..] => Err(BARE_CR),
            _ if window.len() == window_max => Err(too_long),
            _ => Ok(None),
        }
    }
}

const BARE_LF: Refusal = Refusal::malformed("A line ends in LF alone; lines end in CRLF.");
const BARE_CR: Refusal = Refusal::malformed("A CR stands without the LF that must follow it.");

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_LONG: Refusal = Refusal::malformed("too long");

    #[test]
    fn a_line_that_comes_byte_by_byte_is_searched_once() {
        let mut buffer = Buffer::default();
        for length in 1..=1000 {
            buffer.push(b"x");
            assert_eq!(buffer.take_line(1000, TOO_LONG), Ok(None));
            assert_eq!(buffer.searched, length);
        }
        buffer.push(b"\r\nnext");
        assert_eq!(
            buffer.take_line(1000, TOO_LONG).unwrap().unwrap().len(),
            1000
        );
        assert_eq!(buffer.take(4), b"next");
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_allowed() {
        let mut buffer = Buffer::default();
        buffer.push(b"four\r\nfives\r\n");
        assert_eq!(buffer.take_line(4, TOO_LONG), Ok(Some(&b"four"[..])));
        assert_eq!(buffer.take_line(4, TOO_LONG), Err(TOO_LONG));
    }

    #[test]
    fn an_idle_buffer_forgets_that_it_was_large() {
        let mut buffer = Buffer::default();
        buffer.push(&[b'x'; 100_000]);
        buffer.take(99_999);
        buffer.release();
        assert_eq!(buffer.take(1), b"x", "what waits is kept");
        buffer.release();
        assert!(buffer.bytes.capacity() <= KEPT_MAX);
    }

    #[test]
    fn taken_bytes_are_not_kept() {
        let mut buffer = Buffer::default();
        for _ in 0..1000 {
            buffer.push(&[b'x'; 100]);
            buffer.take(100);
        }
        assert!(buffer.is_empty());
        assert!(buffer.bytes.capacity() < 1000);
    }
}
