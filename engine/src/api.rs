//! JSON in and out, no behaviour: what callers send, parsed at the edge, and what they get back.

pub mod artifact;
pub mod catalog;
pub mod error;
pub mod event;
pub mod meta;
pub mod openapi;
pub mod placement;
pub mod pool;
pub mod preparation;
pub mod sentence;
pub mod session;
pub mod task;
pub mod worker;

use std::time::Duration;

use orchestratord_gpu::is_visible;
use serde::{Serialize, de::DeserializeOwned};

use error::ApiError;

/// A request's body, read whole.
///
/// # Errors
///
/// 400 with a sentence that names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let request = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| ApiError::invalid(name_the_field(&error)))?;
    json.end()
        .map_err(|_| ApiError::invalid("the body goes on after its JSON object"))?;
    Ok(request)
}

/// Checks what names a model: others are told it in answers, labels and lines of the log.
///
/// # Errors
///
/// 400 with a sentence that names the field.
pub fn check_name(field: &str, text: &str, bytes_max: usize) -> Result<(), ApiError> {
    if text.len() <= bytes_max && text.chars().all(is_visible) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "`{field}` must have at most {bytes_max} bytes, and no characters that can't be seen"
    )))
}

/// Serde names an unknown or missing field itself; for a value of the wrong type the path does.
fn name_the_field(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let path = error.path().to_string();
    match path.as_str() {
        "." | "?" => format!("the body is not what the route takes: {}", error.inner()),
        field => format!("`{field}`: {}", error.inner()),
    }
}

/// The body of a response.
///
/// # Panics
///
/// Never: the types of this module have string keys and no failing serializers.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types have string keys and serialize infallibly")
}

/// The same as text, which JSON is.
///
/// # Panics
///
/// Never, as [`json`].
pub fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("our own types have string keys and serialize infallibly")
}

/// Whole milliseconds, rounded up: a wait that is told is never shorter than the real one.
pub fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
