//! The transformer of the llama architecture, forwards.
//!
//! Root-mean-square norms before each part (Zhang, Sennrich, 2019), rotary positions (Su et al.,
//! "RoFormer", 2021) on neighbouring pairs as GGUF lays them out, attention with fewer heads for
//! keys and values than for queries (Ainslie et al., "GQA", 2023), and a gated feed-forward part
//! (Shazeer, "GLU variants", 2020); after Touvron et al., "LLaMA", 2023.
//!
//! Matrices are the library's business ([`Linear`]). What is left is a few loops over vectors, which
//! treat each row by itself: nothing that is computed for one sequence depends on another.

use super::kv::{Cache, Layer as CacheLayer};
use super::linear::Linear;
use super::{LoadError, gguf};
use candle_core::quantized::QTensor;
use candle_core::{Device, Result, Tensor};

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) context: u32,
    pub(super) layers: usize,
    pub(super) width: usize,
    feed_forward: usize,
    heads: usize,
    heads_kv: usize,
    head: usize,
    rotated: usize,
    norm_epsilon: f32,
}

impl Sizes {
    fn load(file: &gguf::File<'_>) -> core::result::Result<Self, LoadError> {
        let size = |key: &str| match file.u32(key)? {
            0 => Err(LoadError::unusable(key, file.value(key))),
            size => Ok(size as usize),
        };
        let (width, heads) = (
            size("llama.embedding_length")?,
            size("llama.attention.head_count")?,
        );
        let or = |key: &str, default: usize| match file.value(key) {
            None => Ok(default),
            Some(_) => size(key),
        };
        let head = or("llama.attention.key_length", width / heads)?;
        let sizes = Self {
            context: file.u32("llama.context_length")?,
            layers: size("llama.block_count")?,
            width,
            feed_forward: size("llama.feed_forward_length")?,
            heads,
            heads_kv: or("llama.attention.head_count_kv", heads)?,
            head,
            rotated: or("llama.rope.dimension_count", head)?,
            norm_epsilon: file.f32_or("llama.attention.layer_norm_rms_epsilon", 1e-5)?,
        };
        sizes.check()?;
        Ok(sizes)
    }

    fn check(&self) -> core::result::Result<(), LoadError> {
        let fits = self.head > 0
            && self.context > 0
            && self.heads.is_multiple_of(self.heads_kv)
            && self.heads.checked_mul(self.head).is_some()
            && self.rotated <= self.head
            && self.rotated.is_multiple_of(2);
        if fits {
            Ok(())
        } else {
            Err(LoadError::Sizes(format!("{self:?}")))
        }
    }
}

struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A loaded model.
pub(super) struct Llama {
    pub(super) sizes: Sizes,
    embedding: QTensor,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    output: Linear,
    /// Angle per position, of each rotated pair.
    frequencies: Vec<f64>,
}

/// The next tokens of one sequence.
pub(super) struct Run<'a> {
    /// At least one.
    pub(super) tokens: &'a [u32],
    /// What came before; the tokens are added to it.
    pub(super) cache: &'a mut Cache,
    /// What is to be told.
    pub(super) wanted: Wanted,
}

/// What is told about the tokens of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// They only fill the cache.
    Nothing,
    /// The score of every token of the vocabulary as the next.
    Scores,
    /// What the last layer, normalized, knows at each of them, one after the other.
    States,
}

