//! What identities have been served, as the rules count it.
//!
//! The words of [`fairness`](crate::fairness) once more, in plain numbers and without atomics, and
//! two promises in terms of tasks and tokens alone.

use super::rules::{Breach, Rule};
use crate::fairness::Flow;
use crate::urgency::Class;
use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: BTreeMap<(Class, Flow), Share>,
    virtual_time: [u64; Class::ALL.len()],
    /// Two identities that both wait, with what each had been served when that began.
    rivals: BTreeMap<(Class, Flow, Flow), (u64, u64)>,
    /// The most that any task was charged or used.
    longest: u64,
}

#[derive(Debug, Default)]
struct Share {
    tag: u64,
    balance: u64,
    waiting: u32,
    /// What its tasks have used, or what is expected of those that run.
    served: u64,
    /// It was overtaken, as is allowed, and may have to catch up.
    overtaken: bool,
    newcomer: Option<Newcomer>,
}

/// An identity's first task ever waits.
#[derive(Debug)]
struct Newcomer {
    tag: u64,
    /// By identity: how many of its tasks started since.
    passed_by: BTreeMap<Flow, u32>,
}

impl Shares {
    pub(super) fn tag(&self, class: Class, flow: Flow) -> u64 {
        self.shares[&(class, flow)].tag
    }

    pub(super) fn admitted(&mut self, class: Class, flow: Flow) {
        let now = self.virtual_time[class as usize];
        let is_new = !self.shares.contains_key(&(class, flow));
        let share = self.shares.entry((class, flow)).or_default();
        share.waiting += 1;
        if share.waiting == 1 {
            share.balance = share.balance.max(now);
            share.tag = share.balance;
        }
        if is_new {
            share.newcomer = Some(Newcomer {
                tag: now,
                passed_by: BTreeMap::new(),
            });
        }
        self.pair(class, flow);
    }

    /// A task left the queue without having run.
    pub(super) fn removed(&mut self, class: Class, flow: Flow) {
        self.share(class, flow).waiting -= 1;
        self.left(class, flow);
    }

    pub(super) fn overtaken(&mut self, class: Class, flow: Flow) {
        self.share(class, flow).overtaken = true;
        self.unpair(class, flow);
        self.pair(class, flow);
    }

    pub(super) fn started(&mut self, class: Class, flow: Flow, charge: u64) -> Result<(), Breach> {
        self.pass(class, flow)?;
        let share = self.share(class, flow);
        let started = share.tag;
        share.balance += charge;
        share.served += charge;
        share.tag = share.balance.max(share.tag + 1);
        share.waiting -= 1;
        share.newcomer = None;
        let now = &mut self.virtual_time[class as usize];
        *now = started.max(*now);
        self.longest = self.longest.max(charge);
        self.left(class, flow);
        Ok(())
    }

    pub(super) fn ended(&mut self, class: Class, flow: Flow, charge: u64, used: u64) {
        let now = self.virtual_time[class as usize];
        let share = self.share(class, flow);
        share.served = share.served + used - charge;
        share.balance = share.balance + used - charge;
        share.tag = share.balance.max(share.tag.min(now + 1));
        self.longest = self.longest.max(used);
    }

    /// Two identities that both waited all the while were served alike, but for a few tasks a slot.
    pub(super) fn check(&self, slots: u64) -> Result<(), Breach> {
        let most = 4 * (slots + 1) * self.longest;
        for ((class, one, other), (one_before, other_before)) in &self.rivals {
            let served = |flow: &Flow| self.shares[&(*class, *flow)].served;
            // What was expected and not used is taken back.
            let gain = |now: u64, before: u64| now.saturating_sub(before);
            let gains = [
                gain(served(one), *one_before),
                gain(served(other), *other_before),
            ];
            if gains[0].abs_diff(gains[1]) > most {
                let seen = format!("{one:?} and {other:?} both waited, and were served {gains:?}");
                return Err((Rule::FairShare, seen));
            }
        }
        Ok(())
    }

    /// A task of this identity starts: newcomers that wait are passed by one of each identity.
    fn pass(&mut self, class: Class, flow: Flow) -> Result<(), Breach> {
        let passing = &self.shares[&(class, flow)];
        let (tag, catches_up) = (passing.tag, passing.overtaken);
        for ((of, other), share) in &mut self.shares {
            let Some(newcomer) = share.newcomer.as_mut() else {
                continue;
            };
            // Who was itself overtaken may be first until it has caught up.
            if *of != class || *other == flow || share.overtaken {
                continue;
            }
            if catches_up && tag < newcomer.tag {
                continue;
            }
            let passed = newcomer.passed_by.entry(flow).or_default();
            *passed += 1;
            if *passed > 1 {
                let seen = format!("{passed} tasks of {flow:?} passed the first of {other:?}");
                return Err((Rule::FairShare, seen));
            }
        }
        Ok(())
    }

    fn left(&mut self, class: Class, flow: Flow) {
        let share = self.share(class, flow);
        if share.waiting == 0 {
            share.newcomer = None;
            share.overtaken = false;
            self.unpair(class, flow);
        }
    }

    fn pair(&mut self, class: Class, flow: Flow) {
        let served = self.share(class, flow).served;
        for ((of, other), share) in &self.shares {
            if *of == class && *other != flow && share.waiting > 0 {
                let (pair, begin) = if flow < *other {
                    ((class, flow, *other), (served, share.served))
                } else {
                    ((class, *other, flow), (share.served, served))
                };
                self.rivals.entry(pair).or_insert(begin);
            }
        }
    }

    fn unpair(&mut self, class: Class, flow: Flow) {
        let concerns = |(of, one, other): &(Class, Flow, Flow)| {
            *of == class && (*one == flow || *other == flow)
        };
        self.rivals.retain(|pair, _| !concerns(pair));
    }

    fn share(&mut self, class: Class, flow: Flow) -> &mut Share {
        let share = self.shares.get_mut(&(class, flow));
        share.expect("who starts, leaves or ends was admitted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class::Interactive;
    const FLOOD: Flow = Flow(0);
    const GUEST: Flow = Flow(1);

    fn rule(result: Result<(), Breach>) -> Option<Rule> {
        result.err().map(|(rule, _)| rule)
    }

    #[test]
    fn a_flood_that_passes_a_newcomer_twice_is_caught() {
        let mut shares = Shares::default();
        (0..9).for_each(|_| shares.admitted(CLASS, FLOOD));
        shares.admitted(CLASS, GUEST);
        assert_eq!(rule(shares.started(CLASS, FLOOD, 1)), None);
        assert_eq!(rule(shares.started(CLASS, FLOOD, 1)), Some(Rule::FairShare));
    }

    #[test]
    fn one_who_gets_much_more_while_another_waits_is_caught() {
        let mut shares = Shares::default();
        (0..99).for_each(|_| shares.admitted(CLASS, FLOOD));
        shares.admitted(CLASS, GUEST);
        shares.admitted(CLASS, GUEST);
        shares.started(CLASS, GUEST, 1).unwrap();
        for _ in 0..9 {
            shares.started(CLASS, FLOOD, 1).unwrap();
            assert_eq!(rule(shares.check(1)), None);
        }
        shares.started(CLASS, FLOOD, 1).unwrap();
        assert_eq!(rule(shares.check(1)), Some(Rule::FairShare));
    }
}
