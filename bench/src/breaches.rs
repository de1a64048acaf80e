//! What came of a promise under test, told at the end of a run.

use std::process::ExitCode;

/// Breaches that are printed; all are counted.
const SHOWN_MAX: usize = 10;

/// Prints how often the promise was broken, and how. The run is worth something only if it was put to the test.
#[must_use]
pub fn report(breaches: &[String], was_tested: bool) -> ExitCode {
    println!("breaches {}", breaches.len());
    for breach in breaches.iter().take(SHOWN_MAX) {
        println!("         {breach}");
    }
    match breaches.is_empty() && was_tested {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
