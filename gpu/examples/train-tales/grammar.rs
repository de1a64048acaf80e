//! Tells tales by rule: a grammar of lists, drawn by chance, remembered within a tale.
//!
//! Think of a storyteller with drawers. A *list* is a drawer of *rows*; `{place}` in a row asks
//! for a row of the drawer `place`. Three rules are all there is:
//!
//! - **A slot is drawn once per tale and then remembered.** So the kite that is lost is the kite
//!   that is found, and `{hero}` keeps a name.
//! - **A digit asks for another row of the same list:** `{place2}` is never `{place}`.
//! - **A row may have several cells,** named in the list's head: `{hero.his}`. Without a name the
//!   first cell is meant.
//!
//! Two spellings spare the lists from repeating themselves: `{Hero}` begins with a capital,
//! `{a thing}` has the article that fits.
//!
//! The lists stand in `grammar/*.txt`:
//!
//! ```text
//! # a remark
//! [hero: name he his]
//! Mia | she | her
//! [greeting]
//! Hello. => Hello! My name is {hero}.
//! ```
//!
//! `=>` stands between a request and its answer. Requests come as people write them, at times
//! without the last mark or in small letters; answers are always written with care. `\n` breaks
//! the line of a rhyme.

use std::collections::HashMap;

use crate::dice::Dice;

const TEXTS: [&str; 4] = [
    include_str!("grammar/words.txt"),
    include_str!("grammar/stories.txt"),
    include_str!("grammar/sketches.txt"),
    include_str!("grammar/answers.txt"),
];
/// The list that a tale is drawn from.
const ROOT: &str = "{tale}";

/// All lists, by name.
pub(crate) struct Grammar(HashMap<&'static str, List>);

struct List {
    cells: Vec<&'static str>,
    rows: Vec<Vec<&'static str>>,
}

impl List {
    fn new(cells: &'static str) -> Self {
        let cells = cells.split_whitespace().collect();
        let rows = Vec::new();
        Self { cells, rows }
    }
}

impl Grammar {
    /// The grammar of the texts in this folder.
    pub(crate) fn new() -> Self {
        let mut lists = HashMap::new();
        let mut name = "";
        for line in TEXTS.iter().flat_map(|text| text.lines()) {
            let head = line
                .strip_prefix('[')
                .and_then(|line| line.strip_suffix(']'));
            if let Some(head) = head {
                let (list, cells) = head.split_once(": ").unwrap_or((head, ""));
                name = list;
                lists.insert(name, List::new(cells));
            } else if let Some(list) = lists.get_mut(name)
                && !line.is_empty()
                && !line.starts_with('#')
            {
                list.rows.push(line.split(" | ").collect());
            }
        }
        Self(lists)
    }

    /// One tale: a story, a sketch, or a request with its answer on the next line.
    pub(crate) fn tell(&self, dice: &mut Dice) -> String {
        let mut tale = Tale {
            lists: &self.0,
            dice,
            rows: HashMap::new(),
            said: HashMap::new(),
        };
        let tale = tale.expand(ROOT).replace("\\n", "\n");
        match tale.split_once(" => ") {
            Some((request, answer)) => format!("{}\n{answer}", as_written(request, dice)),
            None => tale,
        }
    }
}

/// A request with more or less care.
fn as_written(request: &str, dice: &mut Dice) -> String {
    let bare = request.trim_end_matches(['.', '?', '!']);
    match dice.roll(8) {
        0 => bare.to_string(),
        1 => bare.to_lowercase(),
        2 => request.to_lowercase(),
        _ => request.to_string(),
    }
}

/// A tale being told: what has been drawn so far.
struct Tale<'a> {
    lists: &'a HashMap<&'static str, List>,
    dice: &'a mut Dice,
    /// The row that each slot (`place`, `place2`) has drawn.
    rows: HashMap<String, usize>,
    /// The words of each cell that has been told.
    said: HashMap<(String, usize), String>,
}

