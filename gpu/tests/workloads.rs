//! The embedded engine with the shipped model, asked for other things than a text to continue.

use orchestratord_gpu::embedded::{Engine, EngineOptions, Model, SHIPPED};
use orchestratord_gpu::{
    Event, Fault, Finish, Generation, Input, LocalEngine, Message, Role, Sampling, SequenceKey,
    SessionKey, Step, Usage, Workload,
};
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

static MODEL: LazyLock<Arc<Model>> =
    LazyLock::new(|| Arc::new(Model::load(SHIPPED).expect("the shipped model is whole")));

const CONTEXT_TOKENS: u32 = 256;

fn engine_of(model: &Arc<Model>, slots: u32) -> Engine {
    let options = EngineOptions {
        slots,
        context_tokens: CONTEXT_TOKENS,
    };
    Engine::new(Arc::clone(model), options)
}

fn engine(slots: u32) -> Engine {
    engine_of(&MODEL, slots)
}

/// Always the likeliest token.
fn generation(input: Input, max_tokens: u32) -> Generation {
    Generation {
        input,
        max_tokens,
        sampling: Sampling {
            temperature: 0.0,
            top_p: 1.0,
            top_k: 0,
            seed: 0,
        },
        stop: Vec::new(),
        session: None,
        reuse: true,
        traceparent: None,
    }
}

fn prompt(text: &str, max_tokens: u32) -> Generation {
    generation(Input::Prompt(text.to_owned()), max_tokens)
}

fn chat(said: &[(Role, &str)]) -> Generation {
    let message = |(role, content): &(Role, &str)| Message {
        role: *role,
        content: (*content).to_owned(),
    };
    generation(Input::Chat(said.iter().map(message).collect()), 40)
}

fn embed(texts: &[&str]) -> Generation {
    let texts = texts.iter().map(|text| (*text).to_owned());
    generation(Input::Embed(texts.collect()), 1)
}

fn rerank(query: &str, documents: &[&str]) -> Generation {
    let documents = documents.iter().map(|text| (*text).to_owned());
    let input = Input::Rerank {
        query: query.to_owned(),
        documents: documents.collect(),
    };
    generation(input, 1)
}

/// What became of a sequence.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    started: Option<(u32, u32)>,
    tokens: Vec<String>,
    end: Option<Result<(Finish, Usage), Fault>>,
}

type Tellings = BTreeMap<u64, Told>;

fn step(engine: &mut Engine, tellings: &mut Tellings) -> Step {
    engine.step(Duration::ZERO, &mut |key, event| {
        let told = tellings.entry(key.0).or_default();
        assert_eq!(told.end, None, "nothing follows an end");
        match event {
            Event::Started {
                prompt_tokens,
                cached_tokens,
            } => {
                assert_eq!(told.started, None, "started once");
                told.started = prompt_tokens.zip(cached_tokens);
            }
            Event::Token { text } => {
                assert!(told.started.is_some(), "tokens follow the start");
                told.tokens.push(text.into());
            }
            Event::End { finish, usage } => told.end = Some(Ok((finish, usage))),
            Event::Fault(fault) => told.end = Some(Err(fault)),
        }
    })
}

fn admit(engine: &mut Engine, key: u64, generation: Generation) {
    engine
        .admit(Duration::ZERO, SequenceKey(key), generation)
        .expect("there is a slot, and room for the prompt");
}

fn run(engine: &mut Engine, generation: Generation) -> Told {
    let mut tellings = Tellings::new();
    admit(engine, 1, generation);
    while step(engine, &mut tellings) != Step::Idle {}
    tellings.remove(&1).expect("it was admitted")
}

fn tell(generation: Generation) -> Told {
    run(&mut engine(1), generation)
}

fn numbers(token: &str) -> Vec<f64> {
    let inside = token.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    let numbers = inside.expect("an array").split(',');
    numbers
        .map(|number| number.parse().expect("a number"))
        .collect()
}

fn product(left: &[f64], right: &[f64]) -> f64 {
    left.iter()
        .zip(right)
        .map(|(left, right)| left * right)
        .sum()
}

#[test]
fn the_shipped_model_does_every_kind_of_work() {
    assert_eq!(MODEL.workloads(), Workload::ALL);
}

#[test]
fn a_chat_is_the_last_message_and_a_line_break_as_the_model_was_trained() {
    let told = tell(chat(&[
        (Role::User, "Hello!"),
        (Role::Assistant, "Hello!"),
        (Role::User, "What is an owl?"),
    ]));
    assert_eq!(told, tell(prompt("What is an owl?\n", 40)));
    assert!(told.tokens.concat().contains("owl"), "{told:?}");
    assert!(matches!(told.end, Some(Ok((Finish::Stop, _)))), "{told:?}");
}

