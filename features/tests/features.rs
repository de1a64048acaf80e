//! `cargo test --workspace` holds the daemon to its promises too.

use orchestratord_bdd::{Options, run};

#[test]
fn the_features_hold() {
    let verdict = run(&Options::default()).unwrap();
    assert!(verdict.passed > 0, "no scenario has run");
    assert_eq!(
        verdict.failed, 0,
        "scenarios have failed; what they saw stands above"
    );
}
