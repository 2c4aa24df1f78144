//! What the files of a crate import, out of their tokens.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A module of its own file, or one inside a file.
#[derive(Default)]
pub(super) struct Module {
    pub(super) path: Vec<String>,
    /// Below `src`.
    pub(super) file: String,
    /// What it names: the paths of its `use` items, and those in its code.
    pub(super) paths: Vec<Vec<String>>,
    /// What others find in it by name, private names included: its children see those too.
    pub(super) names: BTreeMap<String, Name>,
    /// Modules of which everything is imported.
    pub(super) globs: Vec<Vec<String>>,
}

/// What stands behind a name in a module.
pub(super) enum Name {
    Item,
    Import(Vec<String>),
}

/// Keywords before the name of an item.
const ITEMS: [&str; 9] = ["struct", "enum", "union", "trait", "fn", "const", "static", "type", "macro"];

/// Reads the modules of a crate, from `lib.rs` on. Those for tests only are left out.
pub(super) fn read(src: &Path) -> io::Result<BTreeMap<Vec<String>, Module>> {
    let mut modules = BTreeMap::new();
    read_file(src, &src.join("lib.rs"), Vec::new(), &mut modules)?;
    Ok(modules)
}

fn read_file(
    src: &Path,
    file: &Path,
    path: Vec<String>,
    modules: &mut BTreeMap<Vec<String>, Module>,
) -> io::Result<()> {
    let text = fs::read_to_string(file).map_err(|error| named(file, &error))?;
    let tokens: TokenStream = text.parse().map_err(|error| named(file, &error))?;
    let name = file.strip_prefix(src).unwrap_or(file).display().to_string();
    let mut outside = Vec::new();
    Reader { modules, file: &name, outside: &mut outside }.module(path, tokens);
    for inner in outside {
        let file = file_of(src, &inner)?;
        read_file(src, &file, inner, modules)?;
    }
    Ok(())
}

fn named(file: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", file.display()))
}

/// `a/b.rs` or `a/b/mod.rs`.
fn file_of(src: &Path, path: &[String]) -> io::Result<PathBuf> {
    let base = path.iter().fold(src.to_owned(), |base, name| base.join(name));
    let candidates = [base.with_extension("rs"), base.join("mod.rs")];
    let found = candidates.into_iter().find(|file| file.exists());
    found.ok_or_else(|| io::Error::other(format!("module {} has no file", path.join("::"))))
}

struct Reader<'a> {
    modules: &'a mut BTreeMap<Vec<String>, Module>,
    file: &'a str,
    /// Modules that have a file of their own.
    outside: &'a mut Vec<Vec<String>>,
}

// === impl Reader ===