#[test]
fn the_next_turn_of_a_chat_computes_only_what_is_new_of_it() {
    let model = Arc::new(
        Model::load(&templated(
            "{% for m in messages %}{{m.content}}{% endfor %}",
        ))
        .unwrap(),
    );
    let mut engine = engine_of(&model, 1);
    let turn = |generation| Generation {
        session: Some(SessionKey(1)),
        ..generation
    };
    let asked = (Role::User, "Once upon a time");
    let first = run(&mut engine, turn(chat(&[asked])));
    let answered = first.tokens.concat();
    let more = [
        asked,
        (Role::Assistant, &answered),
        (Role::User, " And then"),
    ];
    let second = run(&mut engine, turn(chat(&more)));
    let (prompt_tokens, cached_tokens) = second.started.unwrap();
    assert!(
        cached_tokens > 20 && cached_tokens < prompt_tokens,
        "prompt and answer of the first turn: {cached_tokens} of {prompt_tokens}"
    );
    let cold = run(&mut engine_of(&model, 1), chat(&more));
    assert_eq!(second.tokens, cold.tokens);
}

#[test]
fn a_model_whose_chat_template_can_not_be_read_does_all_but_chat() {
    let model = Arc::new(Model::load(&templated("{% for m in %}")).unwrap());
    let without = [Workload::Completion, Workload::Embedding, Workload::Rerank];
    assert_eq!(model.workloads(), without);
    let said = chat(&[(Role::User, "Hello!")]);
    let admitted = engine_of(&model, 1).admit(Duration::ZERO, SequenceKey(1), said);
    assert_eq!(admitted, Err(Fault::Unsupported(Workload::Chat)));
}

/// The shipped model with another chat template. Its text is made longer by whole units of alignment,
/// so that the tensors behind the header stand where they are looked for.
fn templated(template: &str) -> Vec<u8> {
    const KEY: &[u8] = b"tokenizer.chat_template";
    const ALIGNMENT: usize = 32;
    let key = SHIPPED.windows(KEY.len()).position(|window| window == KEY);
    // Behind the key are the type of the value and its length.
    let length_at = key.expect("the shipped model has a template") + KEY.len() + 4;
    let text_at = length_at + 8;
    let length = SHIPPED[length_at..text_at]
        .try_into()
        .map(u64::from_le_bytes);
    let length = length.map_or(0, |length| usize::try_from(length).unwrap_or(0));
    assert_ne!(length, 0, "a template is never empty");
    let longer = length + 2 * ALIGNMENT;
    // A comment of the template's language.
    let filled = format!("{template}{{#{:1$}#}}", "", longer - template.len() - 4);
    let mut file = SHIPPED[..length_at].to_vec();
    file.extend((longer as u64).to_le_bytes());
    file.extend(filled.as_bytes());
    file.extend(&SHIPPED[text_at + length..]);
    file
}

#[test]
fn a_text_has_one_vector_of_length_one_wherever_it_stands() {
    let told = tell(embed(&[
        "The moon is round.",
        "The sea",
        "The moon is round.",
    ]));
    assert_eq!(told.tokens.len(), 3);
    assert_eq!(told.tokens[0], told.tokens[2]);
    assert_ne!(told.tokens[0], told.tokens[1]);
    let vectors: Vec<Vec<f64>> = told.tokens.iter().map(|token| numbers(token)).collect();
    for vector in &vectors {
        assert_eq!(vector.len(), vectors[0].len());
        assert!((product(vector, vector) - 1.0).abs() < 1e-5);
    }
    let Some(Ok((Finish::Stop, usage))) = told.end else {
        panic!("{told:?}");
    };
    assert_eq!(usage.completion_tokens, 3);
    assert_eq!(told.started, usage.prompt_tokens.zip(Some(0)));
}

#[test]
fn vectors_and_scores_are_the_same_to_the_last_bit_whoever_else_is_served() {
    let long = "Once upon a time there was an owl who knew it all. ".repeat(8);
    let vectors = || embed(&["", "The moon", &long, "žluťoučký 🐎"]);
    let scores = || rerank("The owl", &[&long, "The owl"]);
    let (vectors_alone, scores_alone) = (tell(vectors()), tell(scores()));
    let mut engine = engine(4);
    let mut tellings = Tellings::new();
    admit(&mut engine, 3, prompt("The sea", 60));
    step(&mut engine, &mut tellings);
    admit(&mut engine, 1, vectors());
    admit(&mut engine, 2, scores());
    admit(&mut engine, 4, prompt(&"x y z ".repeat(40), 20));
    while step(&mut engine, &mut tellings) != Step::Idle {}
    assert_eq!(tellings[&1], vectors_alone);
    assert_eq!(tellings[&2], scores_alone);
}

