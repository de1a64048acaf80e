//! The model as a function with gradients: a small llama, written for training only.
//!
//! The arithmetic is that of the llama family: root-mean-square norms before each half-layer,
//! rotary positions on interleaved pairs, grouped heads, a gated feed-forward, and the
//! embedding used again as the output. Sources: Touvron et al., "LLaMA" (2023); Su et al.,
//! "RoFormer" (2021); Shazeer, "GLU variants improve transformer" (2020); Zhang, Sennrich,
//! "Root mean square layer normalization" (2019).
//!
//! Only operations with a backward pass occur here, which is why norm, softmax and rotation are
//! spelled out. There is no cache of keys: training sees whole windows at once.

use candle_core::{D, DType, Device, Result, Tensor, Var};

use crate::dice::Dice;

/// Sizes of the model, as the file states them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) vocab: usize,
    /// Width of the residual stream.
    pub(crate) dim: usize,
    pub(crate) layers: usize,
    pub(crate) heads: usize,
    /// Heads of keys and values; each serves `heads / heads_kv` heads of queries.
    pub(crate) heads_kv: usize,
    pub(crate) ffn: usize,
}

/// Added under the root of each norm.
pub(crate) const NORM_EPSILON: f32 = 1e-5;
/// Base of the rotary frequencies.
pub(crate) const ROPE_BASE: f32 = 10_000.0;

impl Shape {
    /// Width of one head.
    pub(crate) fn head(&self) -> usize {
        self.dim / self.heads
    }
}

/// All weights, under the names that GGUF gives them.
pub(crate) struct Model {
    pub(crate) shape: Shape,
    pub(crate) embedding: Var,
    pub(crate) layers: Vec<Layer>,
    pub(crate) output_norm: Var,
}

/// One layer: attention, then feed-forward, each behind its norm.
pub(crate) struct Layer {
    pub(crate) attn_norm: Var,
    pub(crate) attn_q: Var,
    pub(crate) attn_k: Var,
    pub(crate) attn_v: Var,
    pub(crate) attn_output: Var,
    pub(crate) ffn_norm: Var,
    pub(crate) ffn_gate: Var,
    pub(crate) ffn_up: Var,
    pub(crate) ffn_down: Var,
}

impl Model {
    /// A model whose weights come from `weight(name, dims)`: chance before training, a file after.
    pub(crate) fn new(
        shape: Shape,
        mut weight: impl FnMut(&str, &[usize]) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut var = |name: &str, dims: &[usize]| Var::from_tensor(&weight(name, dims)?);
        let (dim, ffn, kv) = (shape.dim, shape.ffn, shape.heads_kv * shape.head());
        let mut layer = |at: usize| -> Result<Layer> {
            let mut part =
                |part: &str, dims: &[usize]| var(&format!("blk.{at}.{part}.weight"), dims);
            Ok(Layer {
                attn_norm: part("attn_norm", &[dim])?,
                attn_q: part("attn_q", &[dim, dim])?,
                attn_k: part("attn_k", &[kv, dim])?,
                attn_v: part("attn_v", &[kv, dim])?,
                attn_output: part("attn_output", &[dim, dim])?,
                ffn_norm: part("ffn_norm", &[dim])?,
                ffn_gate: part("ffn_gate", &[ffn, dim])?,
                ffn_up: part("ffn_up", &[ffn, dim])?,
                ffn_down: part("ffn_down", &[dim, ffn])?,
            })
        };
        let layers = (0..shape.layers).map(&mut layer).collect::<Result<_>>()?;
        Ok(Self {
            shape,
            layers,
            embedding: var("token_embd.weight", &[shape.vocab, dim])?,
            output_norm: var("output_norm.weight", &[dim])?,
        })
    }

    /// A model that knows nothing yet. The two matrices that write into the residual stream start
    /// smaller, so that its variance does not grow with depth (as in GPT-2).
    pub(crate) fn newborn(shape: Shape, dice: &mut Dice) -> Result<Self> {
        let quiet = 0.02 / (2.0 * shape.layers as f32).sqrt();
        Self::new(shape, |name, dims| {
            if name.contains("norm") {
                return Tensor::ones(dims, DType::F32, &Device::Cpu);
            }
            let writes = name.contains("attn_output") || name.contains("ffn_down");
            let scale = if writes { quiet } else { 0.02 };
            let count: usize = dims.iter().product();
            let values: Vec<f32> = (0..count).map(|_| dice.normal() * scale).collect();
            Tensor::from_vec(values, dims, &Device::Cpu)
        })
    }

