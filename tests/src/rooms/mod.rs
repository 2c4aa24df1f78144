//! The rooms of a crate stand on floors, and imports go down.
//!
//! The order stands in the crate's `lib.rs`, as a `text` block of its module documentation. A line is a floor, from top to
//! bottom: rooms, a gap of two or more blanks, what is in them.
//!
//! ````text
//! //! ```text
//! //! run              starts everything and stops it
//! //! areas/*          one subject each; none knows another
//! //! publish, ledger  what areas stand on
//! //! store            the database
//! //! ```
//! ````
//!
//! A room is a module of the crate's root, a file or a folder; `areas/*` makes each folder in `areas` a room. A room may
//! import from the rooms on lower floors. It may import neither from a higher floor nor from its neighbours on the same
//! one; so no two rooms import each other, and none do so in a circle. Every module of the root stands on a floor.
//!
//! [`Crate::read`] reads every file as tokens: `use`, `pub use` and paths in code (`crate::…`, `super::…`, or through an
//! imported name), through re-exports to the module that has the item, macros included. Tests may import what they like:
//! what stands under `#[cfg(test)]` is not read. [`Crate::violations`] holds the rooms against the order,
//! [`Crate::circles`] finds files that import each other, wherever they stand.

mod source;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
};

use self::source::{Module, Name};

/// A crate's modules and the order of its rooms.
pub struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
    /// From the top floor to the bottom; each with its rooms as `lib.rs` names them.
    floors: Vec<Vec<String>>,
}

/// A file that imports from a module, and the rooms of the two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Of the file, below `src`.
    pub file: String,
    pub room: String,
    /// Module that has the item, as `a::b`.
    pub module: String,
    /// The room of that.
    pub from: String,
}

/// How deep re-exports are followed.
const DEEPEST: usize = 64;

// === impl Crate ===

impl Crate {
    /// Reads the crate whose `lib.rs` lies in the folder `src`.
    ///
    /// # Errors
    /// When a file cannot be read or is no Rust, or `lib.rs` states no order.
    pub fn read(src: &Path) -> io::Result<Self> {
        let modules = source::read(src)?;
        let floors = order(&std::fs::read_to_string(src.join("lib.rs"))?);
        if floors.is_empty() {
            return Err(io::Error::other("lib.rs states no order of the rooms"));
        }
        Ok(Self { modules, floors })
    }

    /// All that is wrong with the order, a sentence each: imports that do not go down, and rooms that stand on no floor.
    pub fn violations(&self) -> Vec<String> {
        self.climbs().iter().map(ToString::to_string).chain(self.unplaced()).collect()
    }

    /// Modules of the root that stand on no floor, and rooms of the order that do not exist.
    pub fn unplaced(&self) -> Vec<String> {
        let rooms: BTreeSet<String> = self.modules.keys().filter_map(|path| self.room(path)).collect();
        let without = rooms.iter().filter(|room| self.floor(room).is_none()).map(|room| format!("{room} has no floor"));
        let exists = |placed: &str| match placed.strip_suffix("/*") {
            Some(parent) => rooms.iter().any(|room| room.starts_with(&format!("{parent}/"))),
            None => rooms.contains(placed),
        };
        let placed = self.floors.iter().flatten();
        let empty = placed.filter(|room| !exists(room)).map(|room| format!("{room} is no module"));
        without.chain(empty).collect()
    }

    /// Imports that do not go down.
    pub fn climbs(&self) -> Vec<Import> {
        let climbs = |import: &Import| {
            let (Some(room), Some(from)) = (self.floor(&import.room), self.floor(&import.from)) else { return false };
            import.room != import.from && from <= room
        };
        let all: BTreeSet<Import> = self.imports().into_iter().filter(climbs).collect();
        all.into_iter().collect()
    }

    /// Pairs of files that import each other. A module and the modules in it count as one there: `a/mod.rs` may use
    /// what `a/b.rs` has, and the other way about.
    pub fn circles(&self) -> Vec<(String, String)> {
        let edges: BTreeSet<(&str, &str)> = self
            .edges()
            .filter(|(one, two)| !one.path.starts_with(&two.path) && !two.path.starts_with(&one.path))
            .map(|(one, two)| (one.file.as_str(), two.file.as_str()))
            .collect();
        let mutual = edges.iter().filter(|(one, two)| one < two && edges.contains(&(*two, *one)));
        mutual.map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
    }

