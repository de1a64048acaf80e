//! The real llama.cpp server: beside the daemon, or where the daemon finds it.

use cucumber::gherkin::Step;
use cucumber::{given, then};

use crate::claim::{Claim, eventually};
use crate::client::{self, Answer, Request};
use crate::engine::Engine;
use crate::expectation::look;
use crate::program::{self, SHIPPED_MODEL};
use crate::sequence;
use crate::world::World;

/// Its address is called by its name.
#[given(regex = r"^a llama\.cpp server called ([a-z]+) started with (--.+)$")]
fn start(world: &mut World, name: String, arguments: String) {
    let arguments = world.fill(&arguments).holds();
    let engine = Engine::start_llamacpp(world.dir.path(), &name, &arguments).holds();
    world.words.insert(name.clone(), engine.url.clone());
    world.engines.insert(name, engine);
}

/// Where the daemon looks for programs. What llama.cpp computes with is told by its own variable: one
/// thread, for several would spin while they wait for a machine that others use too.
#[given("llama-server is installed")]
fn install(world: &mut World) {
    let ours = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{ours}", program::llamacpp().holds().display());
    world.environment.push(("PATH".to_owned(), path));
    let threads = ("LLAMA_ARG_THREADS".to_owned(), "1".to_owned());
    world.environment.push(threads);
    let model = ("shipped_model".to_owned(), SHIPPED_MODEL.to_owned());
    world.words.extend([model]);
}

#[given(regex = r"^a text called ([a-z]+) of (\d+) words$")]
fn text(world: &mut World, name: String, words: usize) {
    world.words.insert(name, "once ".repeat(words));
}

/// The engine is asked directly, with words of its own.
#[then(
    regex = r"^(the client|[A-Z][a-z]+) has seen the text that the engine ([a-z]+) answers to POST (/\S+)$"
)]
fn same_text(world: &mut World, reader: String, name: String, path: String, #[step] step: &Step) {
    let body = step.docstring.as_deref().map(|body| body.trim().to_owned());
    let answer = ask(world, &name, "POST", &path, body).holds();
    let answer = answer.json().holds();
    let texts = ["content", "choices.0.message.content"];
    let text = texts.iter().find_map(|path| look(&answer, path)?.as_str());
    let text = text.ok_or_else(|| format!("no text in {answer}")).holds();
    assert!(!text.is_empty(), "the engine writes nothing");
    assert_eq!(
        sequence::text(&world.stream(&reader).holds().events),
        text,
        "the daemon's is not the engine's"
    );
}

#[given(regex = r"^the engine ([a-z]+) comes to answer GET (/\S+) with$")]
#[then(regex = r"^the engine ([a-z]+) comes to answer GET (/\S+) with$")]
fn answers(world: &mut World, name: String, path: String, #[step] step: &Step) {
    let expected = world.expectations(step).holds();
    let answered = eventually(|| expected.check(&ask(world, &name, "GET", &path, None)?.json()?));
    answered.holds();
}

fn ask(
    world: &World,
    name: &str,
    method: &str,
    path: &str,
    body: Option<String>,
) -> Result<Answer, String> {
    let engine = world.engines.get(name);
    let engine = engine.ok_or_else(|| format!("there is no engine called {name}"))?;
    let addr = engine.url.trim_start_matches("http://").parse();
    let addr = addr.map_err(|_| format!("{} is no address", engine.url))?;
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let (method, path) = (method.to_owned(), path.to_owned());
    client::send(
        addr,
        &Request {
            method,
            path,
            headers,
            body,
        },
    )
}
