//! Teaching: fresh tales at every step, so nothing is learned by heart and the printed loss is
//! at the same time the loss on unseen text.
//!
//! A step is done by two threads, each with half of the tokens and the same weights; the mean of
//! their gradients does not depend on who is first, so a seed gives the same model again on the
//! same processor. The optimiser is AdamW (Loshchilov, Hutter, "Decoupled weight decay
//! regularization", 2019) under a cosine schedule with a short warm-up (the same, "SGDR", 2017).

use std::thread;
use std::time::Instant;

use candle_core::backprop::GradStore;
use candle_core::{Device, Error, Result, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};

use crate::bpe::{BOS, Bpe, EOS};
use crate::dice::Dice;
use crate::grammar::Grammar;
use crate::model::Model;

/// Tokens that each of the two threads reads in a step.
const TOKENS_HALF: usize = 1024;
/// Tokens in a window of most steps: two or three tales.
const WINDOW: usize = 256;
/// Tokens in a window of the last steps. Attention costs more there, and once a tale can be told
/// it takes little to tell it at a later position.
const WINDOW_LAST: usize = 512;
/// One step in so many, at the end, reads the longer windows.
const LAST_SHARE: usize = 6;
/// Highest learning rate, reached after the warm-up.
const RATE_PEAK: f64 = 3e-3;
/// Learning rate of the last step.
const RATE_LAST: f64 = 5e-5;
/// Steps until the peak: early gradients point anywhere.
const WARM_UP: usize = 60;
/// Longest step in weight space that one batch may ask for (norm of all gradients together).
const GRADIENT_MAX: f64 = 1.0;
/// Steps between two lines of progress, each with a checkpoint.
const REPORT_EVERY: usize = 50;

/// Where windows come from: tales told one behind the other.
pub(crate) struct Lessons<'a> {
    pub(crate) grammar: &'a Grammar,
    pub(crate) bpe: &'a Bpe,
    pub(crate) dice: Dice,
}

impl Lessons<'_> {
    /// Windows of `length` tokens and, for each token, the one behind it. Every window opens with
    /// a tale's beginning, as every request does.
    fn batch(&mut self, length: usize) -> Result<Batch> {
        let rows = TOKENS_HALF / length;
        let windows: Vec<Vec<u32>> = (0..rows).map(|_| self.window(length)).collect();
        let part = |from: usize| {
            let tokens = windows
                .iter()
                .flat_map(|window| &window[from..from + length]);
            Tensor::from_iter(tokens.copied(), &Device::Cpu)?.reshape((rows, length))
        };
        Ok(Batch {
            tokens: part(0)?,
            next: part(1)?,
        })
    }

    fn window(&mut self, length: usize) -> Vec<u32> {
        let mut window = Vec::with_capacity(2 * length);
        while window.len() <= length {
            window.push(BOS);
            window.extend(self.bpe.encode(&self.grammar.tell(&mut self.dice)));
            window.push(EOS);
        }
        window
    }
}

struct Batch {
    tokens: Tensor,
    next: Tensor,
}

/// Trains for `steps`, calling `checkpoint` with every line of progress and at the end.
pub(crate) fn train(
    model: &Model,
    mut lessons: Lessons<'_>,
    steps: usize,
    checkpoint: impl Fn(&Model) -> Result<()>,
) -> Result<()> {
    let vars = model
        .weights()
        .into_iter()
        .map(|(_, var)| var.clone())
        .collect();
    let decay = ParamsAdamW {
        lr: 0.0,
        beta2: 0.95,
        weight_decay: 0.02,
        ..Default::default()
    };
    let mut optimiser = AdamW::new(vars, decay)?;
    let (start, mut recent) = (Instant::now(), 0.0);
    for step in 1..=steps {
        let long = step + steps / LAST_SHARE > steps;
        let length = if long { WINDOW_LAST } else { WINDOW };
        let halves = [lessons.batch(length)?, lessons.batch(length)?];
        let (loss, mut gradients) = learn(model, &halves)?;
        clip(&mut gradients, model)?;
        optimiser.set_learning_rate(rate(step, steps));
        optimiser.step(&gradients)?;
        recent += loss;
        if step % REPORT_EVERY == 0 || step == steps {
            let counted = (step - 1) % REPORT_EVERY + 1;
            report(step, steps, recent / counted as f64, start);
            recent = 0.0;
            checkpoint(model)?;
        }
    }
    Ok(())
}

fn report(step: usize, steps: usize, loss: f64, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let tokens = step * 2 * TOKENS_HALF;
    let pace = tokens as f64 / seconds;
    println!("step {step}/{steps}  loss {loss:.4}  {pace:.0} tokens/s  {seconds:.0} s");
}

/// Mean loss and mean gradient of both halves of a batch.
fn learn(model: &Model, [left, right]: &[Batch; 2]) -> Result<(f64, GradStore)> {
    let (left, right) = thread::scope(|scope| {
        let right = scope.spawn(|| gradients(model, right));
        (gradients(model, left), right.join())
    });
    let (loss_left, mut mean) = left?;
    let (loss_right, right) = right.map_err(|_| Error::Msg("a training thread died".into()))??;
    for (_, var) in model.weights() {
        if let (Some(a), Some(b)) = (mean.get(var), right.get(var)) {
            let half = ((a + b)? * 0.5)?;
            mean.insert(var, half);
        }
    }
    Ok(((loss_left + loss_right) / 2.0, mean))
}

fn gradients(model: &Model, batch: &Batch) -> Result<(f64, GradStore)> {
    let logits = model.logits(&batch.tokens)?.flatten_to(1)?;
    let loss = candle_nn::loss::cross_entropy(&logits, &batch.next.flatten_all()?)?;
    Ok((f64::from(loss.to_scalar::<f32>()?), loss.backward()?))
}

/// Shortens the gradient to [`GRADIENT_MAX`] where it is longer, keeping its direction.
fn clip(gradients: &mut GradStore, model: &Model) -> Result<()> {
    let mut squares = 0.0;
    for (_, var) in model.weights() {
        if let Some(gradient) = gradients.get(var) {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    let factor = (GRADIENT_MAX / squares.sqrt()).min(1.0);
    for (_, var) in model.weights() {
        if let Some(gradient) = gradients.get(var) {
            let clipped = (gradient * factor)?;
            gradients.insert(var, clipped);
        }
    }
    Ok(())
}

/// Learning rate of a step: a straight way up, then half a cosine down.
fn rate(step: usize, steps: usize) -> f64 {
    if step < WARM_UP {
        return RATE_PEAK * step as f64 / WARM_UP as f64;
    }
    let done = (step - WARM_UP) as f64 / (steps - WARM_UP).max(1) as f64;
    RATE_LAST + (RATE_PEAK - RATE_LAST) * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
}
