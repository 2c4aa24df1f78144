//! `omniroute prices …`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum PricesAction {
    /// List the prices in force, in dollars per million tokens
    List {
        /// Id or alias of a provider, id or prefix of an endpoint [default: every provider]
        provider: Option<String>,
        /// Only those that were set here
        #[arg(long)]
        own: bool,
    },
    /// Set what a model costs from now on, in dollars per million tokens; what was billed before stays
    Set(SetPrice),
    /// End the price that was set here; the one that comes with the program counts again
    Unset {
        /// Id or alias of a provider, id or prefix of an endpoint
        provider: String,
        /// The provider's own name of the model [default: every model of the provider]
        model: Option<String>,
    },
    /// Show every price that a model has had
    History {
        /// Id or alias of a provider, id or prefix of an endpoint
        provider: String,
        /// The provider's own name of the model
        model: String,
    },
}

/// What is not named stays.
#[derive(Debug, Args)]
pub(crate) struct SetPrice {
    /// Id or alias of a provider, id or prefix of an endpoint
    pub provider: String,
    /// The provider's own name of the model
    pub model: String,
    /// Tokens of the prompt
    #[arg(long, value_name = "DOLLARS", required_unless_present_any = ["output", "cached", "cache_creation", "reasoning"])]
    pub input: Option<f64>,
    /// Tokens of the answer
    #[arg(long, value_name = "DOLLARS")]
    pub output: Option<f64>,
    /// Tokens of the prompt that a cache serves [default: as --input]
    #[arg(long, value_name = "DOLLARS")]
    pub cached: Option<f64>,
    /// Tokens that are written to a cache [default: as --input]
    #[arg(long, value_name = "DOLLARS")]
    pub cache_creation: Option<f64>,
    /// Tokens that a model thinks [default: as --output]
    #[arg(long, value_name = "DOLLARS")]
    pub reasoning: Option<f64>,
}
