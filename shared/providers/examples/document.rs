//! Writes `docs/providers.md` to the standard output: `make docs`.

use std::io::Write;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(omniroute_providers::catalog::document().as_bytes())
}
