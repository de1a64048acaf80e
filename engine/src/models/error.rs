//! Why a model's file is not here, for whoever asked for it: what happened and what to do.

use std::{fmt, io};

use super::reference::BadReference;
use crate::digest::Digest;

/// Why a model's file is not here. Its sentences name hosts and no paths of this machine.
#[derive(Debug)]
pub enum FetchError {
    /// The reference is none.
    Reference(BadReference),
    /// The operator allows no download from there.
    NotAllowed {
        /// The host, with scheme and port where they are not the usual ones.
        host: String,
    },
    /// The host is at an address that only this machine's network can reach.
    NotPublic {
        /// The host.
        host: String,
    },
    /// The host could not be asked, however often it was tried.
    Unreachable {
        /// The host.
        host: String,
        /// What went wrong last.
        cause: String,
    },
    /// The host answers that there is no such file, or not for us.
    Refused {
        /// The host.
        host: String,
        /// How it answers.
        status: u16,
    },
    /// The host sends on and on, or nowhere.
    Redirects {
        /// The host.
        host: String,
    },
    /// The repository has no file that is a model.
    NoModel,
    /// The repository has several.
    Choose {
        /// Them.
        files: Vec<String>,
    },
    /// It is larger than may be.
    TooLarge {
        /// What may be.
        bytes_max: u64,
    },
    /// The disk has too little room.
    NoRoom {
        /// What is missing of it.
        bytes: u64,
        /// What is free.
        bytes_free: u64,
    },
    /// It is not what it should be.
    Mismatch {
        /// What it should hash to.
        expected: Digest,
        /// What it hashes to.
        found: Digest,
    },
    /// The disk failed.
    Disk(io::Error),
    /// Nobody wants it any more.
    Unwanted,
}

impl From<io::Error> for FetchError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl From<BadReference> for FetchError {
    fn from(bad: BadReference) -> Self {
        Self::Reference(bad)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference(bad) => bad.fmt(f),
            Self::NotAllowed { host } => write!(
                f,
                "nothing may be downloaded from {host}; `model_hosts` (--model-hosts) names the hosts \
                 that may be asked"
            ),
            Self::NotPublic { host } => write!(
                f,
                "{host} is not at a public address; name it with its scheme in `model_hosts`, as \
                 https://{host}, if it is yours"
            ),
            Self::Unreachable { host, cause } => write!(f, "{host} can't be asked: {cause}"),
            Self::Refused {
                host,
                status: status @ (401 | 403),
            } => write!(
                f,
                "{host} answers {status}: the file is not for everybody; a token for the hub is \
                 taken from HF_TOKEN"
            ),
            Self::Refused { host, status } => {
                write!(
                    f,
                    "{host} answers {status}; compare the reference with what is there"
                )
            }
            Self::Redirects { host } => write!(f, "{host} sends on and on, or nowhere"),
            Self::NoModel => f.write_str("the repository has no GGUF file; name a file of it"),
            Self::Choose { files } => {
                write!(
                    f,
                    "the repository has several GGUF files; name one: {}",
                    files.join(", ")
                )
            }
            Self::TooLarge { bytes_max } => write!(
                f,
                "the file has more than {bytes_max} bytes; `model_max_bytes` allows more"
            ),
            Self::NoRoom { bytes, bytes_free } => write!(
                f,
                "{bytes} bytes are to come and the disk has room for {bytes_free}; \
                 `orchestratord models remove` makes room"
            ),
            Self::Mismatch { expected, found } => {
                write!(
                    f,
                    "the file is not the one that was asked for: it is {found}, not {expected}"
                )
            }
            Self::Disk(error) => write!(
                f,
                "the model's file can't be read or kept: {}",
                error.kind()
            ),
            Self::Unwanted => f.write_str("it is not wanted any more"),
        }
    }
}

impl std::error::Error for FetchError {}
