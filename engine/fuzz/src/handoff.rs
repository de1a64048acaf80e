//! Handoff files.

use orchestratord_gpu::handoff::Handoff;
use serde_json::{Value, json};

pub(crate) fn check(bytes: &[u8]) {
    let Ok((kind, handoff)) = Handoff::parse(bytes) else {
        return;
    };
    assert_eq!(kind.name(), handoff.engine);
    let (_, again) = Handoff::parse(handoff.write().as_bytes()).expect("what we write we can read");
    assert_eq!(again, handoff);
    check_with_more(bytes, &handoff);
}

/// What we don't know in it is passed over.
fn check_with_more(bytes: &[u8], handoff: &Handoff) {
    let mut file: Value = serde_json::from_slice(bytes).expect("a handoff is JSON");
    let fields = file.as_object_mut().expect("a handoff is one object");
    fields.insert("of somebody else".to_owned(), json!([{"id": 7}, null]));
    let (_, again) = Handoff::parse(file.to_string().as_bytes()).expect("it has all that it had");
    assert_eq!(&again, handoff);
}
