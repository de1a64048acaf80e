//! A weight matrix times some rows, each row computed as if it were alone.
//!
//! The library quantizes each row, and takes its dot product with each row of the weights, so what
//! comes out for a row does not depend on its neighbours; but which kernel does it, and so how it
//! rounds, may depend on how many rows there are. Text that depended on who else is being served
//! would be text that a seed can't bring back. So the number of rows is kept where the choice is
//! always the same: on x86-64 two to thirty-one (one row of Q6_K takes another kernel, as do
//! thirty-two of Q4_K where there is AMX), elsewhere one. Source: `quantized/repack*.rs` of
//! candle-core 0.11.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Result, Tensor};

/// The most rows that are computed together.
const ROWS_MAX: usize = if cfg!(target_arch = "x86_64") { 31 } else { 1 };

/// Weights of one linear layer, without a bias.
pub(super) struct Linear {
    weights: QTensor,
    outputs: usize,
    inputs: usize,
}

impl Linear {
    /// A layer that makes as many outputs as the matrix has rows.
    pub(super) fn new(weights: QTensor) -> Result<Self> {
        let (outputs, inputs) = weights.shape().dims2()?;
        Ok(Self {
            weights,
            outputs,
            inputs,
        })
    }

    /// The products of all rows of `input`, one after the other.
    pub(super) fn apply(&self, input: &[f32]) -> Result<Vec<f32>> {
        let mut output = Vec::with_capacity(input.len() / self.inputs * self.outputs);
        for rows in input.chunks(ROWS_MAX * self.inputs) {
            output.extend(self.apply_together(rows)?);
        }
        Ok(output)
    }

    fn apply_together(&self, input: &[f32]) -> Result<Vec<f32>> {
        let count = input.len() / self.inputs;
        let mut input = input.to_vec();
        let is_padded =
            cfg!(target_arch = "x86_64") && count == 1 && self.weights.dtype() == GgmlDType::Q6K;
        if is_padded {
            input.resize(2 * self.inputs, 0.0);
        }
        let rows = input.len() / self.inputs;
        let input = Tensor::from_vec(input, (rows, self.inputs), &candle_core::Device::Cpu)?;
        let mut output = input
            .apply_op1_no_bwd(&self.weights)?
            .flatten_all()?
            .to_vec1()?;
        output.truncate(count * self.outputs);
        Ok(output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    const INPUTS: usize = 256;
    const OUTPUTS: usize = 64;

    /// Numbers that look random, the same every time.
    fn numbers(count: usize) -> Vec<f32> {
        let mut state = 1_u32;
        let number = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(state >> 16).unwrap()) / 32_768.0 - 1.0
        };
        std::iter::repeat_with(number).take(count).collect()
    }

    fn linear(kind: GgmlDType) -> Linear {
        let weights = numbers(OUTPUTS * INPUTS);
        let weights = Tensor::from_vec(weights, (OUTPUTS, INPUTS), &Device::Cpu).unwrap();
        Linear::new(QTensor::quantize(&weights, kind).unwrap()).unwrap()
    }

    #[test]
    fn a_row_is_the_same_to_the_last_bit_alone_and_among_others() {
        use GgmlDType::{BF16, F16, F32, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0};
        let rows = numbers(70 * INPUTS);
        for kind in [
            F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K,
        ] {
            let linear = linear(kind);
            let alone: Vec<f32> = rows
                .chunks(INPUTS)
                .flat_map(|row| linear.apply(row).unwrap())
                .collect();
            for together in [2, 3, 16, 31, 32, 33, 70] {
                let rows = &rows[..together * INPUTS];
                let outputs = linear.apply(rows).unwrap();
                assert_eq!(
                    outputs,
                    alone[..together * OUTPUTS],
                    "{kind:?}, {together} rows"
                );
            }
        }
    }
}
