//! What the storm amounts to.

use crate::Kill;
use crate::stream::Outcome;
use orchestratord_bench::breaches;
use rustix::process::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

/// What a stream ends with whose engine has died after its first word.
const CUT: &str = "WORKER_RESET";

/// Counts, and what broke the promise.
#[derive(Debug)]
pub(crate) struct Verdict {
    took: Duration,
    kills: Vec<Kill>,
    retried: BTreeSet<String>,
    tasks: u64,
    ended: u64,
    failed: BTreeMap<String, u64>,
    equal: u64,
    retried_equal: u64,
    prefixes: u64,
    breaches: Vec<String>,
}

impl Verdict {
    pub(crate) fn new(took: Duration, kills: Vec<Kill>, retried: BTreeSet<String>) -> Self {
        Self {
            took,
            kills,
            retried,
            tasks: 0,
            ended: 0,
            failed: BTreeMap::new(),
            equal: 0,
            retried_equal: 0,
            prefixes: 0,
            breaches: Vec::new(),
        }
    }

    /// Holds a task against what an engine says that nobody disturbs.
    pub(crate) fn judge(&mut self, outcome: &Outcome, undisturbed: &str) {
        self.tasks += 1;
        let fault = match &outcome.error {
            None => self.judge_ended(outcome, undisturbed),
            Some(code) => self.judge_failed(code, outcome, undisturbed),
        };
        if let Err(fault) = fault {
            let Outcome { task_id, text, .. } = outcome;
            let told = format!("{task_id} {fault}: {text:?} for {undisturbed:?}");
            self.breaches.push(told);
        }
    }

    fn judge_ended(&mut self, outcome: &Outcome, undisturbed: &str) -> Result<(), &'static str> {
        self.ended += 1;
        if outcome.text != undisturbed {
            return Err("ended with another text");
        }
        self.equal += 1;
        self.retried_equal += u64::from(self.retried.contains(&outcome.task_id));
        Ok(())
    }

    /// Only whom a kill has cut may fail, and what it had been told stays true.
    fn judge_failed(
        &mut self,
        code: &str,
        outcome: &Outcome,
        undisturbed: &str,
    ) -> Result<(), &'static str> {
        *self.failed.entry(code.to_owned()).or_default() += 1;
        let (begun, over) = outcome.lasted;
        let hit = |kill: &Kill| {
            Some(kill.replica) == outcome.replica && (begun..=over).contains(&kill.at)
        };
        if code != CUT {
            return Err("failed with another code");
        }
        if !self.kills.iter().any(hit) {
            return Err("failed on an engine that lived");
        }
        if outcome.text.is_empty() {
            return Err("failed before its first word");
        }
        if !undisturbed.starts_with(&outcome.text) {
            return Err("was cut, and had another text");
        }
        self.prefixes += 1;
        Ok(())
    }

    /// Engines that have outlived their daemon.
    pub(crate) fn survivors(&mut self, pids: &[Pid]) {
        let told = pids.iter().map(|pid| format!("process {pid:?} lives on"));
        self.breaches.extend(told);
    }

    /// Prints it; success if the promise held and something was shown.
    pub(crate) fn report(&self) -> ExitCode {
        println!("took     {:.1} s", self.took.as_secs_f64());
        println!("kills    {}, each taken back", self.kills.len());
        println!("tasks    {}, {} ended", self.tasks, self.ended);
        for (code, count) in &self.failed {
            println!("failed   {count} with {code}");
        }
        println!(
            "retried  {}, {} of them ended with an equal text",
            self.retried.len(),
            self.retried_equal
        );
        println!(
            "texts    {} equal to an undisturbed engine's, {} cut short and equal so far",
            self.equal, self.prefixes
        );
        breaches::report(&self.breaches, self.ended > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Request;
    use std::time::Instant;

    /// The fault of a task on engine 0 that ran while engine `killed` was killed, if it has one.
    fn fault(killed: usize, text: &str, error: Option<&str>) -> Option<String> {
        let begun = Instant::now();
        let [at, over] = [1, 2].map(|ms| begun + Duration::from_millis(ms));
        let kill = Kill {
            replica: killed,
            at,
        };
        let mut verdict = Verdict::new(Duration::ZERO, vec![kill], BTreeSet::new());
        let outcome = Outcome {
            request: Request::draw(1, 1),
            task_id: "t".to_owned(),
            replica: Some(0),
            text: text.to_owned(),
            error: error.map(str::to_owned),
            lasted: (begun, over),
        };
        verdict.judge(&outcome, "once upon");
        verdict.breaches.pop()
    }

    #[test]
    fn a_text_is_whole_or_cut_by_a_kill() {
        assert_eq!(fault(1, "once upon", None), None);
        assert_eq!(fault(0, "once", Some(CUT)), None);
    }

    #[test]
    fn whatever_else_happens_is_a_breach() {
        for (killed, text, error) in [
            (0, "once", None),
            (0, "twice upon", None),
            (1, "once", Some(CUT)),
            (0, "twice", Some(CUT)),
            (0, "", Some(CUT)),
            (0, "once", Some("INTERNAL")),
        ] {
            assert!(fault(killed, text, error).is_some(), "{text} {error:?}");
        }
    }
}
