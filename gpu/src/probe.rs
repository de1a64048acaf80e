//! What is asked of an engine to learn how it is, and what its answers say: paths go out, statuses and
//! bodies come in.
//!
//! ```
//! use orchestratord_gpu::{EngineKind, probe};
//!
//! assert_eq!(probe::paths(EngineKind::Tgi), ["/health", "/info", "/metrics"]);
//! let info = br#"{"model_id":"tales","version":"3.3.6","max_total_tokens":4096}"#;
//! let properties = probe::read(EngineKind::Tgi, &[(200, b""), (200, info)]);
//! assert!(properties.ready);
//! assert_eq!(properties.ctx_max, Some(4096));
//! ```

use crate::{EngineKind, is_visible, llamacpp, openai, sglang, tgi, triton, vllm};
use serde::de::DeserializeOwned;

/// Models of one engine that are told on. Servers that serve more are catalogs, not engines: of them nothing is.
const MODELS_MAX: usize = 64;

/// Characters of a version or of a model's name; they become labels of metrics.
const NAME_CHARS_MAX: usize = 128;

/// No engine has so many requests: whatever tells more counts something else.
const COUNT_MAX: f64 = 1e9;

/// What an engine is like. What it does not tell is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// It takes requests.
    pub ready: bool,
    /// What it calls its version.
    pub engine_version: Option<String>,
    /// Tokens that it can hold together, prompt and text.
    pub ctx_max: Option<u32>,
    /// How many sequences run at a time.
    pub slots: Option<u32>,
    /// What it calls its models.
    pub models: Vec<String>,
    /// How full its KV cache is, from 0 to 1.
    pub kv_cache_usage: Option<f64>,
    /// Requests that it works on, whoever sent them.
    pub requests_running: Option<f64>,
    /// Requests that wait inside of it.
    pub requests_waiting: Option<f64>,
}

impl Properties {
    /// Whether an engine of this kind serves the model of that name, as far as it tells. Those that serve one
    /// model are not asked for it by name: llama.cpp and Text Generation Inference pass the name over.
    #[must_use]
    pub fn may_serve(&self, kind: EngineKind, model: &str) -> bool {
        let goes_by_name = match kind {
            EngineKind::Vllm | EngineKind::Sglang | EngineKind::OpenAi | EngineKind::Mock => true,
            EngineKind::LlamaCpp | EngineKind::Tgi | EngineKind::Triton | EngineKind::Embedded => {
                false
            }
        };
        // Ollama lists a model with its tag, and takes it without.
        let is_it = |listed: &String| listed.strip_suffix(":latest").unwrap_or(listed) == model;
        let is_listed = self
            .models
            .iter()
            .any(|listed| listed == model || is_it(listed));
        !goes_by_name || self.models.is_empty() || is_listed
    }
}

/// What to `GET`, below the engine's base path. The first one decides whether the engine is ready.
/// Empty for the engine in our own process, which is asked by a call.
#[must_use]
pub const fn paths(kind: EngineKind) -> &'static [&'static str] {
    match kind {
        EngineKind::LlamaCpp => llamacpp::PATHS,
        EngineKind::Vllm => vllm::PATHS,
        EngineKind::Sglang => sglang::PATHS,
        EngineKind::Tgi => tgi::PATHS,
        EngineKind::Triton => triton::PATHS,
        EngineKind::OpenAi | EngineKind::Mock => openai::PATHS,
        EngineKind::Embedded => &[],
    }
}

/// What an engine's answers, each a status and a body, say about it. They are in the order of
/// [`paths`], and fewer if one could not be had.
#[must_use]
pub fn read(kind: EngineKind, answers: &[(u16, &[u8])]) -> Properties {
    let answers = Answers {
        paths: paths(kind),
        answers,
    };
    match kind {
        EngineKind::LlamaCpp => llamacpp::properties(&answers),
        EngineKind::Vllm => vllm::properties(&answers),
        EngineKind::Sglang => sglang::properties(&answers),
        EngineKind::Tgi => tgi::properties(&answers),
        EngineKind::Triton => triton::properties(&answers),
        EngineKind::OpenAi | EngineKind::Mock => openai::properties(&answers),
        EngineKind::Embedded => Properties::default(),
    }
}

/// Answers by their path.
pub(crate) struct Answers<'a> {
    paths: &'static [&'static str],
    answers: &'a [(u16, &'a [u8])],
}

impl Answers<'_> {
    /// Whether the answer is there, and good.
    pub(crate) fn succeeds(&self, path: &str) -> bool {
        self.body(path).is_some()
    }

    /// A good answer, if it is of this shape.
    pub(crate) fn json<T: DeserializeOwned>(&self, path: &str) -> Option<T> {
        serde_json::from_slice(self.body(path)?).ok()
    }

    /// A gauge from 0 to 1 of `/metrics`, in the text format of
    /// <https://prometheus.io/docs/instrumenting/exposition_formats/>. The highest if there are several: an
    /// engine is as full as the fullest of its parts.
    pub(crate) fn ratio(&self, name: &str) -> Option<f64> {
        self.samples(name)
            .filter(|ratio| (0.0..=1.0).contains(ratio))
            .reduce(f64::max)
    }

    /// A gauge of `/metrics` that counts something. Its parts are added up: an engine has one for each of the
    /// workers that it spreads requests over.
    pub(crate) fn count(&self, name: &str) -> Option<f64> {
        self.samples(name)
            .filter(|count| (0.0..=COUNT_MAX).contains(count))
            .reduce(|all, more| all + more)
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = f64> + 'a {
        let text = self
            .body("/metrics")
            .and_then(|body| str::from_utf8(body).ok());
        let lines = text.unwrap_or_default().lines();
        lines.filter_map(move |line| sample(line, name))
    }

    fn body(&self, path: &str) -> Option<&[u8]> {
        let place = self.paths.iter().position(|asked| *asked == path)?;
        let (status, body) = self.answers.get(place)?;
        (*status == 200).then_some(*body)
    }
}

