//! The embedded engine with the shipped model: what a text depends on, and what it does not.

use orchestratord_gpu::embedded::{Engine, EngineOptions, LoadError, Model, SHIPPED};
use orchestratord_gpu::{
    Event, Fault, Finish, Generation, Input, LocalEngine, Sampling, SequenceKey, SessionKey, Step,
    Usage,
};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static MODEL: LazyLock<Arc<Model>> =
    LazyLock::new(|| Arc::new(Model::load(SHIPPED).expect("the shipped model is whole")));

fn engine(slots: u32) -> Engine {
    let context_tokens = 256;
    Engine::new(
        Arc::clone(&MODEL),
        EngineOptions {
            slots,
            context_tokens,
        },
    )
}

fn generation(prompt: &str, seed: u64, max_tokens: u32) -> Generation {
    Generation {
        input: Input::Prompt(prompt.to_owned()),
        max_tokens,
        sampling: Sampling {
            temperature: 0.9,
            top_p: 0.95,
            top_k: 40,
            seed,
        },
        stop: Vec::new(),
        session: None,
        reuse: true,
        traceparent: None,
    }
}

/// What became of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    text: String,
    tokens: u32,
    prompt_tokens: Option<u32>,
    cached_tokens: u32,
    end: Option<(Finish, Usage)>,
}

type Tellings = BTreeMap<SequenceKey, Told>;

fn step(engine: &mut Engine, tellings: &mut Tellings) -> Step {
    engine.step(Duration::ZERO, &mut |key, event| {
        let told = tellings.entry(key).or_default();
        assert_eq!(told.end, None, "nothing follows an end");
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => {
                assert_eq!(told.prompt_tokens, None, "started once");
                told.prompt_tokens = prompt_tokens;
                told.cached_tokens = cached_tokens.expect("it counts them");
            }
            Event::Token { text } => {
                assert!(told.prompt_tokens.is_some(), "tokens follow the start");
                told.text.push_str(&text);
                told.tokens += 1;
            }
            Event::End { finish, usage } => told.end = Some((finish, usage)),
            Event::Fault(fault) => panic!("{fault}"),
        }
    })
}

fn run(engine: &mut Engine) -> Tellings {
    let mut tellings = Tellings::new();
    while step(engine, &mut tellings) != Step::Idle {}
    tellings
}

fn admit(engine: &mut Engine, key: u64, generation: Generation) {
    engine
        .admit(Duration::ZERO, SequenceKey(key), generation)
        .expect("there is a slot, and room for the prompt");
}

fn tell(generation: Generation) -> Told {
    let mut engine = engine(1);
    admit(&mut engine, 1, generation);
    run(&mut engine)
        .remove(&SequenceKey(1))
        .expect("it was admitted")
}

#[test]
fn the_same_seed_gives_the_same_text_and_another_another() {
    let text = |seed| tell(generation("Once upon a time", seed, 40)).text;
    assert_eq!(text(1), text(1));
    assert_ne!(text(1), text(2));
    assert!(
        text(1).len() > 40,
        "forty tokens are more than forty letters: {}",
        text(1)
    );
}

#[test]
fn a_text_does_not_depend_on_who_else_is_served() {
    let tale = || generation("One day the fox", 7, 48);
    let alone = tell(tale());
    let mut engine = engine(4);
    let mut tellings = Tellings::new();
    admit(&mut engine, 2, generation("The sea", 1, 60));
    for _ in 0..3 {
        step(&mut engine, &mut tellings);
    }
    admit(&mut engine, 1, tale());
    let long = "a b c d e f g h i j k l m n o p ".repeat(6);
    admit(&mut engine, 3, generation(&long, 3, 30));
    step(&mut engine, &mut tellings);
    admit(&mut engine, 4, generation("Hello", 4, 5));
    while step(&mut engine, &mut tellings) != Step::Idle {}
    assert_eq!(tellings[&SequenceKey(1)], alone);
    assert_eq!(tellings.len(), 4);
}

#[test]
fn a_long_prompt_does_not_hold_up_those_who_are_generating() {
    let mut engine = engine(2);
    let mut tellings = Tellings::new();
    admit(&mut engine, 1, generation("The cat", 1, 200));
    step(&mut engine, &mut tellings);
    admit(&mut engine, 2, generation(&"x y z ".repeat(50), 2, 1));
    let mut steps = 0;
    while !tellings.contains_key(&SequenceKey(2)) || tellings[&SequenceKey(2)].tokens == 0 {
        let before = tellings[&SequenceKey(1)].tokens;
        step(&mut engine, &mut tellings);
        let first = &tellings[&SequenceKey(1)];
        assert!(
            first.end.is_some() || first.tokens == before + 1,
            "one token a step"
        );
        steps += 1;
    }
    assert!(steps > 1, "the prompt came in pieces");
}

