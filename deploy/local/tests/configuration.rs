//! `docs/configuration.md` says what the settings' own table says.

use omniroute_core::settings;

const BEGIN: &str = "<!-- begin generated: omniroute config docs -->\n";
const END: &str = "<!-- end generated -->\n";

#[test]
fn the_documented_settings_are_the_settings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let document = std::fs::read_to_string(path).expect("docs/configuration.md");
    let (_, rest) = document.split_once(BEGIN).expect("the marker before the tables");
    let (documented, _) = rest.split_once(END).expect("the marker after the tables");
    assert_eq!(
        documented.trim(),
        settings::markdown().trim(),
        "docs/configuration.md is out of date: `make docs` writes the tables anew"
    );
}

#[test]
fn the_cli_prints_the_same_tables() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_omniroute"))
        .args(["config", "docs"])
        .output()
        .expect("the CLI runs");
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), settings::markdown().trim());
}
