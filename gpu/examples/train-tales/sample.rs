//! Hearing what the model has learned: one text at a time, slowly, without a cache of keys.

use candle_core::{Device, Result, Tensor};

use crate::bpe::{BOS, Bpe, EOS};
use crate::dice::Dice;
use crate::model::Model;

/// Tokens after which a tale that does not end is broken off.
const TOKENS_MAX: usize = 256;

/// `prompt` with its continuation. Temperature 0 takes the likeliest token every time.
pub(crate) fn continuation(
    model: &Model,
    bpe: &Bpe,
    prompt: &str,
    temperature: f32,
    dice: &mut Dice,
) -> Result<String> {
    let mut tokens = vec![BOS];
    tokens.extend(bpe.encode(prompt));
    for _ in 0..TOKENS_MAX {
        let input = Tensor::new(&tokens[..], &Device::Cpu)?.unsqueeze(0)?;
        let logits = model
            .logits(&input)?
            .get(0)?
            .get(tokens.len() - 1)?
            .to_vec1::<f32>()?;
        let token = choose(&logits, temperature, dice);
        if token == EOS {
            break;
        }
        tokens.push(token);
    }
    Ok(bpe.decode(&tokens))
}

fn choose(logits: &[f32], temperature: f32, dice: &mut Dice) -> u32 {
    let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sharpness = 1.0 / temperature.max(1e-3);
    let weights: Vec<f32> = logits
        .iter()
        .map(|logit| ((logit - peak) * sharpness).exp())
        .collect();
    let mut left = dice.unit() * weights.iter().sum::<f32>();
    for (id, weight) in (0..).zip(&weights) {
        left -= weight;
        if left < 0.0 {
            return id;
        }
    }
    EOS
}
