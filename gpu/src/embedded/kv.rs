//! The KV cache of one slot: what attention remembers of the tokens that a sequence has so far.
//!
//! Keys and values of each layer stand in one vector each, a token after the other. A slot that is
//! given to the next sequence keeps its memory, so a warmed-up engine allocates none of it again.

/// Keys and values of one layer.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) keys: Vec<f32>,
    pub(super) values: Vec<f32>,
}

/// One slot's cache.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) layers: Vec<Layer>,
}

impl Cache {
    /// An empty one.
    pub(super) fn new(layers: usize) -> Self {
        Self {
            layers: core::iter::repeat_with(Layer::default)
                .take(layers)
                .collect(),
        }
    }

    /// Forgets all but the first `tokens` of the `held` that it holds.
    pub(super) fn truncate(&mut self, held: usize, tokens: usize) {
        for layer in &mut self.layers {
            for numbers in [&mut layer.keys, &mut layer.values] {
                numbers.truncate(numbers.len() / held.max(1) * tokens);
            }
        }
    }

    /// How large it is.
    pub(super) fn bytes(&self) -> usize {
        let numbers = |layer: &Layer| layer.keys.len() + layer.values.len();
        self.layers.iter().map(numbers).sum::<usize>() * size_of::<f32>()
    }

    /// Forgets everything and keeps the memory.
    pub(super) fn clear(&mut self) {
        for layer in &mut self.layers {
            layer.keys.clear();
            layer.values.clear();
        }
    }
}
