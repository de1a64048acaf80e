//! What is missing of a file, asked for and told (RFC 9110, sections 13.1.5 and 14).

use http::{HeaderMap, header};

/// What of a file is on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Had<'a> {
    /// So many bytes from its beginning.
    pub bytes: u64,
    /// The strong entity tag of the file that they are of.
    pub etag: Option<&'a str>,
    /// Whether it is known what the whole file hashes to: then bytes of another are found out.
    pub is_checked: bool,
}

/// What an answer brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// The file from its beginning.
    Whole {
        /// Its length, if it is told.
        bytes_total: Option<u64>,
    },
    /// What was missing.
    Rest {
        /// The length of the whole, if it is told.
        bytes_total: Option<u64>,
    },
    /// Nothing that fits what is on the disk, which is to be thrown away.
    Misfit,
    /// No file: the answer's status says why.
    Nothing,
}

impl Had<'_> {
    /// Whether what is missing can be asked for: what comes belongs to what is there, or the digest
    /// tells.
    pub fn is_of_use(&self) -> bool {
        self.bytes > 0 && (self.etag.is_some() || self.is_checked)
    }

    /// The fields that ask for what is missing; none if all of it is.
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        if !self.is_of_use() {
            return Vec::new();
        }
        let range = ("range", format!("bytes={}-", self.bytes));
        let of_file = self.etag.map(|etag| ("if-range", etag.to_owned()));
        [Some(range), of_file].into_iter().flatten().collect()
    }

    /// What an answer to these fields brings.
    pub fn judge(&self, status: u16, head: &HeaderMap) -> Brought {
        match status {
            200 => Brought::Whole {
                bytes_total: text(head, header::CONTENT_LENGTH).and_then(number),
            },
            206 => match text(head, header::CONTENT_RANGE).and_then(content_range) {
                Some((first, bytes_total)) if self.is_of_use() && first == self.bytes => {
                    Brought::Rest { bytes_total }
                }
                _ => Brought::Misfit,
            },
            416 if self.is_of_use() => Brought::Misfit,
            _ => Brought::Nothing,
        }
    }
}

/// The entity tag, if it is strong: only such a one stands for the very bytes.
pub fn strong_etag(head: &HeaderMap) -> Option<String> {
    let etag = text(head, header::ETAG)?;
    let is_strong = etag.len() >= 2 && etag.starts_with('"') && etag.ends_with('"');
    is_strong.then(|| etag.to_owned())
}

fn text(head: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    head.get(name)?.to_str().ok()
}

/// The first byte and the length of the whole, of `bytes 5-9/10`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let bytes_total = match total {
        "*" => None,
        total => Some(number(total)?),
    };
    let is_whole = bytes_total.is_none_or(|total| last.checked_add(1) == Some(total));
    (first <= last && is_whole).then_some((first, bytes_total))
}

fn number(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAD: Had<'_> = Had {
        bytes: 5,
        etag: Some("\"v1\""),
        is_checked: false,
    };

    fn head(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    fn rest(content_range: &str) -> Brought {
        HAD.judge(206, &head(header::CONTENT_RANGE, content_range))
    }

    #[test]
    fn what_is_missing_is_asked_for_if_it_is_of_the_same_file() {
        let of_same = [
            ("range", "bytes=5-".to_owned()),
            ("if-range", "\"v1\"".to_owned()),
        ];
        assert_eq!(HAD.fields(), of_same);
        let checked = Had {
            etag: None,
            is_checked: true,
            ..HAD
        };
        assert_eq!(checked.fields(), of_same[..1]);
        let unknown = Had { etag: None, ..HAD };
        assert_eq!(unknown.fields(), []);
        assert_eq!(Had { bytes: 0, ..HAD }.fields(), []);
    }

    #[test]
    fn a_rest_begins_where_the_disk_ends_and_goes_to_the_end() {
        let bytes_total = Some(10);
        assert_eq!(rest("bytes 5-9/10"), Brought::Rest { bytes_total });
        let bytes_total = None;
        assert_eq!(rest("bytes 5-9/*"), Brought::Rest { bytes_total });
        for misfit in [
            "bytes 4-9/10",
            "bytes 6-9/10",
            "bytes 5-8/10",
            "bytes 5-4/5",
            "bytes */10",
            "bytes +5-9/10",
            "items 5-9/10",
            "",
        ] {
            assert_eq!(rest(misfit), Brought::Misfit, "{misfit}");
        }
        assert_eq!(HAD.judge(416, &HeaderMap::new()), Brought::Misfit);
    }

    #[test]
    fn a_file_that_has_changed_comes_whole() {
        let whole = head(header::CONTENT_LENGTH, "10");
        let bytes_total = Some(10);
        assert_eq!(HAD.judge(200, &whole), Brought::Whole { bytes_total });
        assert_eq!(HAD.judge(404, &whole), Brought::Nothing);
    }

    #[test]
    fn only_a_strong_tag_stands_for_the_bytes() {
        let etag = |value: &str| strong_etag(&head(header::ETAG, value));
        assert_eq!(etag("\"v1\""), Some("\"v1\"".to_owned()));
        assert_eq!(etag("W/\"v1\""), None);
        assert_eq!(etag("v1"), None);
    }
}
