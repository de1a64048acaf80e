//! GGUF: the file that a model comes in, read from bytes that nobody vouches for.
//!
//! A header counts what follows, then come metadata (typed values by key), then the description of
//! each tensor, then the tensors themselves, aligned. Format: `docs/gguf.md` of the ggml project,
//! versions 2 and 3, little-endian.
//!
//! The library that does our arithmetic reads such files too, but divides by an alignment that it
//! was told, and multiplies sizes that it was told. Here every length is compared with what is left
//! of the file before anything is allocated or multiplied: a file can be refused, and nothing else.

use super::LoadError;
use candle_core::quantized::{GgmlDType, QTensor, ggml_file};
use candle_core::{DType, Device};
use std::collections::BTreeMap;

const MAGIC: &[u8] = b"GGUF";
/// Where tensors are aligned to when the file does not say.
const ALIGNMENT_DEFAULT: u64 = 32;
/// The most dimensions a tensor may have (`GGML_MAX_DIMS`).
const DIMENSIONS_MAX: u32 = 4;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    Text(String),
    Array(Vec<Value>),
}

/// Where a tensor stands, and what it is.
#[derive(Clone, Debug)]
struct Extent {
    kind: u32,
    /// The innermost dimension first, as in the file.
    dimensions: Vec<usize>,
    offset: u64,
}

/// A file whose header was read.
pub(super) struct File<'a> {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, Extent>,
    /// What follows the header.
    data: &'a [u8],
}

impl<'a> File<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut reader = Reader { rest: bytes };
        if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) || bytes.is_empty() {
            return Err(LoadError::NotGguf);
        }
        reader.take(MAGIC.len() as u64)?;
        match reader.u32()? {
            2 | 3 => {}
            version => return Err(LoadError::Version(version)),
        }
        let tensors = reader.u64()?;
        let values = reader.u64()?;
        let metadata = (0..values)
            .map(|_| Ok((reader.text()?, reader.value()?)))
            .collect::<Result<BTreeMap<_, _>, LoadError>>()?;
        let tensors = (0..tensors)
            .map(|_| Ok((reader.text()?, reader.extent()?)))
            .collect::<Result<BTreeMap<_, _>, LoadError>>()?;
        let header = (bytes.len() - reader.rest.len()) as u64;
        let padding = header.next_multiple_of(alignment(&metadata)?) - header;
        let data = match tensors.is_empty() {
            true => reader.rest,
            false => reader.after(padding)?,
        };
        Ok(Self {
            metadata,
            tensors,
            data,
        })
    }

    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, LoadError> {
        match self.value(key) {
            Some(Value::Text(text)) => Ok(text),
            value => Err(LoadError::unusable(key, value)),
        }
    }

    pub(super) fn texts(&self, key: &str) -> Result<Vec<&str>, LoadError> {
        let unusable = || LoadError::unusable(key, self.value(key));
        let Some(Value::Array(values)) = self.value(key) else {
            return Err(unusable());
        };
        let texts = values.iter().map(|value| match value {
            Value::Text(text) => Ok(text.as_str()),
            _ => Err(unusable()),
        });
        texts.collect()
    }

    /// The numbers of an array, or `None` if there is none of that name.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<f64>> {
        let Some(Value::Array(values)) = self.value(key) else {
            return None;
        };
        let numbers = values.iter().map(|value| match value {
            #[expect(
                clippy::cast_precision_loss,
                reason = "kinds and scores are small numbers"
            )]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        });
        numbers.collect()
    }

    pub(super) fn u32(&self, key: &str) -> Result<u32, LoadError> {
        let number = match self.value(key) {
            Some(Value::Integer(number)) => u32::try_from(*number).ok(),
            _ => None,
        };
        number.ok_or_else(|| LoadError::unusable(key, self.value(key)))
    }

    /// The number, or `default` if the key is not there.
    pub(super) fn f32_or(&self, key: &str, default: f32) -> Result<f32, LoadError> {
        match self.value(key) {
            None => Ok(default),
            #[expect(clippy::cast_possible_truncation, reason = "rounding is meant")]
            Some(Value::Float(number)) if number.is_finite() => Ok(*number as f32),
            value => Err(LoadError::unusable(key, value)),
        }
    }

    pub(super) fn bool_or(&self, key: &str, default: bool) -> Result<bool, LoadError> {
        match self.value(key) {
            None => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            value => Err(LoadError::unusable(key, value)),
        }
    }

    pub(super) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// A matrix of `rows` by `columns`, as it is stored.
    pub(super) fn matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<QTensor, LoadError> {
        self.tensor(name, &[columns, rows])
    }

    /// A vector, as plain numbers.
    pub(super) fn vector(&self, name: &str, length: usize) -> Result<Vec<f32>, LoadError> {
        let unusable = |error: candle_core::Error| LoadError::tensor(name, error.to_string());
        let tensor = self.tensor(name, &[length])?.dequantize(&Device::Cpu);
        let tensor = tensor
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(unusable)?;
        tensor.to_vec1().map_err(unusable)
    }

    fn tensor(&self, name: &str, dimensions: &[usize]) -> Result<QTensor, LoadError> {
        let extent = self
            .tensors
            .get(name)
            .ok_or_else(|| LoadError::MissingTensor(name.to_owned()))?;
        if extent.dimensions != dimensions {
            let shape = format!("it is {:?} and should be {dimensions:?}", extent.dimensions);
            return Err(LoadError::tensor(name, shape));
        }
        let kind = kind(extent.kind).ok_or_else(|| {
            LoadError::tensor(
                name,
                format!("its type {} is none that can be computed with", extent.kind),
            )
        })?;
        // An aligned copy: blocks are read through pointers of their own type.
        let bytes = self.bytes(name, kind, extent)?.to_vec();
        let outermost_first = dimensions.iter().rev().copied().collect();
        ggml_file::qtensor_from_ggml(kind, &bytes, outermost_first, &Device::Cpu)
            .map_err(|error| LoadError::tensor(name, error.to_string()))
    }

    fn bytes(&self, name: &str, kind: GgmlDType, extent: &Extent) -> Result<&[u8], LoadError> {
        let (columns, block) = (extent.dimensions[0], kind.block_size());
        if !columns.is_multiple_of(block) {
            let odd = format!("its rows of {columns} are not made of whole blocks of {block}");
            return Err(LoadError::tensor(name, odd));
        }
        let elements = extent
            .dimensions
            .iter()
            .try_fold(1_usize, |product, length| product.checked_mul(*length));
        let length = elements.and_then(|count| (count / block).checked_mul(kind.type_size()));
        let start = usize::try_from(extent.offset).ok();
        start
            .zip(length)
            .and_then(|(start, length)| self.data.get(start..start.checked_add(length)?))
            .ok_or(LoadError::Truncated)
    }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, LoadError> {
    const KEY: &str = "general.alignment";
    match metadata.get(KEY) {
        None => Ok(ALIGNMENT_DEFAULT),
        Some(Value::Integer(alignment)) if (1..=1 << 20).contains(alignment) => {
            Ok(u64::try_from(*alignment).unwrap_or(ALIGNMENT_DEFAULT))
        }
        value => Err(LoadError::unusable(KEY, value)),
    }
}

