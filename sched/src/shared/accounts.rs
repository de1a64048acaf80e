//! What each identity has been served, over all shards.
//!
//! There are [`ACCOUNTS_MAX`] accounts in a pool. An identity has one while it waits or runs, and
//! keeps it until another needs the place and no account says less: one that the virtual time has
//! overtaken says the same as none. When more identities wait or run at once than there are accounts,
//! some share one, and are served like one identity (as in McKenney, "Stochastic Fairness Queueing",
//! INFOCOM 1990).
//!
//! Each word is changed in one step, none together with another. Two shards that act at the same
//! time see each other's charge a moment late, which costs a place in the order and never the books:
//! the balance is only added to, taken from and raised, and the tag follows it with the next task.

use super::atomic::AtomicU64;
use crate::fairness::{self, Flow, Tag};
use crate::urgency::Class;
use core::fmt;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use crossbeam_utils::CachePadded;
use std::sync::Arc;

/// How many identities of a pool are told apart while they wait or run: one bit each in a word, so
/// that a shard can say in one word whose tasks it has.
pub const ACCOUNTS_MAX: usize = if cfg!(loom) { 2 } else { 64 };

/// One of the pool's accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AccountIndex(u8);

impl AccountIndex {
    /// How many bits tell it.
    pub(super) const BITS: u32 = ACCOUNTS_MAX.ilog2();

    fn nth(index: usize) -> Self {
        let index = u8::try_from(index % ACCOUNTS_MAX);
        Self(index.expect("there are fewer accounts than a byte counts"))
    }

    pub(crate) fn at(self) -> usize {
        self.0.into()
    }

    pub(super) fn from_bits(bits: u64) -> Self {
        const MASK: u64 = ACCOUNTS_MAX as u64 - 1;
        Self((bits & MASK) as u8)
    }
}

/// Some of the pool's accounts, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AccountSet(pub(super) u64);

impl AccountSet {
    pub(crate) const fn insert(&mut self, account: AccountIndex) {
        self.0 |= 1 << account.0;
    }

    pub(crate) const fn remove(&mut self, account: AccountIndex) {
        self.0 &= !(1 << account.0);
    }

    pub(crate) const fn contains(self, account: AccountIndex) -> bool {
        self.0 & 1 << account.0 != 0
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = AccountIndex> {
        let mut rest = self.0;
        core::iter::from_fn(move || {
            let bit = (rest != 0).then(|| rest.trailing_zeros())?;
            rest &= rest - 1;
            Some(AccountIndex::from_bits(bit.into()))
        })
    }
}

pub(super) struct Accounts {
    accounts: Box<[CachePadded<Account>]>,
    /// By class: the greatest tag that a task has started with. Raised by whoever starts one, read
    /// by whoever admits one. Only the number matters: `Relaxed`.
    virtual_time: CachePadded<[AtomicU64; Class::ALL.len()]>,
}

struct Account {
    /// [`Holder`], packed. Written by shards that admit, and by whoever ends a task (`AcqRel`).
    holder: AtomicU64,
    sides: [Side; Class::ALL.len()],
}

/// The part of an account that is about one class. Written by whoever admits, starts, ends or removes
/// a task of it, read by all. These only count: no other memory is read on their word.
#[derive(Default)]
struct Side {
    /// See [`fairness`](crate::fairness). Written after the balance that it follows.
    tag: AtomicU64,
    /// See [`fairness`](crate::fairness).
    balance: AtomicU64,
    /// Tasks that wait.
    queued: AtomicU64,
    /// What will be charged for them.
    tokens_queued: AtomicU64,
}

/// Who has an account, and how many tasks of theirs wait or run.
#[derive(Clone, Copy)]
struct Holder {
    flow: Flow,
    tasks: u32,
}

impl Holder {
    const fn pack(self) -> u64 {
        (self.flow.0 as u64) << 32 | self.tasks as u64
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "each half of the word is 32 bits wide"
    )]
    const fn unpack(word: u64) -> Self {
        Self {
            flow: Flow((word >> 32) as u32),
            tasks: word as u32,
        }
    }
}

impl Account {
    fn new() -> Self {
        let nobody = Holder {
            flow: Flow(0),
            tasks: 0,
        };
        Self {
            holder: AtomicU64::new(nobody.pack()),
            sides: Class::ALL.map(|_| Side::default()),
        }
    }

    fn holder(&self) -> Holder {
        Holder::unpack(self.holder.load(Acquire))
    }