impl Llama {
    /// # Errors
    /// What is missing or does not fit.
    pub(super) fn load(
        file: &gguf::File<'_>,
        vocabulary: usize,
    ) -> core::result::Result<Self, LoadError> {
        let sizes = Sizes::load(file)?;
        let linear = |name: &str, outputs: usize, inputs: usize| {
            Linear::new(file.matrix(name, outputs, inputs)?)
                .map_err(|error| LoadError::tensor(name, error.to_string()))
        };
        let layer = |index: usize| {
            let name = |part: &str| format!("blk.{index}.{part}.weight");
            let (width, inner) = (sizes.width, sizes.feed_forward);
            let (queries, keys) = (sizes.heads * sizes.head, sizes.heads_kv * sizes.head);
            Ok::<_, LoadError>(Layer {
                attention_norm: file.vector(&name("attn_norm"), width)?,
                query: linear(&name("attn_q"), queries, width)?,
                key: linear(&name("attn_k"), keys, width)?,
                value: linear(&name("attn_v"), keys, width)?,
                attention_output: linear(&name("attn_output"), width, queries)?,
                feed_forward_norm: file.vector(&name("ffn_norm"), width)?,
                gate: linear(&name("ffn_gate"), inner, width)?,
                up: linear(&name("ffn_up"), inner, width)?,
                down: linear(&name("ffn_down"), width, inner)?,
            })
        };
        refuse_unknown_tensors(file, sizes.layers)?;
        let is_tied = !file.tensor_names().any(|name| name == "output.weight");
        let output = if is_tied {
            "token_embd.weight"
        } else {
            "output.weight"
        };
        Ok(Self {
            embedding: file.matrix("token_embd.weight", vocabulary, sizes.width)?,
            layers: (0..sizes.layers)
                .map(layer)
                .collect::<core::result::Result<_, _>>()?,
            norm: file.vector("output_norm.weight", sizes.width)?,
            output: linear(output, vocabulary, sizes.width)?,
            frequencies: frequencies(file, &sizes)?,
            sizes,
        })
    }

    /// Computes all runs together. For each, what it wanted.
    ///
    /// # Errors
    /// When the library can't compute; the caches are worthless then.
    pub(super) fn forward(&self, runs: &mut [Run<'_>]) -> Result<Vec<Option<Vec<f32>>>> {
        let places = self.places(runs);
        let mut state = self.embed(runs)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let attended = self.attend(index, layer, runs, &places, &state)?;
            add(&mut state, &layer.attention_output.apply(&attended)?);
            let thought = self.feed_forward(layer, &state)?;
            add(&mut state, &thought);
        }
        self.results(runs, &state)
    }

