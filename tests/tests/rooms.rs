//! Imports go down: the rooms of each crate stand in the order that its `lib.rs` states.

#![cfg(test)]

use std::{fs, path::Path};

use omniroute_tests::rooms::Crate;

/// A crate in a folder of its own: its `lib.rs` after the order, and its other files.
fn read(order: &str, lib: &str, files: &[(&str, &str)]) -> Crate {
    let folder = tempfile::tempdir().expect("a folder");
    let floors: String = order.lines().map(|floor| format!("//! {floor}\n")).collect();
    fs::write(folder.path().join("lib.rs"), format!("//! ```text\n{floors}//! ```\n{lib}")).expect("written");
    for (name, text) in files {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("made");
        fs::write(file, text).expect("written");
    }
    Crate::read(folder.path()).expect("read")
}

/// Room and the room that it should not import from.
fn climbs(read: &Crate) -> Vec<(String, String)> {
    read.climbs().into_iter().map(|import| (import.room, import.from)).collect()
}

const THREE: &str = "top  what starts\nmiddle  what decides\nbottom  what keeps";
const MODULES: &str = "mod top; mod middle; mod bottom;";

#[test]
fn an_import_may_go_down_and_not_up() {
    let files = |bottom: &'static str| {
        [
            ("top.rs", "use crate::{middle::Rule, bottom::Row};"),
            ("middle.rs", "use crate::bottom::{self, Row as R}; pub struct Rule;"),
            ("bottom.rs", bottom),
        ]
    };
    let good = read(THREE, MODULES, &files("pub struct Row; use std::fmt;"));
    assert!(good.climbs().is_empty() && good.unplaced().is_empty());
    for bottom in [
        "pub struct Row; use crate::middle::Rule;",
        "pub struct Row; use super::middle::Rule;",
        "pub struct Row; use crate::{middle::{Rule as _}};",
        "pub struct Row; fn f() -> crate::middle::Rule { todo!() }",
        "pub struct Row; use crate as root; fn f() { select!(x = root::middle::Rule => 1) }",
        "pub struct Row; use crate::middle as m; fn f() { vec![m::Rule] }",
        "pub struct Row; mod inner { use super::super::middle::Rule; }",
    ] {
        let bad = read(THREE, MODULES, &files(bottom));
        assert_eq!(climbs(&bad), [("bottom".into(), "middle".into())], "{bottom}");
    }
}

#[test]
fn a_re_export_is_followed_to_where_the_item_is() {
    let lib = "mod top; mod middle; mod bottom; pub use top::Start; pub use bottom::Row;";
    let files = [
        ("top/mod.rs", "mod inner; pub use self::inner::Start; use crate::Row;"),
        ("top/inner.rs", "pub struct Start;"),
        ("middle.rs", "use crate::{Row, Start};"),
        ("bottom.rs", "pub struct Row;"),
    ];
    let found = read(THREE, lib, &files).climbs();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].file.as_str(), found[0].module.as_str()), ("middle.rs", "top::inner"));
}

#[test]
fn rooms_of_one_floor_do_not_know_each_other() {
    let order = "run  starts\nareas/*  subjects\none, two  foundations";
    let files = |cat: &'static str, one: &'static str| {
        [
            ("run.rs", "use crate::areas::{cat::Cat, dog::Dog};"),
            ("areas/mod.rs", "pub mod cat; pub mod dog;"),
            ("areas/cat.rs", cat),
            ("areas/dog/mod.rs", "mod rows; pub use rows::Dog; use crate::one::One;"),
            ("areas/dog/rows.rs", "pub struct Dog; use super::super::super::two::Two;"),
            ("one.rs", one),
            ("two.rs", "pub struct Two;"),
        ]
    };
    let lib = "mod run; mod areas; mod one; mod two;";
    let good = read(order, lib, &files("pub struct Cat;", "pub struct One;"));
    assert!(good.climbs().is_empty() && good.unplaced().is_empty(), "{:?}", good.climbs());
    let bad =
        read(order, lib, &files("pub struct Cat; use crate::areas::dog::Dog;", "use crate::two::Two; pub struct One;"));
    assert_eq!(climbs(&bad), [("areas/cat".into(), "areas/dog".into()), ("one".into(), "two".into())]);
}

#[test]
fn what_only_tests_import_does_not_count() {
    let files = [
        ("top.rs", "pub struct Start;"),
        ("middle/mod.rs", "#[cfg(test)] mod tests; #[cfg(test)] use crate::top::Start; pub struct Rule;"),
        ("middle/tests.rs", "use crate::top::Start;"),
        ("bottom.rs", "pub struct Row; #[cfg(test)] /// Tests.\n mod tests { use crate::top::Start; }"),
    ];
    assert!(read(THREE, MODULES, &files).climbs().is_empty());
    let after = [files[0], files[1], files[2], ("bottom.rs", "#[cfg(test)] mod tests { } use crate::top::Start;")];
    assert_eq!(climbs(&read(THREE, MODULES, &after)), [("bottom".into(), "top".into())]);
}

#[test]
fn every_room_has_a_floor_and_every_floor_its_rooms() {
    let files = [("top.rs", ""), ("attic.rs", ""), ("bottom.rs", "")];
    let odd = read(THREE, "mod top; mod attic; mod bottom;", &files).unplaced();
    assert_eq!(odd, ["attic has no floor", "middle is no module"]);
}

#[test]
fn files_that_import_each_other_are_found_through_their_folder() {
    let lib = "mod top; mod middle; mod bottom;";
    let files = [
        ("top.rs", ""),
        ("middle/mod.rs", "mod a; mod b; mod c; pub use self::{a::A, b::B, c::C}; fn f() { a::g() }"),
        ("middle/a.rs", "use super::B; pub struct A; pub fn g() {}"),
        ("middle/b.rs", "use super::{A, C}; pub struct B;"),
        ("middle/c.rs", "pub struct C;"),
        ("bottom.rs", ""),
    ];
    let circles = read(THREE, lib, &files).circles();
    assert_eq!(circles, [("middle/a.rs".to_owned(), "middle/b.rs".to_owned())]);
}

/// The crate in this folder of the repository.
fn read_of(folder: &str) -> Crate {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src");
    Crate::read(&src).expect("a crate with an order")
}

/// Holds the crate in this folder of the repository against its own order.
fn check(folder: &str) {
    let violations = read_of(folder).violations();
    assert!(violations.is_empty(), "{folder}:\n{}", violations.join("\n"));
}

#[test]
fn the_control_plane_keeps_to_its_order() {
    check("control-plane");
}

#[test]
fn the_proxy_keeps_to_its_order() {
    check("data-plane");
}

#[test]
fn the_wire_formats_and_the_providers_keep_to_their_order_and_no_two_files_import_each_other() {
    for folder in ["shared/wire", "shared/providers"] {
        check(folder);
        let circles = read_of(folder).circles();
        assert!(circles.is_empty(), "{folder}: {circles:?}");
    }
}
