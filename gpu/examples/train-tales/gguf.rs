//! The model as a GGUF file: what a loader must know, then the weights.
//!
//! Matrices are stored as Q8_0 (blocks of 32 weights and one scale, a quarter of the size, no
//! loss that a reader of tales would notice), norms as F32. Key names: the GGUF specification of
//! the ggml project (`docs/gguf.md`).

use std::io::{Read, Seek, Write};

use candle_core::quantized::gguf_file::{self, Content, Value};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Error, Result};

use crate::bpe::{BOS, Bpe, CONTROL, EOS};
use crate::model::{Model, NORM_EPSILON, ROPE_BASE, Shape};

/// Longest text a server should let the model see.
const CONTEXT: usize = 512;
/// One request, one answer: the last message, and its answer on the line behind it.
const CHAT_TEMPLATE: &str = "{{ messages[-1]['content'] + '\\n' }}";

/// Writes the whole file.
pub(crate) fn write(to: &mut (impl Write + Seek), model: &Model, bpe: &Bpe) -> Result<()> {
    let metadata = metadata(&model.shape, bpe);
    let metadata: Vec<_> = metadata.iter().map(|(key, value)| (*key, value)).collect();
    let tensors = tensors(model)?;
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| (name.as_str(), tensor))
        .collect();
    gguf_file::write(to, &metadata, &tensors)
}

fn tensors(model: &Model) -> Result<Vec<(String, QTensor)>> {
    let stored = model.weights().into_iter().map(|(name, var)| {
        let kind = if var.rank() == 2 {
            GgmlDType::Q8_0
        } else {
            GgmlDType::F32
        };
        Ok((name, QTensor::quantize(var, kind)?))
    });
    stored.collect()
}

fn metadata(shape: &Shape, bpe: &Bpe) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.to_string());
    let number = |number: usize| Value::U32(u32::try_from(number).expect("sizes are small"));
    let merges = bpe.merges.iter().map(|&(left, right)| {
        format!(
            "{} {}",
            bpe.tokens[left as usize], bpe.tokens[right as usize]
        )
    });
    // Kinds of token in GGUF: 1 is ordinary text, 3 is control.
    let kinds = (0..bpe.tokens.len()).map(|id| Value::I32(if id < CONTROL.len() { 3 } else { 1 }));
    vec![
        ("general.architecture", text("llama")),
        ("general.name", text("tales")),
        (
            "general.description",
            text("Short tales and short answers, for trying a server out"),
        ),
        ("general.license", text("MIT OR Apache-2.0")),
        ("general.file_type", number(7)), // mostly Q8_0
        ("general.quantization_version", number(2)),
        ("general.alignment", number(32)),
        ("llama.context_length", number(CONTEXT)),
        ("llama.vocab_size", number(shape.vocab)),
        ("llama.embedding_length", number(shape.dim)),
        ("llama.block_count", number(shape.layers)),
        ("llama.feed_forward_length", number(shape.ffn)),
        ("llama.attention.head_count", number(shape.heads)),
        ("llama.attention.head_count_kv", number(shape.heads_kv)),
        (
            "llama.attention.layer_norm_rms_epsilon",
            Value::F32(NORM_EPSILON),
        ),
        ("llama.rope.dimension_count", number(shape.head())),
        ("llama.rope.freq_base", Value::F32(ROPE_BASE)),
        ("tokenizer.ggml.model", text("gpt2")),
        ("tokenizer.ggml.pre", text("gpt-2")),
        (
            "tokenizer.ggml.tokens",
            Value::Array(bpe.tokens.iter().map(|token| text(token)).collect()),
        ),
        ("tokenizer.ggml.token_type", Value::Array(kinds.collect())),
        (
            "tokenizer.ggml.merges",
            Value::Array(merges.map(Value::String).collect()),
        ),
        ("tokenizer.ggml.bos_token_id", Value::U32(BOS)),
        ("tokenizer.ggml.eos_token_id", Value::U32(EOS)),
        ("tokenizer.ggml.add_bos_token", Value::Bool(true)),
        ("tokenizer.ggml.add_eos_token", Value::Bool(false)),
        ("tokenizer.chat_template", text(CHAT_TEMPLATE)),
    ]
}

/// Reads back what [`write`] wrote.
pub(crate) fn read(from: &mut (impl Read + Seek)) -> Result<(Model, Bpe)> {
    let content = Content::read(from)?;
    let bpe = vocabulary(&content)?;
    let number = |key: &str| Ok::<_, Error>(field(&content, key)?.to_u32()? as usize);
    let shape = Shape {
        vocab: number("llama.vocab_size")?,
        dim: number("llama.embedding_length")?,
        layers: number("llama.block_count")?,
        heads: number("llama.attention.head_count")?,
        heads_kv: number("llama.attention.head_count_kv")?,
        ffn: number("llama.feed_forward_length")?,
    };
    let model = Model::new(shape, |name, _| {
        content
            .tensor(from, name, &Device::Cpu)?
            .dequantize(&Device::Cpu)
    })?;
    Ok((model, bpe))
}

fn field<'a>(content: &'a Content, key: &str) -> Result<&'a Value> {
    content
        .metadata
        .get(key)
        .ok_or_else(|| Error::Msg(format!("the file lacks {key}")))
}

fn vocabulary(content: &Content) -> Result<Bpe> {
    let tokens = field(content, "tokenizer.ggml.tokens")?.to_vec()?;
    let id = |wanted: &str| {
        let found = tokens
            .iter()
            .position(|token| token.to_string().is_ok_and(|t| t == wanted));
        let id = found.and_then(|at| u32::try_from(at).ok());
        id.ok_or_else(|| Error::Msg(format!("a merge names {wanted:?}, which is no token")))
    };
    let merges = field(content, "tokenizer.ggml.merges")?
        .to_vec()?
        .iter()
        .map(|merge| {
            let merge = merge.to_string()?;
            let (left, right) = merge
                .split_once(' ')
                .ok_or_else(|| Error::Msg(format!("{merge:?} is no merge")))?;
            Ok((id(left)?, id(right)?))
        });
    Ok(Bpe::new(merges.collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use candle_core::Tensor;

    use super::*;
    use crate::dice::Dice;

    #[test]
    fn what_is_written_is_read_back() -> Result<()> {
        let bpe = Bpe::learn("the cat sat on the mat", 262);
        let shape = Shape {
            vocab: 262,
            dim: 64,
            layers: 2,
            heads: 2,
            heads_kv: 1,
            ffn: 96,
        };
        let model = Model::newborn(shape, &mut Dice::new(1))?;
        let mut file = Cursor::new(Vec::new());
        write(&mut file, &model, &bpe)?;
        file.set_position(0);
        let (again, bpe_again) = read(&mut file)?;

        assert_eq!(bpe_again.tokens, bpe.tokens);
        assert_eq!(bpe_again.merges, bpe.merges);
        let tokens = Tensor::new(&[[0_u32, 40, 41, 42]], &Device::Cpu)?;
        let apart = (model.logits(&tokens)? - again.logits(&tokens)?)?
            .abs()?
            .max_all()?;
        assert!(
            apart.to_scalar::<f32>()? < 0.01,
            "eight bits keep two digits"
        );
        Ok(())
    }
}