    /// Every weight with its GGUF name, in the order of the file.
    pub(crate) fn weights(&self) -> Vec<(String, &Var)> {
        let ends = [
            ("token_embd.weight", &self.embedding),
            ("output_norm.weight", &self.output_norm),
        ];
        let ends = ends.map(|(name, var)| (name.to_string(), var));
        let layers = self.layers.iter().enumerate().flat_map(|(at, layer)| {
            layer
                .parts()
                .map(|(part, var)| (format!("blk.{at}.{part}.weight"), var))
        });
        ends.into_iter().chain(layers).collect()
    }

    /// Scores of the next token behind each token of each row: `[rows, length, vocab]`.
    pub(crate) fn logits(&self, tokens: &Tensor) -> Result<Tensor> {
        let (rows, length) = tokens.dims2()?;
        let window = Window::new(length, &self.shape)?;
        let flat = tokens.flatten_all()?;
        let mut x = self.embedding.embedding(&flat)?;
        for layer in &self.layers {
            x = (&x + layer.attention(&norm(&x, &layer.attn_norm)?, rows, &window)?)?;
            x = (&x + layer.feed_forward(&norm(&x, &layer.ffn_norm)?)?)?;
        }
        let logits = linear(&norm(&x, &self.output_norm)?, &self.embedding)?;
        logits.reshape((rows, length, self.shape.vocab))
    }
}

impl Layer {
    fn parts(&self) -> [(&'static str, &Var); 9] {
        [
            ("attn_norm", &self.attn_norm),
            ("attn_q", &self.attn_q),
            ("attn_k", &self.attn_k),
            ("attn_v", &self.attn_v),
            ("attn_output", &self.attn_output),
            ("ffn_norm", &self.ffn_norm),
            ("ffn_gate", &self.ffn_gate),
            ("ffn_up", &self.ffn_up),
            ("ffn_down", &self.ffn_down),
        ]
    }

    fn attention(&self, x: &Tensor, rows: usize, window: &Window) -> Result<Tensor> {
        let shape = &window.shape;
        let split = |weight: &Var, heads: usize| {
            let projected = linear(x, weight)?;
            let heads = projected.reshape((rows, window.length, heads, shape.head()))?;
            heads.transpose(1, 2)?.contiguous()
        };
        let q = window.rotate(&split(&self.attn_q, shape.heads)?)?;
        let k = window.rotate(&split(&self.attn_k, shape.heads_kv)?)?;
        let v = split(&self.attn_v, shape.heads_kv)?;
        // Heads of one group stand under each other, so one product serves the whole group.
        let group = shape.heads / shape.heads_kv;
        let grouped = (rows, shape.heads_kv, group * window.length, shape.head());
        let scores = q.reshape(grouped)?.matmul(&k.t()?.contiguous()?)?;
        let scores = scores.reshape((rows, shape.heads, window.length, window.length))?;
        let shares = window.shares(&scores)?;
        let shares =
            shares.reshape((rows, shape.heads_kv, group * window.length, window.length))?;
        let mixed = shares
            .matmul(&v)?
            .reshape((rows, shape.heads, window.length, shape.head()))?;
        let joined = mixed
            .transpose(1, 2)?
            .reshape((rows * window.length, shape.dim))?;
        linear(&joined, &self.attn_output)
    }

    fn feed_forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = linear(x, &self.ffn_gate)?.silu()?;
        linear(&(gate * linear(x, &self.ffn_up)?)?, &self.ffn_down)
    }
}

/// What attention needs to know about positions `0..length`.
struct Window {
    shape: Shape,
    length: usize,
    cos: Tensor,
    sin: Tensor,
    /// Turns each pair `(a, b)` by a quarter: `(-b, a)`. As a matrix it has a gradient for free.
    quarter: Tensor,
    /// Zero where a token may look, minus infinity at tokens behind it.
    mask: Tensor,
}