#[test]
fn a_cancel_between_tokens_frees_the_slot_at_once() {
    let mut engine = engine(1);
    let mut tellings = Tellings::new();
    admit(&mut engine, 1, generation("Once", 1, 200));
    step(&mut engine, &mut tellings);
    let refused = engine.admit(Duration::ZERO, SequenceKey(2), generation("Once", 1, 5));
    assert!(refused.is_err(), "the only slot is taken");
    engine.cancel(SequenceKey(1));
    engine.cancel(SequenceKey(99));
    admit(&mut engine, 2, generation("Once", 1, 5));
    let tellings = run(&mut engine);
    assert_eq!(tellings.keys().collect::<Vec<_>>(), [&SequenceKey(2)]);
}

#[test]
fn a_text_is_no_longer_than_was_asked() {
    let told = tell(generation("Once upon a time", 3, 5));
    let (finish, usage) = told.end.unwrap();
    assert_eq!(finish, Finish::Length);
    assert_eq!(usage.completion_tokens, 5);
    assert_eq!(usage.prompt_tokens, told.prompt_tokens);
}

#[test]
fn a_tale_comes_to_its_own_end_or_to_the_end_of_the_context() {
    let (finish, usage) = tell(generation("Once upon a time", 3, 100_000))
        .end
        .unwrap();
    let all = usage.prompt_tokens.unwrap() + usage.completion_tokens;
    match finish {
        Finish::Stop => assert!(all <= 256),
        Finish::Length => assert_eq!(all, 256),
    }
}

#[test]
fn a_stop_text_ends_the_text_before_it() {
    let whole = tell(generation("Once upon a time", 5, 40)).text;
    let (before, after) = whole.split_at(whole.len() / 2);
    let stop = after.chars().take(7).collect::<String>();
    let first = whole.find(&stop).unwrap_or(before.len());
    let told = tell(Generation {
        stop: vec![stop],
        ..generation("Once upon a time", 5, 40)
    });
    assert_eq!(told.text, whole[..first]);
    assert_eq!(told.end.unwrap().0, Finish::Stop);
}

#[test]
fn a_prompt_that_leaves_no_room_is_the_callers_fault() {
    let mut engine = engine(1);
    for prompt in ["word ".repeat(256), "x".repeat(1 << 20)] {
        let fault = engine.admit(Duration::ZERO, SequenceKey(1), generation(&prompt, 1, 1));
        assert!(matches!(
            fault,
            Err(Fault::ContextExceeded {
                context_tokens: 256,
                ..
            })
        ));
    }
}

#[test]
fn any_text_is_a_prompt() {
    for prompt in ["", "\0", "žluťoučký 🐎\n\n\t", "<|eos|><|bos|>", "   "] {
        assert!(tell(generation(prompt, 1, 2)).end.is_some(), "{prompt:?}");
    }
}

#[test]
fn an_engine_that_works_answers_its_probe() {
    engine(1).probe().unwrap();
}

#[test]
fn a_file_that_ends_early_is_refused() {
    let lengths = (0..64).chain((64..SHIPPED.len()).step_by(SHIPPED.len() / 200));
    for length in lengths {
        let error = Model::load(&SHIPPED[..length]).unwrap_err();
        let expected = match length {
            0 => LoadError::NotGguf,
            _ => LoadError::Truncated,
        };
        assert_eq!(error, expected, "cut after {length} bytes");
    }
}

#[test]
fn a_file_with_any_bit_turned_over_does_no_harm() {
    let header = 4096.min(SHIPPED.len());
    let mut file = SHIPPED.to_vec();
    for at in (0..header).step_by(11) {
        let bit = 1 << (at % 8);
        file[at] ^= bit;
        // Some turned bits do no damage, and none does harm.
        let _ = Model::load(&file);
        file[at] ^= bit;
    }
}

#[test]
fn something_else_is_told_apart_from_a_broken_model() {
    assert_eq!(
        Model::load(b"PK\x03\x04 a zip file").unwrap_err(),
        LoadError::NotGguf
    );
    let mut newer = SHIPPED.to_vec();
    newer[4] = 9;
    assert_eq!(Model::load(&newer).unwrap_err(), LoadError::Version(9));
    let other = replaced(SHIPPED, b"llama", b"mamba");
    assert_eq!(
        Model::load(&other).unwrap_err(),
        LoadError::Architecture("mamba".to_owned())
    );
}