/// The value of a line `name{labels} value timestamp`, of which labels and timestamp may be missing.
fn sample(line: &str, name: &str) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let values = match rest.strip_prefix('{') {
        Some(labeled) => labeled.rsplit_once('}')?.1,
        None => rest.strip_prefix(' ')?,
    };
    values.split_whitespace().next()?.parse().ok()
}

/// A name, if it is one that can be shown anywhere.
pub(crate) fn name(name: String) -> Option<String> {
    let is_short = name.chars().count() <= NAME_CHARS_MAX;
    (!name.is_empty() && is_short && name.chars().all(is_visible)).then_some(name)
}

/// The names among these; none if there are too many.
pub(crate) fn names(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.filter_map(name).take(MODELS_MAX + 1).collect();
    if names.len() > MODELS_MAX {
        names.clear();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_by_its_whole_name_and_read_to_its_value() {
        assert_eq!(sample("kv 0.5", "kv"), Some(0.5));
        assert_eq!(
            sample(r#"kv{model="a } b",rank="0"} 0.25 1790347303000"#, "kv"),
            Some(0.25)
        );
        assert_eq!(sample("kv_total 0.5", "kv"), None);
        assert_eq!(sample("# TYPE kv gauge", "kv"), None);
    }

    #[test]
    fn an_engine_is_as_full_as_the_fullest_of_its_parts() {
        let metrics = b"vllm:kv_cache_usage_perc{engine=\"0\"} 0.25\n\
            vllm:kv_cache_usage_perc{engine=\"1\"} 0.75\n\
            vllm:kv_cache_usage_perc{engine=\"2\"} NaN\n";
        let read = read(
            EngineKind::Vllm,
            &[(200, b""), (500, b""), (404, b""), (200, metrics)],
        );
        assert_eq!(read.kv_cache_usage, Some(0.75));
    }

    #[test]
    fn an_engine_has_the_requests_of_all_its_parts() {
        let metrics = b"vllm:num_requests_running{engine=\"0\"} 2.0\n\
            vllm:num_requests_running{engine=\"1\"} 3.0\n\
            vllm:num_requests_running{engine=\"2\"} -1\n\
            vllm:num_requests_waiting{engine=\"0\"} +Inf\n";
        let answers = [(200, &b""[..]), (500, b""), (404, b""), (200, metrics)];
        let read = read(EngineKind::Vllm, &answers);
        assert_eq!(read.requests_running, Some(5.0));
        assert_eq!(read.requests_waiting, None);
    }

    #[test]
    fn answers_that_are_missing_or_make_no_sense_say_nothing() {
        for kind in EngineKind::ALL {
            assert_eq!(read(kind, &[]), Properties::default(), "{}", kind.name());
            let answers: Vec<(u16, &[u8])> =
                paths(kind).iter().map(|_| (200, &b"}{"[..])).collect();
            let ready = Properties {
                ready: !answers.is_empty(),
                ..Properties::default()
            };
            assert_eq!(read(kind, &answers), ready, "{}", kind.name());
        }
    }

    #[test]
    fn a_model_that_an_engine_does_not_list_is_not_served_where_names_count() {
        let may_serve = |kind, listed: &[&str], model| {
            let models = listed.iter().map(|name| (*name).to_owned()).collect();
            let told = Properties {
                models,
                ..Properties::default()
            };
            told.may_serve(kind, model)
        };
        assert!(may_serve(EngineKind::Vllm, &["a", "b"], "b"));
        assert!(!may_serve(EngineKind::Vllm, &["a", "b"], "c"));
        assert!(may_serve(EngineKind::Vllm, &[], "c"), "it does not say");
        assert!(may_serve(EngineKind::OpenAi, &["a:latest"], "a"));
        assert!(may_serve(EngineKind::OpenAi, &["a:latest"], "a:latest"));
        assert!(!may_serve(EngineKind::OpenAi, &["a:7b"], "a"));
        assert!(may_serve(EngineKind::LlamaCpp, &["a"], "b"));
    }

    #[test]
    fn an_engine_with_too_many_models_to_tell_tells_none() {
        let listed = |count: usize| names((0..count).map(|number| number.to_string())).len();
        assert_eq!(listed(MODELS_MAX), MODELS_MAX);
        assert_eq!(listed(MODELS_MAX + 1), 0);
    }

    #[test]
    fn what_an_engine_calls_itself_is_told_only_if_it_can_be_shown() {
        let version = |version: &str| {
            let body = serde_json::json!({ "version": version }).to_string();
            let answers = [(200, &b""[..]), (200, b""), (200, body.as_bytes())];
            read(EngineKind::Vllm, &answers).engine_version
        };
        assert_eq!(version("0.11.0").as_deref(), Some("0.11.0"));
        assert_eq!(version("0.11\n0"), None);
        assert_eq!(version(&"1".repeat(1000)), None);
    }
}
