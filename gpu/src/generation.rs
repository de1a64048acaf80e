//! What is asked of an engine, whichever it is.

/// What is asked of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// What to work on.
    pub input: Input,
    /// How many tokens to generate at most; at least 1.
    pub max_tokens: u32,
    /// How to choose among likely tokens.
    pub sampling: Sampling,
    /// Texts that end the generation where they would begin; none of them is empty.
    pub stop: Vec<String>,
    /// The conversation that it is a turn of: its KV cache may be kept for the next turn.
    pub session: Option<SessionKey>,
    /// Whether what the session's last turn left in the KV cache is used.
    pub reuse: bool,
    /// The trace that the request belongs to, as a `traceparent` field
    /// (<https://www.w3.org/TR/trace-context/>); engines that keep traces are told.
    pub traceparent: Option<String>,
}

/// What an engine works on, and so what kind of work it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A text to continue.
    Prompt(String),
    /// A conversation to answer, oldest message first; never empty.
    Chat(Vec<Message>),
    /// Texts to embed; never empty. Each is answered with one [`Token`](crate::Event::Token) event, in
    /// order, whose text is the vector as a JSON array of numbers.
    Embed(Vec<String>),
    /// Documents to put in order by how well they answer a query; never empty. Each is answered with
    /// one [`Token`](crate::Event::Token) event, in the order in which they came, whose text is the
    /// relevance as a JSON number.
    Rerank {
        /// What is looked for.
        query: String,
        /// Where.
        documents: Vec<String>,
    },
}

impl Input {
    /// The kind of work that it is.
    #[must_use]
    pub const fn workload(&self) -> Workload {
        match self {
            Self::Prompt(_) => Workload::Completion,
            Self::Chat(_) => Workload::Chat,
            Self::Embed(_) => Workload::Embedding,
            Self::Rerank { .. } => Workload::Rerank,
        }
    }

    /// All that is written in it, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Prompt(text) => vec![text],
            Self::Chat(messages) => messages.iter().map(|said| said.content.as_str()).collect(),
            Self::Embed(texts) => texts.iter().map(String::as_str).collect(),
            Self::Rerank { query, documents } => core::iter::once(query)
                .chain(documents)
                .map(String::as_str)
                .collect(),
        }
    }
}

/// A kind of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// A text is continued.
    Completion,
    /// A conversation is answered.
    Chat,
    /// Texts are embedded.
    Embedding,
    /// Documents are ranked.
    Rerank,
}

impl Workload {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Completion, Self::Chat, Self::Embedding, Self::Rerank];

    /// The word of the contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completion => "completion",
            Self::Chat => "chat",
            Self::Embedding => "embedding",
            Self::Rerank => "rerank",
        }
    }
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Whoever set the conversation up.
    System,
    /// Whoever asks.
    User,
    /// The model.
    Assistant,
    /// A tool that the model has called.
    Tool,
}

impl Role {
    /// The word of the OpenAI API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }
}

/// How the next token is chosen. First the temperature is applied, then `top_k`, then `top_p`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// 0 always takes the likeliest token; 1 takes tokens as often as the model thinks them likely.
    pub temperature: f32,
    /// Only the likeliest tokens that together have this probability, above 0 and at most 1.
    pub top_p: f32,
    /// Only so many of the likeliest tokens; 0 is no bound.
    pub top_k: u32,
    /// The same seed and generation give the same text on the same engine and machine.
    pub seed: u64,
}

/// Names a conversation; the same for all its turns, and no other's ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey(pub u64);
