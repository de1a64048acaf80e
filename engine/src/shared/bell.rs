//! Waking once a batch: one word between many who put something down and one who looks.
//!
//! Whoever puts something down rings afterwards, and wakes the other only if the bell was silent. Whoever looks
//! answers the bell *before* the look. Suppose somebody rings a bell that rings already, and so wakes nobody: the
//! swap read a value that was not answered yet. So the answering swap comes later in the order of that
//! word, reads what was written by this swap or by one after it, acquires what it released, and the look
//! that follows sees what was put down. Nothing is slept over.
//!
//! `engine/lockfree` tries that in every order of steps.

#[cfg(not(loom))]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::AcqRel;

#[cfg(loom)]
use super::model::AtomicBool;

/// Whether something was put down since the last look. Set by whoever did, cleared by who looks; each
/// swap releases to the next and acquires from the one before.
#[derive(Debug)]
pub struct Bell(AtomicBool);

impl Bell {
    /// A silent one.
    pub fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Something was put down. Whether the other is to be woken: somebody else does if the bell rang already.
    #[must_use]
    pub fn ring(&self) -> bool {
        !self.0.swap(true, AcqRel)
    }

    /// A look follows.
    pub fn answer(&self) {
        self.0.swap(false, AcqRel);
    }
}

impl Default for Bell {
    fn default() -> Self {
        Self::new()
    }
}
