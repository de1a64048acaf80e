//! Files of models.

use orchestratord_gpu::embedded::{Engine, EngineOptions, Model};
use orchestratord_gpu::{Generation, Input, LocalEngine, Sampling, SequenceKey, Step};
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn check(bytes: &[u8]) {
    let Ok(model) = Model::load(bytes) else {
        return;
    };
    let followed = [bytes, b"more"].concat();
    let again = Model::load(&followed).expect("what follows the tensors is nobody's business");
    assert_eq!(format!("{again:?}"), format!("{model:?}"));
    check_runs(model);
}

/// A model that loads can be asked for a text, whatever its numbers are.
fn check_runs(model: Model) {
    let options = EngineOptions {
        slots: 1,
        context_tokens: 16,
    };
    let mut engine = Engine::new(Arc::new(model), options);
    let _ = engine.probe();
    let generation = Generation {
        input: Input::Prompt("a b".to_owned()),
        max_tokens: 3,
        sampling: Sampling {
            temperature: 1.0,
            top_p: 0.9,
            top_k: 3,
            seed: 7,
        },
        stop: Vec::new(),
        session: None,
        reuse: false,
        traceparent: None,
    };
    if engine
        .admit(Duration::ZERO, SequenceKey(1), generation)
        .is_ok()
    {
        while engine.step(Duration::ZERO, &mut |_, _| {}) != Step::Idle {}
    }
}