    /// The position of each row in its sequence.
    fn places(&self, runs: &[Run<'_>]) -> Vec<usize> {
        let width = self.sizes.heads_kv * self.sizes.head;
        let places = runs.iter().flat_map(|run| {
            let before = run.cache.layers[0].keys.len() / width;
            before..before + run.tokens.len()
        });
        places.collect()
    }

    fn embed(&self, runs: &[Run<'_>]) -> Result<Vec<f32>> {
        let tokens: Vec<u32> = runs.iter().flat_map(|run| run.tokens).copied().collect();
        let tokens = Tensor::new(tokens, &Device::Cpu)?;
        self.embedding.embedding(&tokens)?.flatten_all()?.to_vec1()
    }

    /// What each row learns from the tokens before it, and from itself.
    fn attend(
        &self,
        index: usize,
        layer: &Layer,
        runs: &mut [Run<'_>],
        places: &[usize],
        state: &[f32],
    ) -> Result<Vec<f32>> {
        let input = self.normalize(state, &layer.attention_norm);
        let mut queries = layer.query.apply(&input)?;
        let mut keys = layer.key.apply(&input)?;
        let values = layer.value.apply(&input)?;
        let (query_width, key_width) = (queries.len() / places.len(), keys.len() / places.len());
        for (row, place) in places.iter().enumerate() {
            let turns = self.turns(*place);
            self.rotate(&mut queries[row * query_width..][..query_width], &turns);
            self.rotate(&mut keys[row * key_width..][..key_width], &turns);
        }
        let mut attended = vec![0.0; queries.len()];
        let mut row = 0;
        for run in runs {
            let cache = &mut run.cache.layers[index];
            let count = run.tokens.len();
            cache
                .keys
                .extend(&keys[row * key_width..][..count * key_width]);
            cache
                .values
                .extend(&values[row * key_width..][..count * key_width]);
            let rows = row * query_width..(row + count) * query_width;
            let queries = queries[rows.clone()].chunks_exact(query_width);
            let attended = attended[rows].chunks_exact_mut(query_width);
            for ((query, attended), place) in queries.zip(attended).zip(&places[row..]) {
                self.attend_row(cache, *place, query, attended);
            }
            row += count;
        }
        Ok(attended)
    }

    /// All heads of one row over its sequence up to itself.
    fn attend_row(&self, cache: &CacheLayer, place: usize, query: &[f32], attended: &mut [f32]) {
        let Sizes {
            head,
            heads,
            heads_kv,
            ..
        } = self.sizes;
        let (key_width, shared_by) = (heads_kv * head, heads / heads_kv);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a head has some hundred numbers"
        )]
        let scale = 1.0 / (head as f32).sqrt();
        let mut weights = vec![0.0; place + 1];
        let heads = query
            .chunks_exact(head)
            .zip(attended.chunks_exact_mut(head));
        for (index, (query, attended)) in heads.enumerate() {
            let offset = index / shared_by * head;
            let of = |at: usize| at * key_width + offset..at * key_width + offset + head;
            for (at, weight) in weights.iter_mut().enumerate() {
                *weight = dot(query, &cache.keys[of(at)]) * scale;
            }
            softmax(&mut weights);
            for (at, weight) in weights.iter().enumerate() {
                let values = cache.values[of(at)].iter();
                attended
                    .iter_mut()
                    .zip(values)
                    .for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }

    fn feed_forward(&self, layer: &Layer, state: &[f32]) -> Result<Vec<f32>> {
        let input = self.normalize(state, &layer.feed_forward_norm);
        let mut gated = layer.gate.apply(&input)?;
        let up = layer.up.apply(&input)?;
        for (gate, up) in gated.iter_mut().zip(up) {
            *gate *= up / (1.0 + (-*gate).exp());
        }
        layer.down.apply(&gated)
    }

    /// What each run wanted, from the rows of all.
    fn results(&self, runs: &[Run<'_>], state: &[f32]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut rest = state;
        let rows: Vec<&[f32]> = runs
            .iter()
            .map(|run| {
                let (rows, after) = rest.split_at(run.tokens.len() * self.sizes.width);
                rest = after;
                rows
            })
            .collect();
        let mut scores = self.scores(runs, &rows)?.into_iter();
        let result = |(run, rows): (&Run<'_>, &[f32])| match run.wanted {
            Wanted::Nothing => None,
            Wanted::Scores => scores.next(),
            Wanted::States => Some(self.normalize(rows, &self.norm)),
        };
        Ok(runs.iter().zip(rows).map(result).collect())
    }

    /// The scores of the last row of each run that wants them.
    fn scores(&self, runs: &[Run<'_>], rows: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        let width = self.sizes.width;
        let mut last_rows = Vec::new();
        for (run, rows) in runs.iter().zip(rows) {
            if run.wanted == Wanted::Scores {
                last_rows.extend_from_slice(&rows[rows.len() - width..]);
            }
        }
        if last_rows.is_empty() {
            return Ok(Vec::new());
        }
        let scores = self.output.apply(&self.normalize(&last_rows, &self.norm))?;
        let vocabulary = scores.len() / (last_rows.len() / width);
        Ok(scores.chunks(vocabulary).map(<[f32]>::to_vec).collect())
    }

    fn normalize(&self, state: &[f32], weights: &[f32]) -> Vec<f32> {
        let mut normalized = Vec::with_capacity(state.len());
        for row in state.chunks_exact(self.sizes.width) {
            #[expect(
                clippy::cast_precision_loss,
                reason = "a row has some thousand numbers"
            )]
            let mean_square = dot(row, row) / row.len() as f32;
            let scale = 1.0 / (mean_square + self.sizes.norm_epsilon).sqrt();
            normalized.extend(
                row.iter()
                    .zip(weights)
                    .map(|(number, weight)| number * scale * weight),
            );
        }
        normalized
    }

    /// Sine and cosine of each pair's angle at a position.
    fn turns(&self, place: usize) -> Vec<(f32, f32)> {
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^52")]
        let place = place as f64;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
        let turn = |frequency: &f64| {
            let (sine, cosine) = (place * frequency).sin_cos();
            (sine as f32, cosine as f32)
        };
        self.frequencies.iter().map(turn).collect()
    }

    /// Turns the pairs of each head of a row.
    fn rotate(&self, row: &mut [f32], turns: &[(f32, f32)]) {
        for head in row.chunks_exact_mut(self.sizes.head) {
            for (pair, (sine, cosine)) in head.chunks_exact_mut(2).zip(turns) {
                let (x, y) = (pair[0], pair[1]);
                pair[0] = x * cosine - y * sine;
                pair[1] = x * sine + y * cosine;
            }
        }
    }
}

/// A tensor that we would leave out is a model that we would run wrongly.
fn refuse_unknown_tensors(
    file: &gguf::File<'_>,
    layers: usize,
) -> core::result::Result<(), LoadError> {
    const WHOLE: [&str; 4] = [
        "token_embd.weight",
        "output.weight",
        "output_norm.weight",
        "rope_freqs.weight",
    ];
    const PARTS: [&str; 9] = [
        "attn_norm.weight",
        "attn_q.weight",
        "attn_k.weight",
        "attn_v.weight",
        "attn_output.weight",
        "ffn_norm.weight",
        "ffn_gate.weight",
        "ffn_up.weight",
        "ffn_down.weight",
    ];
    let is_part = |name: &str| {
        let (layer, part) = name.strip_prefix("blk.")?.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        Some(layer < layers && PARTS.contains(&part))
    };
    let is_known = |name: &str| WHOLE.contains(&name) || is_part(name) == Some(true);
    match file.tensor_names().find(|name| !is_known(name)) {
        None => Ok(()),
        Some(name) => Err(LoadError::UnknownTensor(name.to_owned())),
    }
}

/// How fast each rotated pair turns, with the stretching that models of long contexts have.
fn frequencies(file: &gguf::File<'_>, sizes: &Sizes) -> core::result::Result<Vec<f64>, LoadError> {
    let stretch = match file.value("llama.rope.scaling.type") {
        None => 1.0,
        Some(gguf::Value::Text(kind)) if kind == "none" => 1.0,
        Some(gguf::Value::Text(kind)) if kind == "linear" => {
            file.f32_or("llama.rope.scaling.factor", 1.0)?
        }
        other => return Err(LoadError::unusable("llama.rope.scaling.type", other)),
    };
    let base = f64::from(file.f32_or("llama.rope.freq_base", 10_000.0)?);
    let pairs = sizes.rotated / 2;
    let factors = match file.tensor_names().any(|name| name == "rope_freqs.weight") {
        true => file.vector("rope_freqs.weight", pairs)?,
        false => vec![1.0; pairs],
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "a head has some hundred numbers"
    )]
    let frequency = |(pair, factor): (usize, f32)| {
        let turn = base.powf(-2.0 * pair as f64 / sizes.rotated as f64);
        turn / (f64::from(factor) * f64::from(stretch))
    };
    Ok(factors.into_iter().enumerate().map(frequency).collect())
}

fn add(sum: &mut [f32], more: &[f32]) {
    sum.iter_mut()
        .zip(more)
        .for_each(|(sum, more)| *sum += more);
}

/// In eight sums, so that the processor's lanes can be used without changing the order in which
/// anything is added.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (lefts, rights) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest = lefts.remainder().iter().zip(rights.remainder());
    let rest: f32 = rest.map(|(left, right)| left * right).sum();
    for (left, right) in lefts.zip(rights) {
        for lane in 0..8 {
            sums[lane] += left[lane] * right[lane];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// Weights that sum to one, each as large as its number says. Not a number of any is not a number
/// of all, which the sampler refuses.
fn softmax(numbers: &mut [f32]) {
    let most = numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for number in &mut *numbers {
        *number = (*number - most).exp();
        sum += *number;
    }
    numbers.iter_mut().for_each(|number| *number /= sum);
}
