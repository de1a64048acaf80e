//! The words that all engines are translated to.

use crate::generation::Workload;
use compact_str::CompactString;
use core::fmt;

/// What an engine says about a sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The prompt was taken in.
    Started {
        /// How many tokens it has, if that is known yet.
        prompt_tokens: Option<u32>,
        /// How many of them, from the first on, were found in a KV cache, if that is known yet.
        cached_tokens: Option<u32>,
    },
    /// More text. One token as a rule; none of it is ever taken back.
    Token {
        /// Whole characters; never empty.
        text: CompactString,
    },
    /// The text is complete.
    End {
        /// Why.
        finish: Finish,
        /// How much work it was.
        usage: Usage,
    },
    /// The text will never be complete.
    Fault(Fault),
}

/// Why a text is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop text would have come next, or every result was told.
    Stop,
    /// It is as long as was asked, or as the engine can hold.
    Length,
}

impl Finish {
    /// The word of the OpenAI API: `stop` or `length`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
        }
    }
}

/// How much work a text was, in tokens of its model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// In the prompt; some engines never tell.
    pub prompt_tokens: Option<u32>,
    /// Of these, those that were found in a KV cache; many engines never tell.
    pub cached_tokens: Option<u32>,
    /// Generated, but for the one that only says that the text ends; as many as there are results,
    /// where those were asked for.
    pub completion_tokens: u32,
}

/// Why a text was not generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The caller's: the prompt leaves no room for an answer.
    ContextExceeded {
        /// Tokens of the prompt, at least.
        prompt_tokens: u32,
        /// Tokens that prompt and answer may have together.
        context_tokens: u32,
    },
    /// The caller's: the engine does no work of this kind.
    Unsupported(Workload),
    /// The caller's: the engine does not take what was asked. One sentence.
    Refused(CompactString),
    /// Nobody's: the engine has too much to do, and another may have less.
    Busy,
    /// The engine's: it must be built anew. One sentence.
    Broken(CompactString),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContextExceeded {
                prompt_tokens,
                context_tokens,
            } => write!(
                f,
                "the prompt has {prompt_tokens} tokens or more, and with its answer it may have \
                 {context_tokens}: shorten it"
            ),
            Self::Unsupported(workload) => {
                write!(f, "the engine does no {} work", workload.name())
            }
            Self::Busy => f.write_str("the engine has too much to do"),
            Self::Refused(reason) | Self::Broken(reason) => f.write_str(reason),
        }
    }
}

impl core::error::Error for Fault {}