impl Window {
    fn new(length: usize, shape: &Shape) -> Result<Self> {
        let head = shape.head();
        let angle = |at: usize| {
            let (position, lane) = (at / head, at % head / 2 * 2);
            position as f32 * ROPE_BASE.powf(-(lane as f32) / head as f32)
        };
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = (0..length * head).map(|at| f(angle(at))).collect();
            Tensor::from_vec(values, (length, head), &Device::Cpu)
        };
        let turn = |at: usize| match (at / head, at % head) {
            (row, column) if row % 2 == 0 && column == row + 1 => 1.0,
            (row, column) if row % 2 == 1 && column + 1 == row => -1.0,
            _ => 0.0_f32,
        };
        let hidden = |at: usize| {
            if at % length > at / length {
                f32::NEG_INFINITY
            } else {
                0.0
            }
        };
        let square = |side: usize, value: &dyn Fn(usize) -> f32| {
            let values: Vec<f32> = (0..side * side).map(value).collect();
            Tensor::from_vec(values, (side, side), &Device::Cpu)
        };
        Ok(Self {
            shape: *shape,
            length,
            cos: table(f32::cos)?,
            sin: table(f32::sin)?,
            quarter: square(head, &turn)?,
            mask: square(length, &hidden)?,
        })
    }

    /// Turns every pair of lanes by its position times its frequency.
    fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        let turned = x.reshape(((), self.shape.head()))?.matmul(&self.quarter)?;
        let turned = turned.reshape(x.shape())?;
        x.broadcast_mul(&self.cos)? + turned.broadcast_mul(&self.sin)?
    }

    /// How much each token looks at each earlier one: a softmax over the visible scores.
    fn shares(&self, scores: &Tensor) -> Result<Tensor> {
        let scale = 1.0 / (self.shape.head() as f64).sqrt();
        let visible = (scores * scale)?.broadcast_add(&self.mask)?;
        // The largest score only keeps `exp` in range; it changes no value, so it needs no gradient.
        let peak = visible.max_keepdim(D::Minus1)?.detach();
        let weights = visible.broadcast_sub(&peak)?.exp()?;
        weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)
    }
}

fn linear(x: &Tensor, weight: &Var) -> Result<Tensor> {
    x.matmul(&weight.t()?)
}

fn norm(x: &Tensor, weight: &Var) -> Result<Tensor> {
    let mean_square = (x.sqr()?.mean_keepdim(D::Minus1)? + f64::from(NORM_EPSILON))?;
    x.broadcast_div(&mean_square.sqrt()?)?.broadcast_mul(weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        vocab: 20,
        dim: 64,
        layers: 2,
        heads: 2,
        heads_kv: 1,
        ffn: 96,
    };

    fn logits(model: &Model, tokens: &[u32]) -> Vec<Vec<f32>> {
        let row = Tensor::new(tokens, &Device::Cpu).and_then(|row| row.unsqueeze(0));
        let logits = row.and_then(|row| model.logits(&row)?.get(0)?.to_vec2());
        logits.expect("the shapes agree")
    }

    #[test]
    fn no_token_sees_the_ones_behind_it() {
        let model = Model::newborn(SHAPE, &mut Dice::new(1)).expect("the shapes agree");
        let (one, other) = (logits(&model, &[3, 4, 5, 6]), logits(&model, &[3, 4, 9, 6]));
        assert_eq!(one[..2], other[..2]);
        assert_ne!(one[2], other[2]);
        assert_ne!(one[3], other[3]);
    }

    #[test]
    fn the_order_of_tokens_matters() {
        let model = Model::newborn(SHAPE, &mut Dice::new(1)).expect("the shapes agree");
        assert_ne!(logits(&model, &[3, 4, 5])[2], logits(&model, &[4, 3, 5])[2]);
    }

    #[test]
    fn scores_of_positions_depend_on_their_distance_only() {
        let window = Window::new(9, &SHAPE).expect("the shapes agree");
        let lanes = |seed: u64| {
            let mut dice = Dice::new(seed);
            let head: Vec<f32> = (0..SHAPE.head()).map(|_| dice.normal()).collect();
            Tensor::new(head, &Device::Cpu)?
                .broadcast_as((1, 1, 9, SHAPE.head()))?
                .contiguous()
        };
        let score = |a: usize, b: usize| {
            let (q, k) = (window.rotate(&lanes(1)?)?, window.rotate(&lanes(2)?)?);
            let scores = q.get(0)?.get(0)?.matmul(&k.get(0)?.get(0)?.t()?)?;
            scores.get(a)?.get(b)?.to_scalar::<f32>()
        };
        let score = |a, b| score(a, b).expect("the shapes agree");
        assert!((score(3, 1) - score(8, 6)).abs() < 1e-4);
        assert!((score(3, 1) - score(8, 5)).abs() > 1e-2);
    }
}