    fn imports(&self) -> Vec<Import> {
        let import = |(one, two): (&Module, &Module)| {
            let (room, from) = (self.room(&one.path)?, self.room(&two.path)?);
            Some(Import { file: one.file.clone(), room, module: two.path.join("::"), from })
        };
        self.edges().filter_map(import).collect()
    }

    /// Who imports from whom, by module.
    fn edges(&self) -> impl Iterator<Item = (&Module, &Module)> {
        self.modules.values().flat_map(move |module| {
            let targets = module.paths.iter().filter_map(|path| self.owner(&module.path, path, DEEPEST));
            let targets: BTreeSet<&Vec<String>> = targets.collect();
            targets.into_iter().filter_map(move |path| Some((module, self.modules.get(path)?)))
        })
    }

    /// The module that has what `path` names where it stands in module `at`.
    fn owner(&self, at: &[String], path: &[String], depth: usize) -> Option<&Vec<String>> {
        let depth = depth.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.descend(&[], rest, depth),
            "self" => self.descend(at, rest, depth),
            "super" => {
                let above = at.len().checked_sub(1)?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.owner(&at[..above], rest, depth),
                    _ => self.descend(&at[..above], rest, depth),
                }
            }
            // A name that is known here: a module in this one, or something imported. All else is another crate's.
            name => {
                let module = self.modules.get(at)?;
                let is_known = self.modules.contains_key(&child(at, name)) || module.names.contains_key(name);
                is_known.then(|| self.descend(at, path, depth)).flatten()
            }
        }
    }

    /// Follows `rest` from the module `at`: into modules, then through re-exports.
    fn descend(&self, at: &[String], rest: &[String], depth: usize) -> Option<&Vec<String>> {
        let depth = depth.checked_sub(1)?;
        let (held, module) = self.modules.get_key_value(at)?;
        let Some((name, further)) = rest.split_first() else { return Some(held) };
        let inner = child(at, name);
        if self.modules.contains_key(&inner) {
            return self.descend(&inner, further, depth);
        }
        match module.names.get(name.as_str()) {
            Some(Name::Item) => Some(held),
            Some(Name::Import(path)) => {
                let whole: Vec<String> = path.iter().chain(further).cloned().collect();
                // What another crate has is not this module's doing.
                self.owner(at, &whole, depth)
            }
            None => {
                let globs = module.globs.iter();
                let through = globs.filter_map(|glob| self.owner(at, glob, depth)).find_map(|from| {
                    let has = self.modules.get(from)?.names.contains_key(name.as_str())
                        || self.modules.contains_key(&child(from, name));
                    has.then(|| self.descend(from, rest, depth)).flatten()
                });
                through.or(Some(held))
            }
        }
    }

    /// Which room a module is in. `None`: the root, and a folder of rooms itself.
    fn room(&self, path: &[String]) -> Option<String> {
        let first = path.first()?;
        if !self.floors.iter().flatten().any(|room| room.strip_suffix("/*") == Some(first)) {
            return Some(first.clone());
        }
        path.get(1).map(|second| format!("{first}/{second}"))
    }

    /// Counted from the top.
    fn floor(&self, room: &str) -> Option<usize> {
        let is_here = |placed: &String| {
            placed == room
                || placed
                    .strip_suffix('*')
                    .is_some_and(|parent| room.strip_prefix(parent).is_some_and(|own| !own.is_empty()))
        };
        self.floors.iter().position(|rooms| rooms.iter().any(is_here))
    }
}

impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, room, module, from } = self;
        write!(f, "{file} ({room}) imports {module} ({from}), which does not stand below it")
    }
}

fn child(at: &[String], name: &str) -> Vec<String> {
    at.iter().cloned().chain([name.to_owned()]).collect()
}

/// The floors of a `lib.rs`: the first `text` block of its documentation.
fn order(lib: &str) -> Vec<Vec<String>> {
    let documentation = lib.lines().map_while(|line| line.trim_start().strip_prefix("//!"));
    let block =
        documentation.skip_while(|line| line.trim() != "```text").skip(1).take_while(|line| line.trim() != "```");
    let rooms = |line: &str| -> Vec<String> {
        let line = line.trim();
        let named = line.split_once("  ").map_or(line, |(rooms, _)| rooms);
        named.split(',').map(|room| room.trim().to_owned()).filter(|room| !room.is_empty()).collect()
    };
    block.map(rooms).filter(|rooms| !rooms.is_empty()).collect()
}
