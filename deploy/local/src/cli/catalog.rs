//! `omniroute catalog …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogAction {
    /// Write the table of models anew: limits, capabilities and prices
    Update(UpdateCatalog),
}

#[derive(Debug, Args)]
pub(crate) struct UpdateCatalog {
    /// File or URL of LiteLLM's table, `model_prices_and_context_window.json`; the PyPI package `litellm` holds it too
    pub from: String,
    /// The table of models to write
    #[arg(long, value_name = "FILE", default_value = "shared/providers/data/models.jsonl")]
    pub file: String,
    /// What to note as the source, for example `litellm 1.110.2`
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// Show what would change, and write nothing
    #[arg(long)]
    pub dry_run: bool,
}