#[test]
fn documents_are_ranked_by_how_much_they_are_like_the_query() {
    let documents = [
        "Five and four is nine.",
        "What is an owl?",
        "What is a fox?",
    ];
    let told = tell(rerank("What is an owl?", &documents));
    let scores: Vec<f64> = told
        .tokens
        .iter()
        .map(|token| token.parse().unwrap())
        .collect();
    assert_eq!(scores.len(), 3);
    assert!(scores[1] > scores[2] && scores[2] > scores[0], "{scores:?}");
    let texts = [&["What is an owl?"], &documents[..]].concat();
    let vectors: Vec<Vec<f64>> = tell(embed(&texts))
        .tokens
        .iter()
        .map(|it| numbers(it))
        .collect();
    for (score, vector) in scores.iter().zip(&vectors[1..]) {
        assert!((score - product(&vectors[0], vector)).abs() < 1e-5);
    }
}

#[test]
fn many_texts_hold_up_neither_those_who_generate_nor_those_who_come() {
    let mut engine = engine(3);
    let mut tellings = Tellings::new();
    admit(&mut engine, 1, prompt("Once upon a time", 200));
    step(&mut engine, &mut tellings);
    let long = "x y z ".repeat(40);
    admit(&mut engine, 2, embed(&vec![long.as_str(); 200]));
    let embedded = |tellings: &Tellings| tellings.get(&2).map_or(0, |told| told.tokens.len());
    while embedded(&tellings) < 2 {
        let before = tellings[&1].tokens.len();
        step(&mut engine, &mut tellings);
        assert_eq!(tellings[&1].tokens.len(), before + 1);
    }
    let before = embedded(&tellings);
    admit(&mut engine, 3, prompt(&"a b c ".repeat(40), 4));
    while tellings.get(&3).is_none_or(|told| told.tokens.is_empty()) {
        step(&mut engine, &mut tellings);
    }
    let after = embedded(&tellings);
    assert!(after <= before + 1, "{} texts went first", after - before);
}

#[test]
fn short_texts_share_a_step_and_are_told_in_order() {
    let words = ["sun", "moon", "sea", "owl", "fox", "cat", "mill", "tree"];
    let long = "Once upon a time there was a mill. ".repeat(8);
    let texts = [&words[..], &[&long], &words[..]].concat();
    let mut engine = engine(1);
    let mut tellings = Tellings::new();
    admit(&mut engine, 1, embed(&texts));
    let mut steps = 0;
    while step(&mut engine, &mut tellings) != Step::Idle {
        steps += 1;
    }
    assert!(steps < 8, "{steps} steps for {} texts", texts.len());
    let told = &tellings[&1].tokens;
    assert_eq!(told.len(), texts.len());
    for (text, vector) in texts.iter().zip(told) {
        assert_eq!(&tell(embed(&[text])).tokens[0], vector, "{text}");
    }
}

#[test]
fn a_canceled_embedding_is_never_heard_of_again() {
    let mut engine = engine(1);
    let mut tellings = Tellings::new();
    admit(&mut engine, 1, embed(&["x y z"; 200]));
    for _ in 0..8 {
        step(&mut engine, &mut tellings);
    }
    assert!(!tellings[&1].tokens.is_empty());
    engine.cancel(SequenceKey(1));
    let told = tellings.remove(&1);
    assert!(told.is_some_and(|told| told.end.is_none()));
    assert_eq!(step(&mut engine, &mut tellings), Step::Idle);
    assert!(tellings.is_empty());
    assert_eq!(engine.kv_cache_usage(), Some(0.0));
}

#[test]
fn a_text_over_the_context_is_the_callers_fault() {
    for long in ["word ".repeat(300), "x".repeat(1 << 19)] {
        let told = tell(embed(&["short", &long]));
        assert!(
            matches!(
                told.end,
                Some(Err(Fault::ContextExceeded {
                    context_tokens: CONTEXT_TOKENS,
                    ..
                }))
            ),
            "{:?}",
            told.end
        );
    }
}

#[test]
fn an_embedding_leaves_what_its_session_has_warm() {
    let mut engine = engine(1);
    let session = Some(SessionKey(1));
    let turn = || Generation {
        session,
        ..prompt("Once upon a time", 8)
    };
    run(&mut engine, turn());
    let embedding = Generation {
        session,
        ..embed(&["The moon"])
    };
    run(&mut engine, embedding);
    let (prompt_tokens, cached_tokens) = run(&mut engine, turn()).started.unwrap();
    assert_eq!(cached_tokens, prompt_tokens - 1);
}