impl Tale<'_> {
    fn expand(&mut self, row: &'static str) -> String {
        let mut text = String::new();
        let mut rest = row;
        while let Some((before, behind)) = rest.split_once('{') {
            let (slot, after) = behind
                .split_once('}')
                .expect("the test of slots saw it closed");
            text.push_str(before);
            text.push_str(&self.fill(slot));
            rest = after;
        }
        text + rest
    }

    /// The words of `a thing`, `Hero.his` or `place2`.
    fn fill(&mut self, slot: &'static str) -> String {
        let (article, noun) = match slot.split_once(' ') {
            Some((article, noun)) => (Some(article), noun),
            None => (None, slot),
        };
        let words = self.words(noun);
        match article {
            Some(article) if words.starts_with(['a', 'e', 'i', 'o', 'u']) => {
                format!("{article}n {words}")
            }
            Some(article) => format!("{article} {words}"),
            None if noun.starts_with(char::is_uppercase) => capital(&words),
            None => words,
        }
    }

    fn words(&mut self, noun: &'static str) -> String {
        let (slot, cell) = noun.split_once('.').unwrap_or((noun, ""));
        let slot = slot.to_ascii_lowercase();
        let list = self
            .lists
            .get(list_of(&slot))
            .expect("the test of slots saw it");
        let cell = list
            .cells
            .iter()
            .position(|name| *name == cell)
            .unwrap_or(0);
        let key = (slot, cell);
        if let Some(words) = self.said.get(&key) {
            return words.clone();
        }
        let row = self.draw(&key.0, list.rows.len());
        let words = self.expand(list.rows[row][cell]);
        self.said.insert(key, words.clone());
        words
    }

    /// The row of `slot`: the one it has, or a fresh one that no sister slot holds.
    fn draw(&mut self, slot: &str, count: usize) -> usize {
        if let Some(&row) = self.rows.get(slot) {
            return row;
        }
        let sisters = self
            .rows
            .iter()
            .filter(|(other, _)| list_of(other) == list_of(slot));
        let taken: Vec<usize> = sisters.map(|(_, &row)| row).collect();
        let mut row = self.dice.roll(count);
        while taken.len() < count && taken.contains(&row) {
            row = (row + 1) % count;
        }
        self.rows.insert(slot.to_string(), row);
        row
    }
}

/// The list that `place2` draws from.
fn list_of(slot: &str) -> &str {
    slot.trim_end_matches(|c: char| c.is_ascii_digit())
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn tales(count: u64) -> Vec<String> {
        let grammar = Grammar::new();
        (0..count)
            .map(|seed| grammar.tell(&mut Dice::new(seed)))
            .collect()
    }

    #[test]
    fn every_slot_names_a_cell_and_every_row_is_whole() {
        let Grammar(lists) = Grammar::new();
        for (name, list) in &lists {
            assert!(!list.rows.is_empty(), "[{name}] is empty");
            for row in &list.rows {
                assert_eq!(row.len(), list.cells.len().max(1), "[{name}] {row:?}");
                for cell in row {
                    check_slots(&lists, cell);
                }
            }
        }
    }

    fn check_slots(lists: &HashMap<&str, List>, cell: &str) {
        for behind in cell.split('{').skip(1) {
            let (slot, _) = behind.split_once('}').expect(cell);
            let noun = slot.trim_start_matches("a ").trim_start_matches("A ");
            let (noun, part) = noun.split_once('.').unwrap_or((noun, ""));
            let noun = noun.to_ascii_lowercase();
            let list = lists
                .get(list_of(&noun))
                .unwrap_or_else(|| panic!("{{{slot}}} in {cell:?}"));
            assert!(
                part.is_empty() || list.cells.contains(&part),
                "{{{slot}}} in {cell:?}"
            );
        }
    }

    #[test]
    fn every_list_has_a_name_of_its_own() {
        let mut heads = HashSet::new();
        let lines = TEXTS.iter().flat_map(|text| text.lines());
        for head in lines.filter_map(|line| line.strip_prefix('[')) {
            let name = head.split([':', ']']).next().map(list_of);
            assert!(heads.insert(name), "[{head} stands twice");
        }
    }

    #[test]
    fn every_list_is_used() {
        let Grammar(lists) = Grammar::new();
        let text = TEXTS.concat().to_ascii_lowercase();
        for name in lists.keys().filter(|name| **name != "tale") {
            let used = [format!("{{{name}"), format!("{{a {name}")];
            assert!(
                used.iter().any(|slot| text.contains(slot)),
                "[{name}] is never asked for"
            );
        }
    }

    #[test]
    fn tales_are_whole_sentences_in_plain_ascii() {
        for (seed, tale) in tales(2000).iter().enumerate() {
            assert!(
                tale.is_ascii() && !tale.contains(['{', '}', '|', '\\']),
                "seed {seed}: {tale}"
            );
            assert!(tale.ends_with(['.', '!', '?', '"']), "seed {seed}: {tale}");
            assert!(!tale.contains("  "), "seed {seed}: {tale}");
        }
    }

    #[test]
    fn a_seed_tells_its_tale_again() {
        assert_eq!(tales(50), tales(50));
    }

    #[test]
    fn stories_hardly_ever_repeat() {
        let stories: Vec<String> = tales(1000)
            .into_iter()
            .filter(|tale| tale.len() > 300)
            .collect();
        let different: HashSet<&String> = stories.iter().collect();
        assert!(different.len() * 100 >= stories.len() * 99);
    }
}
