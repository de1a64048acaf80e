//! Many small worlds, each decided by its seed. A failure prints the seed and how to run it again.

use orchestratord_sched::sim::{self, Options, Report, Violation};

const SEEDS: u64 = 400;

/// The seeds to run: the one that was asked for, or all.
fn seeds() -> Vec<u64> {
    #[expect(clippy::disallowed_methods, reason = "only the tests are told a seed")]
    let asked = std::env::var("ORCHD_SIM_SEED");
    match asked {
        Ok(seed) => vec![seed.parse().expect("ORCHD_SIM_SEED is a whole number")],
        Err(_) => (0..SEEDS).collect(),
    }
}

fn run(seed: u64) -> Report {
    sim::run(seed, &Options::drawn(seed))
        .unwrap_or_else(|violation: Violation| panic!("{violation}"))
}

#[test]
fn no_seed_breaks_a_rule() {
    let reports: Vec<Report> = seeds().into_iter().map(run).collect();
    for report in &reports {
        let ended = report.finished + report.canceled + report.dropped;
        assert_eq!(report.admitted, ended, "{report:?}");
    }
    if reports.len() > 1 {
        // The worlds would show nothing if these never happened.
        let happened = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>() > 9;
        assert!(happened(|report| report.stolen), "tasks are stolen");
        assert!(happened(|report| report.canceled), "tasks are canceled");
        assert!(happened(|report| report.dropped), "tasks are dropped");
        assert!(happened(|report| report.refused), "tasks are refused");
        assert!(happened(|report| report.readmitted), "engines break");
        assert!(
            happened(|report| report.overtaken),
            "tasks out of reach are overtaken"
        );
        assert!(
            happened(|report| report.requests),
            "runways are out of date"
        );
    }
}

#[test]
fn a_seed_is_a_world() {
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
