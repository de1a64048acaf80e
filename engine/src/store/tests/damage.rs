//! Damaged files: what can be read goes on, nothing runs twice, nothing is told wrong.

use std::{collections::BTreeSet, ops::RangeInclusive, os::unix::fs::FileExt as _};

use orchestratord_sched::prng::Prng;

use super::{
    super::{pages::Pages, task},
    journal::{a_promise, complete, give, view},
    *,
};

const WAITING: RangeInclusive<u128> = 1..=60;
const BEGUN: RangeInclusive<u128> = 41..=45;
const ENDED: RangeInclusive<u128> = 101..=130;
const PAGE_BYTES: usize = 4096;

/// A store's file as a daemon leaves it that is killed.
fn a_file() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        outcomes_max: 1000,
        ..settings()
    };
    let (store, running, _) = start(dir.path(), settings).unwrap();
    register(&store, "tale");
    put(&store, "a plan").unwrap();
    for id in WAITING.chain(ENDED) {
        give(&store, a_promise(id, &"once upon a time ".repeat(20)));
    }
    for id in BEGUN {
        let id = Uuid::from_u128(id);
        told(
            store
                .ask(move |books| task::begin(books, id).map(Ok))
                .unwrap(),
        )
        .unwrap();
    }
    ENDED.for_each(|id| complete(&store, id));
    let bytes = fs::read(dir.path().join(FILE)).unwrap();
    running.close();
    bytes
}

/// What a daemon makes of the file, and of what it has made of it.
struct Life {
    dir: TempDir,
    waiting: BTreeSet<u128>,
    reset: BTreeSet<u128>,
    completed: BTreeSet<u128>,
}

fn live(bytes: &[u8]) -> Result<Life, StartError> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(FILE), bytes).unwrap();
    let settings = StoreSettings {
        outcomes_max: 1000,
        ..settings()
    };
    let (store, running, found) = start(dir.path(), settings.clone())?;
    let waiting: BTreeSet<_> = found.promises.iter().map(|it| it.id.as_u128()).collect();
    let body = a_promise(1, &"once upon a time ".repeat(20)).body;
    assert!(
        found.promises.iter().all(|it| it.body == body),
        "a word is wrong"
    );
    let with = |state: &str| {
        let is = |id: &u128| view(&store, *id).is_ok_and(|view| view["state"] == state);
        WAITING.chain(ENDED).filter(is).collect()
    };
    let (reset, completed) = (with("failed"), with("completed"));
    running.close();
    drop(store);
    let (_, running, again) = start(dir.path(), settings)?;
    let again: BTreeSet<_> = again.promises.iter().map(|it| it.id.as_u128()).collect();
    assert_eq!(again, waiting, "the next life finds the same");
    running.close();
    Ok(Life {
        dir,
        waiting,
        reset,
        completed,
    })
}

impl Life {
    /// Nothing runs twice, or is said to have been completed if it has not.
    fn is_honest(&self) {
        assert!(self.waiting.is_disjoint(&BEGUN.collect()), "begun twice");
        assert!(self.waiting.is_disjoint(&ENDED.collect()), "run twice");
        assert!(self.completed.is_subset(&ENDED.collect()));
    }

    fn is_complete(&self) {
        self.is_honest();
        let all = WAITING.count() + ENDED.count();
        let known = self.waiting.len() + self.reset.len() + self.completed.len();
        assert_eq!(known, all);
    }

    fn was_damaged(&self) -> bool {
        self.dir.path().join("store.redb.damaged").exists()
    }
}

#[test]
fn what_redb_writes_is_read_without_it() {
    let bytes = a_file();
    let life = live(&bytes).unwrap();
    life.is_complete();
    assert!(!life.was_damaged());
    assert_eq!(life.reset, BEGUN.collect());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::open(&path).unwrap();
    let pages = Pages::of(&file).unwrap();
    let head = pages.head().unwrap().unwrap();
    let tables = pages.tables(head.newest).unwrap();
    let rows = |name: &str| pages.rows(&tables.found[name]).unwrap().found.len();
    assert_eq!(rows("task_promises"), WAITING.count());
    assert_eq!(rows("task_outcomes"), ENDED.count());
    assert_eq!(rows("models"), 1);
}

