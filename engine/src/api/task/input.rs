//! What a task works on, as callers write it: the one field that its workload needs.
//!
//! A field that another workload needs is refused by name, and so is what says how tokens are chosen
//! where none are: a request whose half is ignored is a request that was misunderstood.

use orchestratord_gpu::{self as gpu, Input};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::api::error::ApiError;

/// Messages of a conversation: some hundred turns, with what tools have said.
pub const MESSAGES_MAX: usize = 1024;
/// Texts that one task embeds or ranks, the query among them; more are several tasks, which may run
/// beside each other.
pub const INPUTS_MAX: usize = 256;
/// Bytes of one message or of one text to embed or rank: over a hundred thousand tokens, which is
/// about what models take.
pub const TEXT_BYTES_MAX: usize = 512 * 1024;

/// A kind of work, and so which field is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// `prompt` is continued.
    #[default]
    Completion,
    /// The conversation of `messages` is answered.
    Chat,
    /// Each of `inputs` becomes a vector.
    Embedding,
    /// The first of `inputs` is a query, and each of the others is told how well it answers it.
    Rerank,
}

impl Workload {
    const fn field(self) -> &'static str {
        match self {
            Self::Completion => "prompt",
            Self::Chat => "messages",
            Self::Embedding | Self::Rerank => "inputs",
        }
    }

    /// The word of the contract.
    const fn name(self) -> &'static str {
        match self {
            Self::Completion => gpu::Workload::Completion.name(),
            Self::Chat => gpu::Workload::Chat.name(),
            Self::Embedding => gpu::Workload::Embedding.name(),
            Self::Rerank => gpu::Workload::Rerank.name(),
        }
    }
}

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
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

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    role: Role,
    content: String,
}

impl From<Message> for gpu::Message {
    fn from(Message { role, content }: Message) -> Self {
        let role = match role {
            Role::System => gpu::Role::System,
            Role::User => gpu::Role::User,
            Role::Assistant => gpu::Role::Assistant,
            Role::Tool => gpu::Role::Tool,
        };
        Self { role, content }
    }
}

/// The fields of which a request has one.
pub(super) struct Fields {
    pub(super) prompt: Option<String>,
    pub(super) messages: Option<Vec<Message>>,
    pub(super) inputs: Option<Vec<String>>,
}

impl Fields {
    /// What the workload needs, checked.
    pub(super) fn input(self, workload: Workload) -> Result<Input, ApiError> {
        self.check_presence(workload)?;
        Ok(match workload {
            Workload::Completion => Input::Prompt(self.prompt.unwrap_or_default()),
            Workload::Chat => Input::Chat(messages(self.messages.unwrap_or_default())?),
            Workload::Embedding => Input::Embed(inputs(self.inputs.unwrap_or_default(), 1)?),
            Workload::Rerank => {
                let mut documents = inputs(self.inputs.unwrap_or_default(), 2)?;
                let query = documents.remove(0);
                Input::Rerank { query, documents }
            }
        })
    }

    fn check_presence(&self, workload: Workload) -> Result<(), ApiError> {
        let (needed, name) = (workload.field(), workload.name());
        let fields = [
            ("prompt", self.prompt.is_some()),
            ("messages", self.messages.is_some()),
            ("inputs", self.inputs.is_some()),
        ];
        let mut there = fields.into_iter().filter(|(_, is_there)| *is_there);
        // What is there too much tells a forgotten `workload` better than what is missing.
        if let Some((field, _)) = there.clone().find(|(field, _)| *field != needed) {
            let message = format!("`{field}` is not for {name}, which needs `{needed}`");
            return Err(ApiError::invalid(message));
        }
        match there.next() {
            Some(_) => Ok(()),
            None => Err(ApiError::invalid(format!(
                "`{needed}` is needed for {name}"
            ))),
        }
    }
}

fn messages(messages: Vec<Message>) -> Result<Vec<gpu::Message>, ApiError> {
    check_count("messages", messages.len(), 1, MESSAGES_MAX)?;
    let contents = messages.iter().map(|message| message.content.len());
    check_bytes("messages", contents)?;
    Ok(messages.into_iter().map(gpu::Message::from).collect())
}

fn inputs(inputs: Vec<String>, count_min: usize) -> Result<Vec<String>, ApiError> {
    check_count("inputs", inputs.len(), count_min, INPUTS_MAX)?;
    check_bytes("inputs", inputs.iter().map(String::len))?;
    Ok(inputs)
}

fn check_count(field: &str, count: usize, min: usize, max: usize) -> Result<(), ApiError> {
    if (min..=max).contains(&count) {
        return Ok(());
    }
    let message = format!("`{field}` must have {min} to {max} entries, and has {count}");
    Err(ApiError::invalid(message))
}

fn check_bytes(field: &str, mut lengths: impl Iterator<Item = usize>) -> Result<(), ApiError> {
    match lengths.position(|bytes| bytes > TEXT_BYTES_MAX) {
        None => Ok(()),
        Some(index) => Err(ApiError::invalid(format!(
            "`{field}[{index}]` has more than {TEXT_BYTES_MAX} bytes"
        ))),
    }
}

/// How many results are asked for, by an input that is not answered with a text.
pub(super) fn results(input: &Input) -> Option<u32> {
    let count = match input {
        Input::Prompt(_) | Input::Chat(_) => return None,
        Input::Embed(texts) => texts.len(),
        Input::Rerank { documents, .. } => documents.len(),
    };
    Some(u32::try_from(count).unwrap_or(u32::MAX))
}

