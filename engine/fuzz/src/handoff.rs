//! Handoff files.

use orchestratord_gpu::handoff::Handoff;

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
    let object = bytes.trim_ascii_start().strip_prefix(b"{");
    let fields = object.expect("a handoff is one object");
    let more = [br#"{"of somebody else": [{"id": 7}, null], "#, fields].concat();
    let (_, again) = Handoff::parse(&more).expect("it has all that it had");
    assert_eq!(&again, handoff);
}