    /// One task more for this holder; `None` if the account's holder is no longer as it was `seen`.
    fn join(&self, seen: Holder, flow: Flow) -> Option<()> {
        let joined = Holder {
            flow,
            tasks: seen.tasks + 1,
        };
        self.holder
            .compare_exchange(seen.pack(), joined.pack(), AcqRel, Relaxed)
            .ok()
            .map(drop)
    }

    fn leave(&self) {
        let before = Holder::unpack(self.holder.fetch_sub(1, AcqRel));
        debug_assert!(before.tasks > 0, "who leaves has joined");
    }
}

impl Side {
    fn tag(&self) -> Tag {
        Tag(self.tag.load(Acquire))
    }

    fn balance(&self) -> u64 {
        self.balance.load(Acquire)
    }

    /// The first task comes that waits.
    fn begin(&self, virtual_time: Tag) {
        self.balance.fetch_max(virtual_time.0, AcqRel);
        self.tag.store(self.balance(), Release);
    }

    /// Answers the tag before.
    fn charge(&self, tokens: u64) -> Tag {
        self.balance.fetch_add(tokens, AcqRel);
        self.follow(|tag| tag + 1)
    }

    fn settle(&self, charged: u64, used: u64, virtual_time: Tag) {
        self.balance.fetch_add(used, AcqRel);
        self.balance.fetch_sub(charged, AcqRel);
        self.follow(|tag| tag.min(virtual_time.0 + 1));
    }

    /// Lets the tag follow the balance, down to a bound; answers the tag before.
    fn follow(&self, at_least: impl Fn(u64) -> u64) -> Tag {
        let follow = |tag| Some(self.balance().max(at_least(tag)));
        let before = self.tag.fetch_update(AcqRel, Acquire, follow);
        Tag(before.unwrap_or_else(|tag| tag))
    }

    fn enqueue(&self, tokens: u64) -> u64 {
        self.tokens_queued.fetch_add(tokens, AcqRel);
        self.queued.fetch_add(1, AcqRel)
    }

    fn dequeue(&self, tokens: u64) {
        self.tokens_queued.fetch_sub(tokens, AcqRel);
        self.queued.fetch_sub(1, AcqRel);
    }

    /// How many of the tasks that wait will start with a tag up to this one, if all are about as
    /// long.
    fn starts_until(&self, tag: Tag) -> u64 {
        let queued = self.queued.load(Acquire);
        if queued == 0 {
            return 0;
        }
        let Some(lead) = tag.0.checked_sub(self.tag().0) else {
            return 0;
        };
        let length = self.tokens_queued.load(Acquire) / queued;
        queued.min(lead / length.max(1) + 1)
    }
}

impl Accounts {
    pub(super) fn new() -> Self {
        let account = || CachePadded::new(Account::new());
        Self {
            accounts: core::iter::repeat_with(account)
                .take(ACCOUNTS_MAX)
                .collect(),
            virtual_time: CachePadded::default(),
        }
    }

    /// A task comes in.
    pub(super) fn enter(&self, flow: Flow, class: Class, tokens: u64) -> AccountIndex {
        let account = self.join(flow);
        let side = self.side(account, class);
        if side.enqueue(tokens) == 0 {
            side.begin(self.virtual_time(class));
        }
        account
    }

    /// A task that waited leaves without having run.
    pub(super) fn withdraw(&self, account: AccountIndex, class: Class, tokens: u64) {
        self.side(account, class).dequeue(tokens);
        self.accounts[account.at()].leave();
    }

    /// A task that waited starts.
    pub(super) fn charge(
        self: &Arc<Self>,
        account: AccountIndex,
        class: Class,
        tokens: u64,
    ) -> Bill {
        let side = self.side(account, class);
        let started = side.charge(tokens);
        side.dequeue(tokens);
        self.virtual_time[class as usize].fetch_max(started.0, Relaxed);
        Bill {
            accounts: Arc::clone(self),
            account,
            class,
            charged: tokens,
        }
    }

    pub(super) fn tag(&self, account: AccountIndex, class: Class) -> Tag {
        self.side(account, class).tag()
    }

    pub(super) fn account_of(&self, flow: Flow) -> Option<AccountIndex> {
        self.find(flow).map(|(account, _)| account)
    }

    /// How many tasks of this class the identity has waiting.
    pub(super) fn queued(&self, flow: Flow, class: Class) -> u32 {
        let own = self.account_of(flow);
        let queued = own.map_or(0, |own| self.side(own, class).queued.load(Acquire));
        u32::try_from(queued).unwrap_or(u32::MAX)
    }

