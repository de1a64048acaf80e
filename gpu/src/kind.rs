//! Which program generates: the names that callers, metrics and handoff files know engines by.

/// A kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EngineKind {
    /// The model in our own process.
    Embedded,
    /// llama.cpp's server.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Text Generation Inference.
    Tgi,
    /// Triton Inference Server.
    Triton,
    /// Any other server that speaks OpenAI's API.
    OpenAi,
    /// A script of tokens.
    Mock,
}

impl EngineKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [Self; 8] = [
        Self::Embedded,
        Self::LlamaCpp,
        Self::Vllm,
        Self::Sglang,
        Self::Tgi,
        Self::Triton,
        Self::OpenAi,
        Self::Mock,
    ];

    /// The word of the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::LlamaCpp => "llamacpp",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Tgi => "tgi",
            Self::Triton => "triton",
            Self::OpenAi => "openai",
            Self::Mock => "mock",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
