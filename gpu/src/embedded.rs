//! A model in our own process: a GGUF file of the llama architecture, and an engine that runs it.
//!
//! ```
//! use orchestratord_gpu::embedded::{Engine, EngineOptions, Model, SHIPPED};
//! use std::sync::Arc;
//!
//! let model = Arc::new(Model::load(SHIPPED).unwrap());
//! assert_eq!(model.name(), "tales");
//! let engine = Engine::new(model, EngineOptions { slots: 4, context_tokens: 512 });
//! ```
//!
//! What is in a file is believed only after it was checked ([`gguf`]): a broken one is a
//! [`LoadError`] that says what is wrong with it. Products of matrices are the business of
//! candle-core, whose worker threads are shared by all engines of a process; they are as many as the
//! environment variable [`THREADS_VARIABLE`] says when the first product is computed, the caller
//! among them. Everything else happens on the thread that calls.

mod batch;
mod chat;
mod embedding;
mod gguf;
mod kv;
mod linear;
mod llama;
mod reading;
mod sampler;
mod sequence;
mod tokenizer;
mod warm;
mod writing;

pub use batch::{Engine, EngineOptions};
pub use sampler::SAMPLER_PROFILE_VERSION;

use crate::Workload;
use core::fmt;
use llama::Llama;
use tokenizer::Tokenizer;

/// The model that this repository ships: short tales, and short answers. `gpu/model/README.md` says
/// what it learned and how.
pub const SHIPPED: &[u8] = include_bytes!("../model/tales.gguf");

/// Tells candle-core how many threads compute, unless it has begun.
pub const THREADS_VARIABLE: &str = "CANDLE_NUM_THREADS";

/// The only architecture that is known here.
const ARCHITECTURE: &str = "llama";

/// A loaded model; engines share it.
pub struct Model {
    name: String,
    tokenizer: Tokenizer,
    llama: Llama,
    /// None if the file's own is one that can't be read.
    chat_template: Option<chat::Template>,
}

impl Model {
    /// Loads a GGUF file, given whole.
    ///
    /// # Errors
    /// What is wrong with it, or which of its features is not known here.
    pub fn load(file: &[u8]) -> Result<Self, LoadError> {
        let file = gguf::File::read(file)?;
        match file.text("general.architecture")? {
            ARCHITECTURE => {}
            other => return Err(LoadError::Architecture(other.to_owned())),
        }
        let tokenizer = Tokenizer::load(&file)?;
        Ok(Self {
            name: file.text("general.name").unwrap_or(ARCHITECTURE).to_owned(),
            llama: Llama::load(&file, tokenizer.len())?,
            chat_template: chat::Template::load(&file),
            tokenizer,
        })
    }

    /// What the file calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tokens that it can hold together, prompt and text.
    #[must_use]
    pub const fn context_tokens(&self) -> u32 {
        self.llama.sizes.context
    }

    /// The kinds of work that it can be used for: all, but for chats if its template is none that
    /// can be read. Written in another way than it was trained on, a conversation would be answered
    /// with nonsense.
    #[must_use]
    pub const fn workloads(&self) -> &'static [Workload] {
        const WITHOUT_CHAT: [Workload; 3] =
            [Workload::Completion, Workload::Embedding, Workload::Rerank];
        match self.chat_template {
            Some(_) => &Workload::ALL,
            None => &WITHOUT_CHAT,
        }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("sizes", &self.llama.sizes)
            .finish_non_exhaustive()
    }
}

/// Why a file can't be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// It is something else.
    NotGguf,
    /// A version of the format other than 2 and 3.
    Version(u32),
    /// It ends before what it announces.
    Truncated,
    /// Its metadata has a value of no known type.
    ValueType(u32),
    /// A tensor has a number of dimensions that there is not.
    Dimensions(u32),
    /// An architecture that is not known here.
    Architecture(String),
    /// A key of the metadata is missing or holds nothing usable.
    Metadata(String),
    /// Its sizes do not go together.
    Sizes(String),
    /// A tensor is missing.
    MissingTensor(String),
    /// It has a tensor that is not known here, and would be run wrongly without it.
    UnknownTensor(String),
    /// A tensor can't be used: its name, and why.
    Tensor(String, String),
    /// A way to tokenize that is not known here.
    Tokenizer(String),
    /// Its vocabulary contradicts itself.
    BadVocabulary(&'static str),
}

impl LoadError {
    fn unusable(key: &str, value: Option<&gguf::Value>) -> Self {
        Self::Metadata(match value {
            None => format!("`{key}` is missing"),
            Some(gguf::Value::Array(_)) => format!("`{key}` holds a list that is of no use"),
            Some(value) => format!("`{key}` is {value:?}, which is of no use"),
        })
    }

    fn tensor(name: &str, problem: String) -> Self {
        Self::Tensor(name.to_owned(), problem)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGguf => write!(f, "it is no GGUF file"),
            Self::Version(version) => {
                write!(
                    f,
                    "it is a GGUF file of version {version}, and only 2 and 3 are known"
                )
            }
            Self::Truncated => write!(f, "it is truncated: it ends before what it announces"),
            Self::ValueType(kind) => {
                write!(f, "its metadata has a value of the unknown type {kind}")
            }
            Self::Dimensions(count) => write!(f, "one of its tensors has {count} dimensions"),
            Self::Architecture(name) => {
                write!(
                    f,
                    "its architecture is `{name}`, and only `{ARCHITECTURE}` is known"
                )
            }
            Self::Metadata(problem) => write!(f, "its metadata can't be used: {problem}"),
            Self::Sizes(sizes) => write!(f, "its sizes do not go together: {sizes}"),
            Self::MissingTensor(name) => write!(f, "its tensor `{name}` is missing"),
            Self::UnknownTensor(name) => {
                write!(
                    f,
                    "it has a tensor `{name}`, which is not known and can't be left out"
                )
            }
            Self::Tensor(name, problem) => {
                write!(f, "its tensor `{name}` can't be used: {problem}")
            }
            Self::Tokenizer(name) => write!(f, "its tokenizer `{name}` is not known"),
            Self::BadVocabulary(problem) => write!(f, "its vocabulary can't be used: {problem}"),
        }
    }
}

impl core::error::Error for LoadError {}