    /// How many waiting tasks of this class start before the next that this identity brings.
    pub(super) fn ahead_of(&self, flow: Flow, class: Class) -> u64 {
        let own = self.account_of(flow);
        let own_side = own.map(|account| self.side(account, class));
        let queued = own_side.map_or(0, |side| side.queued.load(Acquire));
        let start = match own_side {
            Some(side) if queued > 0 => side.tag().after(side.tokens_queued.load(Acquire)),
            Some(side) => Tag(side.balance()).max(self.virtual_time(class)),
            None => self.virtual_time(class),
        };
        let others = (0..ACCOUNTS_MAX).map(AccountIndex::nth);
        let others = others.filter(|account| Some(*account) != own);
        let ahead = |account| self.side(account, class).starts_until(start);
        queued + others.map(ahead).sum::<u64>()
    }

    fn side(&self, account: AccountIndex, class: Class) -> &Side {
        &self.accounts[account.at()].sides[class as usize]
    }

    fn virtual_time(&self, class: Class) -> Tag {
        Tag(self.virtual_time[class as usize].load(Relaxed))
    }

    /// The identity's account, or one that is forgotten for it, or the one that it must share.
    ///
    /// Two shards that admit an identity's first tasks at the same moment look in the same order, so
    /// they find the same one; if a third meddles they may find two, until it is idle again.
    fn join(&self, flow: Flow) -> AccountIndex {
        loop {
            if let Some((account, seen)) = self.find(flow) {
                if self.accounts[account.at()].join(seen, flow).is_some() {
                    return account;
                }
            } else if let Some((account, seen)) = self.forgettable(flow) {
                if self.accounts[account.at()].join(seen, flow).is_some() {
                    self.forget(account);
                    return account;
                }
            } else {
                let shared = first_choice(flow);
                let seen = self.accounts[shared.at()].holder();
                if self.accounts[shared.at()].join(seen, seen.flow).is_some() {
                    return shared;
                }
            }
        }
    }

    fn find(&self, flow: Flow) -> Option<(AccountIndex, Holder)> {
        self.holders(flow).find(|(_, holder)| holder.flow == flow)
    }

    /// Of the accounts that nobody uses, the one that says least.
    fn forgettable(&self, flow: Flow) -> Option<(AccountIndex, Holder)> {
        self.holders(flow)
            .filter(|(_, holder)| holder.tasks == 0)
            .min_by_key(|(account, _)| self.lead(*account))
    }

    /// How far the account is ahead of who has none.
    fn lead(&self, account: AccountIndex) -> u64 {
        let lead = |class| {
            let balance = self.side(account, class).balance();
            balance.saturating_sub(self.virtual_time(class).0)
        };
        Class::ALL.into_iter().map(lead).sum()
    }

    fn forget(&self, account: AccountIndex) {
        for class in Class::ALL {
            let side = self.side(account, class);
            side.balance.store(self.virtual_time(class).0, Release);
        }
    }

    /// All accounts, in the order in which this identity tries them.
    fn holders(&self, flow: Flow) -> impl Iterator<Item = (AccountIndex, Holder)> {
        let first = first_choice(flow).at();
        (first..first + ACCOUNTS_MAX).map(|index| {
            let account = AccountIndex::nth(index);
            (account, self.accounts[account.at()].holder())
        })
    }
}

/// Numbers that are given in a row find places in a row, and so does a hash.
fn first_choice(flow: Flow) -> AccountIndex {
    AccountIndex::from_bits(flow.0.into())
}

/// What a running task was charged, to be settled when it ends.
///
/// If it is dropped instead, the charge stands.
#[must_use = "a bill that is not settled charges what was expected"]
pub struct Bill {
    accounts: Arc<Accounts>,
    account: AccountIndex,
    class: Class,
    charged: u64,
}

impl Bill {
    /// The task has ended, and used so many tokens.
    pub fn settle(mut self, used: u64) {
        self.correct(fairness::charge(used));
    }

    /// The task came to nothing, and not by its own fault.
    pub(crate) fn refund(&mut self) {
        self.correct(fairness::charge(0));
    }

    fn correct(&mut self, charge: u64) {
        let side = self.accounts.side(self.account, self.class);
        let virtual_time = self.accounts.virtual_time(self.class);
        side.settle(self.charged, charge, virtual_time);
        self.charged = charge;
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        self.accounts.accounts[self.account.at()].leave();
    }
}

impl fmt::Debug for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bill").field(&self.charged).finish()
    }
}