/// What was asked, as it is written down.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Asked<'t> {
    /// Of a completion.
    Prompt(&'t str),
    /// Of a chat.
    Messages(Vec<AskedMessage<'t>>),
    /// Of an embedding or a rerank.
    Inputs(Vec<&'t str>),
}

/// One message of it.
#[derive(Serialize)]
pub struct AskedMessage<'t> {
    role: &'static str,
    content: &'t str,
}

impl<'t> From<&'t Input> for Asked<'t> {
    fn from(input: &'t Input) -> Self {
        match input {
            Input::Prompt(prompt) => Self::Prompt(prompt),
            Input::Chat(messages) => {
                let asked = |message: &'t gpu::Message| AskedMessage {
                    role: message.role.name(),
                    content: &message.content,
                };
                Self::Messages(messages.iter().map(asked).collect())
            }
            Input::Embed(_) | Input::Rerank { .. } => Self::Inputs(input.texts()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::task::Submission;

    fn parse(fields: &str) -> Result<Submission, ApiError> {
        Submission::parse(format!(r#"{{"model_ref":"m",{fields}}}"#).as_bytes())
    }

    #[test]
    fn each_workload_takes_the_field_that_it_needs() {
        let input = |fields: &str| parse(fields).unwrap().input;
        assert_eq!(input(r#""prompt":"p""#), Input::Prompt("p".into()));
        let said = |role, content: &str| gpu::Message {
            role,
            content: content.to_owned(),
        };
        assert_eq!(
            input(
                r#""workload":"chat","messages":[
                    {"role":"system","content":"a"},{"role":"user","content":"b"},
                    {"role":"assistant","content":"c"},{"role":"tool","content":"d"}]"#
            ),
            Input::Chat(vec![
                said(gpu::Role::System, "a"),
                said(gpu::Role::User, "b"),
                said(gpu::Role::Assistant, "c"),
                said(gpu::Role::Tool, "d"),
            ])
        );
        assert_eq!(
            input(r#""workload":"embedding","inputs":["a","b"]"#),
            Input::Embed(vec!["a".into(), "b".into()])
        );
        assert_eq!(
            input(r#""workload":"rerank","inputs":["q","a","b"]"#),
            Input::Rerank {
                query: "q".into(),
                documents: vec!["a".into(), "b".into()],
            }
        );
    }

    #[test]
    fn a_field_too_many_or_too_few_is_named() {
        let check = |fields: &str, named: &str| {
            let message = parse(fields).unwrap_err().message;
            assert!(message.contains(&format!("`{named}")), "{message}");
        };
        check(r#""prompt":"p","inputs":["i"]"#, "inputs");
        check("\"session_id\":null", "prompt");
        check(r#""messages":[]"#, "messages");
        check(r#""workload":"chat","prompt":"p""#, "prompt");
        check(r#""workload":"chat""#, "messages");
        check(r#""workload":"chat","messages":[]"#, "messages");
        check(
            r#""workload":"chat","messages":[{"role":"owl","content":"hoo"}]"#,
            "messages[0].role",
        );
        check(r#""workload":"embedding","inputs":[]"#, "inputs");
        check(r#""workload":"rerank","inputs":["query"]"#, "inputs");
        let many = format!(
            r#""workload":"embedding","inputs":["i"{}]"#,
            r#","i""#.repeat(INPUTS_MAX)
        );
        check(&many, "inputs");
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        check(
            &format!(r#""workload":"embedding","inputs":["i","{long}"]"#),
            "inputs[1]",
        );
    }

    #[test]
    fn what_chooses_tokens_is_refused_where_none_are() {
        for field in [
            r#""max_tokens":1"#,
            r#""temperature":1"#,
            r#""top_p":1"#,
            r#""top_k":1"#,
            r#""stop":"s""#,
        ] {
            let fields = format!(r#""workload":"embedding","inputs":["i"],{field}"#);
            let message = parse(&fields).unwrap_err().message;
            let (name, _) = field[1..].split_once('"').unwrap();
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn as_many_tokens_are_expected_as_there_are_results() {
        let expected = |fields: &str| {
            let task = parse(fields).unwrap();
            (task.expected_tokens, task.max_tokens)
        };
        let embedding = r#""workload":"embedding","inputs":["a","b","c"]"#;
        assert_eq!(expected(embedding), (3, 3));
        let rerank = r#""workload":"rerank","inputs":["a","b","c"]"#;
        assert_eq!(expected(rerank), (2, 2));
    }

    #[test]
    fn what_was_asked_is_written_as_it_came() {
        let written = |fields: &str| {
            let input = parse(fields).unwrap().input;
            serde_json::to_string(&Asked::from(&input)).unwrap()
        };
        assert_eq!(written(r#""prompt":"p""#), r#"{"prompt":"p"}"#);
        assert_eq!(
            written(r#""workload":"rerank","inputs":["q","d"]"#),
            r#"{"inputs":["q","d"]}"#
        );
        assert_eq!(
            written(r#""workload":"chat","messages":[{"role":"user","content":"c"}]"#),
            r#"{"messages":[{"role":"user","content":"c"}]}"#
        );
    }
}