/// `ggml_type` of the ggml project, as far as the arithmetic goes.
const fn kind(number: u32) -> Option<GgmlDType> {
    Some(match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

/// Takes values off the front of the file.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], LoadError> {
        let length = usize::try_from(length).map_err(|_| LoadError::Truncated)?;
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(LoadError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// What is left after some bytes are skipped.
    fn after(mut self, skipped: u64) -> Result<&'a [u8], LoadError> {
        self.take(skipped)?;
        Ok(self.rest)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let taken = self.take(N as u64)?;
        Ok(taken.try_into().expect("as many were taken as are wanted"))
    }

    fn u32(&mut self) -> Result<u32, LoadError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, LoadError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Some files hold text that is not UTF-8 (pieces of characters as tokens): it is shown as
    /// well as can be.
    fn text(&mut self) -> Result<String, LoadError> {
        let length = self.u64()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    fn value(&mut self) -> Result<Value, LoadError> {
        let kind = self.u32()?;
        if kind != 9 {
            return self.plain_value(kind);
        }
        let kind = self.u32()?;
        let length = self.u64()?;
        // Each element takes a byte at least, so a false length ends with the file. Arrays of
        // arrays are in no file that we could run.
        (0..length)
            .map(|_| self.plain_value(kind))
            .collect::<Result<_, _>>()
            .map(Value::Array)
    }

    fn plain_value(&mut self, kind: u32) -> Result<Value, LoadError> {
        Ok(match kind {
            0 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(self.u32()?.into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()? != [0]),
            8 => Value::Text(self.text()?),
            10 => Value::Integer(self.u64()?.into()),
            11 => Value::Integer(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            kind => return Err(LoadError::ValueType(kind)),
        })
    }

    fn extent(&mut self) -> Result<Extent, LoadError> {
        let count = self.u32()?;
        if !(1..=DIMENSIONS_MAX).contains(&count) {
            return Err(LoadError::Dimensions(count));
        }
        let dimensions = (0..count)
            .map(|_| usize::try_from(self.u64()?).map_err(|_| LoadError::Truncated))
            .collect::<Result<_, _>>()?;
        Ok(Extent {
            dimensions,
            kind: self.u32()?,
            offset: self.u64()?,
        })
    }
}
