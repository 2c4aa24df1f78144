//! `docs/providers.md` says what the catalog says.

use omniroute_providers::{Catalog, catalog::document};

#[test]
fn the_table_of_providers_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/providers.md");
    let written = std::fs::read_to_string(path).expect("docs/providers.md");
    assert_eq!(written, document(), "docs/providers.md is out of date: `make docs` writes it anew");
}

#[test]
fn every_provider_has_a_row_and_nothing_left_out_has_one() {
    let text = document();
    for provider in Catalog::builtin().providers() {
        assert!(text.contains(&format!("| `{}` | ", provider.id)), "{}", provider.id);
    }
    let (_, left_out) = text.split_once("## What is left out").expect("the second part");
    let rows: Vec<&str> = left_out.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{row}");
        assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
        assert!(Catalog::builtin().get(cells[0].trim_matches('`')).is_none(), "{row}");
    }
}