/// The first occurrence replaced.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(from.len())
        .position(|window| window == from)
        .expect("the file names its architecture");
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

/// A turn of a conversation.
fn turn(session: u64, prompt: &str) -> Generation {
    Generation {
        session: Some(SessionKey(session)),
        ..generation(prompt, 5, 24)
    }
}

fn take_turn(engine: &mut Engine, turn: Generation) -> Told {
    admit(engine, 1, turn);
    run(engine)
        .remove(&SequenceKey(1))
        .expect("it was admitted")
}

fn news(engine: &mut Engine) -> Vec<(u64, bool)> {
    let mut news = Vec::new();
    engine.kept(&mut |session, bytes| news.push((session.0, bytes > 0)));
    news
}

/// What is told but for how much of the prompt was found in the cache.
fn without_cache(told: &Told) -> (&str, Option<(Finish, Usage)>) {
    let usage = |usage| Usage {
        cached_tokens: None,
        ..usage
    };
    (
        &told.text,
        told.end.map(|(finish, told)| (finish, usage(told))),
    )
}

#[test]
fn the_next_turn_computes_only_what_is_new_and_tells_the_same() {
    let mut engine = engine(1);
    let first = take_turn(&mut engine, turn(1, "Once upon a time"));
    assert_eq!(first.cached_tokens, 0);
    let prompt = format!("Once upon a time{} And then", first.text);
    let warm = take_turn(&mut engine, turn(1, &prompt));
    let cold = tell(generation(&prompt, 5, 24));
    assert!(
        warm.cached_tokens > 16,
        "prompt and text of the first turn: {}",
        warm.cached_tokens
    );
    assert_eq!(without_cache(&warm), without_cache(&cold));
}

#[test]
fn the_same_prompt_again_computes_at_least_its_last_token() {
    let mut engine = engine(1);
    let first = take_turn(&mut engine, turn(1, "Once upon a time"));
    let again = take_turn(&mut engine, turn(1, "Once upon a time"));
    assert_eq!(Some(again.cached_tokens + 1), again.prompt_tokens);
    assert_eq!(without_cache(&first), without_cache(&again));
}

#[test]
fn a_conversation_finds_nobody_elses_cache_and_none_where_it_wants_none() {
    let mut engine = engine(2);
    take_turn(&mut engine, turn(1, "Once upon a time"));
    let other = take_turn(&mut engine, turn(2, "Once upon a time"));
    assert_eq!(other.cached_tokens, 0);
    let cold = Generation {
        reuse: false,
        ..turn(1, "Once upon a time")
    };
    assert_eq!(take_turn(&mut engine, cold).cached_tokens, 0);
}

#[test]
fn as_many_caches_are_kept_as_there_are_slots_and_the_rest_is_told() {
    let mut engine = engine(1);
    take_turn(&mut engine, turn(1, "Once"));
    assert_eq!(news(&mut engine), [(1, true)]);
    take_turn(&mut engine, turn(2, "Once"));
    assert_eq!(news(&mut engine), [(1, false), (2, true)]);
    engine.forget(SessionKey(2));
    assert_eq!(news(&mut engine), [(2, false)]);
    assert_eq!(take_turn(&mut engine, turn(2, "Once")).cached_tokens, 0);
}

#[test]
fn a_canceled_turn_leaves_nothing() {
    let mut engine = engine(1);
    take_turn(&mut engine, turn(1, "Once upon a time"));
    admit(&mut engine, 2, turn(1, "Once upon a time"));
    engine.cancel(SequenceKey(2));
    assert_eq!(news(&mut engine), [(1, true), (1, false)]);
}

#[test]
fn a_kv_cache_fills_with_what_runs_and_empties_with_it() {
    let mut engine = engine(2);
    assert_eq!(engine.kv_cache_usage(), Some(0.0));
    admit(&mut engine, 1, generation("Once upon a time", 5, 24));
    let mut tellings = Tellings::new();
    let mut usage = 0.0;
    for _ in 0..8 {
        assert_ne!(step(&mut engine, &mut tellings), Step::Idle);
        let now = engine.kv_cache_usage().expect("it has a cache");
        assert!(now > usage && now < 0.5, "one of two slots: {now}");
        usage = now;
    }
    while step(&mut engine, &mut tellings) != Step::Idle {}
    assert_eq!(engine.kv_cache_usage(), Some(0.0));
}
