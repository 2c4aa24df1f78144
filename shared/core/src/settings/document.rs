//! The generated part of `docs/configuration.md`.

use std::fmt::Write as _;

use super::TABLES;

/// A table per process: key, variables, type, default, meaning.
pub fn markdown() -> String {
    let mut text = String::new();
    for (process, settings) in TABLES {
        let _ = write!(text, "## {process}\n\n| key | variables | type | default | meaning |\n|---|---|---|---|---|\n");
        for setting in settings {
            let env = setting.env.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let default = if setting.default.is_empty() { String::new() } else { format!("`{}`", setting.default) };
            let doc = setting.doc.trim().replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {env} | {} | {default} | {doc} |", setting.key, setting.kind);
        }
        text.push('\n');
    }
    text
}