impl Reader<'_> {
    fn module(&mut self, path: Vec<String>, tokens: TokenStream) {
        let mut module = Module { path: path.clone(), file: self.file.to_owned(), ..Module::default() };
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        self.items(&mut module, &tokens, true);
        self.modules.insert(path, module);
    }

    /// Goes over tokens of `module`. `is_top`: they are its own items, and no body of one.
    fn items(&mut self, module: &mut Module, tokens: &[TokenTree], is_top: bool) {
        let mut at = 0;
        while let Some(token) = tokens.get(at) {
            if is_punct(token, '#') {
                let (after, is_test) = attribute(tokens, at);
                if !is_test && let Some(TokenTree::Group(group)) = tokens.get(after - 1) {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.items(module, &inside, false);
                }
                at = if is_test { skipped(tokens, after) } else { after };
                continue;
            }
            match token {
                TokenTree::Ident(word) if word == "use" => at = import(module, tokens, at + 1),
                TokenTree::Ident(word) if word == "mod" => at = self.inner(module, tokens, at + 1),
                TokenTree::Ident(word) => {
                    if is_top && ITEMS.iter().any(|item| word == item) {
                        define(module, tokens, at + 1);
                    }
                    at = path(module, tokens, at);
                }
                TokenTree::Group(group) => {
                    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                    self.items(module, &inside, false);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// `mod name;` or `mod name { … }`.
    fn inner(&mut self, module: &mut Module, tokens: &[TokenTree], at: usize) -> usize {
        let (Some(TokenTree::Ident(name)), Some(next)) = (tokens.get(at), tokens.get(at + 1)) else { return at };
        let path: Vec<String> = module.path.iter().cloned().chain([name.to_string()]).collect();
        match next {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => self.module(path, group.stream()),
            TokenTree::Punct(end) if end.as_char() == ';' => self.outside.push(path),
            _ => return at,
        }
        at + 2
    }
}

fn is_punct(token: &TokenTree, character: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == character)
}

fn is_double_colon(tokens: &[TokenTree], at: usize) -> bool {
    [at, at + 1].iter().all(|at| tokens.get(*at).is_some_and(|token| is_punct(token, ':')))
}

/// Where the attribute at `at` ends, and whether it keeps what follows for tests. `#![…]` too: it stands for the whole
/// file, whose rest is then skipped as one.
fn attribute(tokens: &[TokenTree], at: usize) -> (usize, bool) {
    let is_inner = tokens.get(at + 1).is_some_and(|token| is_punct(token, '!'));
    let body = at + 1 + usize::from(is_inner);
    let Some(TokenTree::Group(group)) = tokens.get(body) else { return (body, false) };
    let text = group.stream().to_string().replace(' ', "");
    let is_test = text == "cfg(test)" || text.starts_with("cfg(all(test,");
    if is_inner && is_test { (tokens.len(), false) } else { (body + 1, is_test) }
}

/// Behind the item at `at`: its further attributes, and all up to a semicolon or a body.
fn skipped(tokens: &[TokenTree], mut at: usize) -> usize {
    while tokens.get(at).is_some_and(|token| is_punct(token, '#')) {
        at = attribute(tokens, at).0;
    }
    let mut is_field = true;
    let mut is_import = false;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Ident(word) if word == "use" => (is_import, is_field) = (true, false),
            TokenTree::Ident(word) if word == "mod" || ITEMS.iter().any(|item| word == item) || word == "impl" => {
                is_field = false;
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !is_import => return at,
            TokenTree::Punct(end) if end.as_char() == ';' || (is_field && end.as_char() == ',') => return at,
            _ => {}
        }
    }
    at
}

fn define(module: &mut Module, tokens: &[TokenTree], at: usize) {
    let named = tokens.get(at..).unwrap_or_default().iter().find_map(|token| match token {
        TokenTree::Ident(word) if ITEMS.iter().all(|item| word != item) => Some(word.to_string()),
        _ => None,
    });
    if let Some(name) = named {
        module.names.entry(name).or_insert(Name::Item);
    }
}

/// A path in code. Returns where it ends.
fn path(module: &mut Module, tokens: &[TokenTree], mut at: usize) -> usize {
    let mut segments = Vec::new();
    while let Some(TokenTree::Ident(word)) = tokens.get(at) {
        segments.push(word.to_string());
        at += 1;
        if !is_double_colon(tokens, at) {
            break;
        }
        at += 2;
    }
    if segments.len() > 1 {
        module.paths.push(segments);
    }
    at
}

/// The tree of a `use` item. Returns where the item ends.
fn import(module: &mut Module, tokens: &[TokenTree], at: usize) -> usize {
    let rest = tokens.get(at..).unwrap_or_default();
    let length = rest.iter().position(|token| is_punct(token, ';')).unwrap_or(rest.len());
    branch(module, &[], &rest[..length]);
    at + length
}

/// One branch of a tree: `a::b`, `a::b as c`, `a::{…}`, `a::*`.
fn branch(module: &mut Module, stem: &[String], tokens: &[TokenTree]) {
    let mut path = stem.to_vec();
    let mut alias = None;
    let mut words = tokens.iter().peekable();
    while let Some(token) = words.next() {
        match token {
            TokenTree::Ident(word) if word == "as" => {
                if let Some(TokenTree::Ident(name)) = words.next() {
                    alias = Some(name.to_string());
                }
            }
            TokenTree::Ident(word) => path.push(word.to_string()),
            TokenTree::Group(group) => {
                let inside: Vec<TokenTree> = group.stream().into_iter().collect();
                for one in inside.split(|token| is_punct(token, ',')).filter(|one| !one.is_empty()) {
                    branch(module, &path, one);
                }
                return;
            }
            TokenTree::Punct(star) if star.as_char() == '*' => {
                module.paths.push(path.clone());
                module.globs.push(path);
                return;
            }
            _ => {}
        }
    }
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let Some(last) = path.last().cloned() else { return };
    module.paths.push(path.clone());
    // A path of one name (`use x;`) brings nothing in that was not there, unless under another name.
    let is_new = alias.is_some() || path.len() > 1;
    let name = alias.unwrap_or(last);
    if name != "_" && is_new {
        module.names.insert(name, Name::Import(path));
    }
}