/// One bit in each page, one page after the other: what the others say goes on.
#[test]
fn a_bit_of_any_page_costs_what_the_page_says_and_no_more() {
    let bytes = a_file();
    let (mut whim, mut damaged) = (Prng::new(1, "bits"), 0);
    for page in (PAGE_BYTES..bytes.len()).step_by(PAGE_BYTES) {
        let used = bytes[page..][..PAGE_BYTES]
            .iter()
            .rposition(|byte| *byte != 0);
        let Some(used) = used else { continue };
        let mut flipped = bytes.clone();
        let at = page + usize::try_from(whim.within(0..=used as u64)).unwrap();
        flipped[at] ^= 1 << whim.within(0..=7);
        let life = live(&flipped).unwrap();
        life.is_honest();
        let known = life.waiting.len() + life.reset.len() + life.completed.len();
        assert!(known >= 60, "page {page}: only {known} are known");
        damaged += u32::from(life.was_damaged());
    }
    assert!(damaged > 10, "only {damaged} pages were in use");
}

/// The head says where everything is.
#[test]
fn no_bit_of_the_head_makes_an_older_commit_the_newest() {
    let bytes = a_file();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE);
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().read(true).write(true).open(&path);
    let file = file.unwrap();
    let pages = Pages::of(&file).unwrap();
    let newest = pages.head().unwrap().unwrap().newest.unwrap();
    for bit in 0..320 * 8 {
        let (at, flipped) = (bit / 8, [bytes[bit / 8] ^ 1 << (bit % 8)]);
        file.write_at(&flipped, at as u64).unwrap();
        let head = pages.head().unwrap().unwrap();
        if pages.are_whole(&head).unwrap() {
            assert_eq!(head.newest.unwrap().number, newest.number, "bit {bit}");
        }
        file.write_at(&bytes[at..=at], at as u64).unwrap();
    }
}

/// A bit of it costs at most the last commit.
#[test]
fn no_damage_of_the_head_makes_a_task_run_twice() {
    let bytes = a_file();
    for at in (0..320).step_by(13) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let life = live(&flipped).unwrap();
        life.is_honest();
        let known = life.waiting.len() + life.reset.len() + life.completed.len();
        assert!(known >= 89, "byte {at}: only {known} are known");
    }
}

#[test]
fn of_a_file_that_is_cut_off_the_beginning_goes_on() {
    let bytes = a_file();
    let mut whim = Prng::new(1, "cuts");
    for _ in 0..20 {
        let len = usize::try_from(whim.within(PAGE_BYTES as u64..=bytes.len() as u64 - 1)).unwrap();
        let life = live(&bytes[..len]).unwrap();
        life.is_honest();
        assert!(life.was_damaged());
    }
    for len in [0, 1, 300, PAGE_BYTES - 1] {
        let Err(error) = live(&bytes[..len]) else {
            panic!("{len} bytes were taken for a store");
        };
        assert!(error.remedy.contains("backup"), "{error}");
    }
}

/// `cargo test -p orchestratord --lib -- --ignored --nocapture large_store`
#[test]
#[ignore = "prints a figure, and holds nobody to it"]
fn how_long_a_look_at_a_large_store_takes() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        retention: Retention {
            bytes_max: 1 << 30,
            count_max: 1 << 20,
            ..settings().retention
        },
        ..settings()
    };
    let (store, running, _) = start(dir.path(), settings).unwrap();
    for number in 0..100 {
        put(&store, &format!("{number} {}", "x".repeat(1 << 20))).unwrap();
    }
    running.close();
    drop(store);
    let path = dir.path().join(FILE);
    let began = std::time::Instant::now();
    super::super::salvage::make_sound(&path).unwrap();
    let (took, bytes) = (began.elapsed(), fs::metadata(&path).unwrap().len());
    println!("{} MiB, looked at in {took:?}", bytes >> 20);
}
