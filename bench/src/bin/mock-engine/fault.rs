//! How the engine fails.

use std::str::FromStr;

use orchestratord_gpu::mock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not at all.
    None,
    /// Its probes and all work are answered with 503.
    Refuse,
    /// It ends, or falls silent about a sequence, when that has so many tokens.
    Core(mock::Fault),
    /// The connection is closed instead of an answer to work.
    Close,
    /// Work is never answered.
    Silent,
    /// An answer comes byte by byte, and its head never ends.
    DripHead,
    /// Its head comes, and then byte by byte what says nothing.
    DripBody,
    /// The connection is closed within the event of the token after so many.
    CutAfter(u32),
    /// Work is answered with bytes that are no HTTP.
    Garbage,
    /// Work is answered with this status.
    Status(u16),
    /// Each token has ten million bytes.
    HugeToken,
    /// No text ends, whatever was asked.
    Endless,
    /// The text ends, and the body of its answer does not.
    Unended,
}

impl Fault {
    /// The part of it that the script plays.
    pub(crate) const fn core(self) -> mock::Fault {
        match self {
            Self::Core(fault) => fault,
            _ => mock::Fault::None,
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (word, number) = text
            .split_once(':')
            .map_or((text, None), |(word, number)| (word, Some(number)));
        let tokens = || number.and_then(|number| number.parse().ok());
        let fault = match word {
            "none" => Some(Self::None),
            "refuse" => Some(Self::Refuse),
            "die-after" => tokens().map(|tokens| Self::Core(mock::Fault::DiesAfterTokens(tokens))),
            "hang-after" => {
                tokens().map(|tokens| Self::Core(mock::Fault::HangsAfterTokens(tokens)))
            }
            "close" => Some(Self::Close),
            "silent" => Some(Self::Silent),
            "drip-head" => Some(Self::DripHead),
            "drip-body" => Some(Self::DripBody),
            "cut-after" => tokens().map(Self::CutAfter),
            "garbage" => Some(Self::Garbage),
            "status" => {
                let status = number.and_then(|number| number.parse().ok());
                status
                    .filter(|status| (200..600).contains(status))
                    .map(Self::Status)
            }
            "huge-token" => Some(Self::HugeToken),
            "endless" => Some(Self::Endless),
            "unended" => Some(Self::Unended),
            _ => None,
        };
        fault.ok_or_else(|| format!("`{text}` is no fault"))
    }
}
