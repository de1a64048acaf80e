//! Trains the shipped model, `gpu/model/tales.gguf`, from nothing but this folder.
//!
//! ```text
//! grammar  ──tales──▶  bpe  ──tokens──▶  train ⇄ model  ──weights──▶  gguf
//! ```
//!
//! Without arguments it trains and writes the file; `--sample PROMPT` continues a prompt with
//! the file as it is; `--tell SEED` prints one tale of the grammar.
//!
//! Unlike the crate it belongs to, a trainer reads a clock, writes files and starts threads; all
//! chance still comes from [`SEED`].
#![expect(
    clippy::disallowed_methods,
    reason = "a program for the desk, not a floor of the daemon"
)]

mod bpe;
mod dice;
mod gguf;
mod grammar;
mod model;
mod sample;
mod train;

use std::fs::{self, File};
use std::io::Cursor;

use bpe::Bpe;
use candle_core::{Error, Result};
use dice::Dice;
use grammar::Grammar;
use model::{Model, Shape};
use train::Lessons;

/// Where the model lives in the repository.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tales.gguf");
/// Everything follows from it: weights, tales, samples.
const SEED: u64 = 2026;
/// Steps of the shipped model: about half an hour on two cores.
const STEPS: usize = 3000;
/// Tales from which the vocabulary is learned.
const TALES_FOR_WORDS: usize = 4000;
/// Wide enough that every common word is one token and a sampled tale keeps its cast in mind.
const SHAPE: Shape = Shape {
    vocab: 1536,
    dim: 160,
    layers: 4,
    heads: 5,
    heads_kv: 1,
    ffn: 448,
};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => train_from_nothing(STEPS),
        ["--steps", steps] => train_from_nothing(number(steps)?),
        ["--sample", prompt] => sample(prompt),
        ["--tell", seed] => tell(number(seed)?),
        _ => Err(Error::Msg(
            "use: train-tales [--steps N | --sample PROMPT | --tell SEED]".into(),
        )),
    }
}

fn number<N: std::str::FromStr>(text: &str) -> Result<N> {
    text.parse()
        .map_err(|_| Error::Msg(format!("{text:?} is no number")))
}

fn train_from_nothing(steps: usize) -> Result<()> {
    let grammar = Grammar::new();
    let mut dice = Dice::new(SEED);
    let tales: Vec<String> = (0..TALES_FOR_WORDS)
        .map(|_| grammar.tell(&mut dice))
        .collect();
    let bpe = Bpe::learn(&tales.join("\n"), SHAPE.vocab);
    let model = Model::newborn(SHAPE, &mut dice)?;
    let lessons = Lessons {
        grammar: &grammar,
        bpe: &bpe,
        dice,
    };
    train::train(&model, lessons, steps, |model| save(model, &bpe))
}

/// Replaces the file in one piece: a reader sees the old model or the new one.
fn save(model: &Model, bpe: &Bpe) -> Result<()> {
    let unfinished = concat!(env!("CARGO_MANIFEST_DIR"), "/model/tales.unfinished");
    let mut bytes = Cursor::new(Vec::new());
    gguf::write(&mut bytes, model, bpe)?;
    fs::write(unfinished, bytes.into_inner())?;
    Ok(fs::rename(unfinished, FILE)?)
}

fn sample(prompt: &str) -> Result<()> {
    let (model, bpe) = gguf::read(&mut File::open(FILE)?)?;
    for (seed, temperature) in [(SEED, 0.0), (SEED, 0.7), (SEED + 1, 0.7)] {
        let mut dice = Dice::new(seed);
        let text = sample::continuation(&model, &bpe, prompt, temperature, &mut dice)?;
        println!("[temperature {temperature}]\n{text}\n");
    }
    Ok(())
}

fn tell(seed: u64) -> Result<()> {
    println!("{}", Grammar::new().tell(&mut Dice::new(seed)));
    Ok(())
}
