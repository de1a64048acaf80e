//! What was tried, and what worked that must not.

use orchestratord_bench::Failure;

/// The count of tricks, and the sentences about those that worked.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) tried: u64,
    pub(crate) breaches: Vec<String>,
}

impl Findings {
    /// One trick more; it found what is wrong, if anything.
    pub(crate) fn tried(&mut self, trick: &str, result: Result<(), Failure>) {
        self.tried += 1;
        if let Err(Failure(why)) = result {
            self.breaches.push(format!("{trick}: {why}"));
        }
    }

    /// Those of a scene.
    pub(crate) fn add(&mut self, scene: Self) {
        self.tried += scene.tried;
        self.breaches.extend(scene.breaches);
    }
}

/// An error, unless it is so.
pub(crate) fn require(is_so: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    match is_so {
        true => Ok(()),
        false => Err(Failure(what())),
    }
}
