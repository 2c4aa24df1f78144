//! `omniroute providers …`, `nodes …` and `models …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Which of OpenAI's two chat APIs a host has.
const API_TYPES: [&str; 3] = ["chat", "responses", "both"];
/// For an edit: `default` goes back to what is known of the provider.
const EDITED_API_TYPES: [&str; 4] = ["chat", "responses", "both", "default"];

#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersAction {
    /// Add a connection to a provider, test it and list its models
    Add(AddProvider),
    /// List all connections
    List,
    /// Ask a provider whether a connection works
    Test {
        /// Id or name of the connection [default: every connection]
        connection: Option<String>,
        /// Ask this model (the provider's own name) for a few tokens instead of asking for the list of models
        #[arg(long, value_name = "MODEL", requires = "connection")]
        model: Option<String>,
    },
    /// Give a connection another key of the provider, and test it
    SetKey {
        /// Id or name of the connection
        connection: String,
        #[command(flatten)]
        key: ProviderKey,
        /// Test with this model (the provider's own name), now and later, for a provider that lists none
        #[arg(long, value_name = "MODEL")]
        test_model: Option<String>,
    },
    /// Change a connection, and test it
    Edit(EditProvider),
    /// Switch a connection on
    Enable {
        /// Id or name of the connection
        connection: String,
    },
    /// Switch a connection off; it is kept, and no request goes there
    Disable {
        /// Id or name of the connection
        connection: String,
    },
    /// Delete a connection, and with the last one of an endpoint of your own the endpoint
    Remove {
        /// Id or name of the connection
        connection: String,
        /// Keep the endpoint, its prefix and its models
        #[arg(long)]
        keep_node: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AddProvider {
    /// A provider of the catalog (`openai`, `groq`…) or the prefix of an endpoint of your own; with --prefix, a name
    /// for a new endpoint
    pub provider: String,
    /// Base URL of your own endpoint, or one to use instead of the provider's
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Makes it an endpoint of your own, whose models are called `PREFIX/model`
    #[arg(long, requires = "base_url")]
    pub prefix: Option<String>,
    /// Region, of a provider that has several (`bedrock`)
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// What your own endpoint speaks
    #[arg(long = "type", value_enum, default_value_t = NodeType::Openai, requires = "prefix")]
    pub node_type: NodeType,
    /// Which of OpenAI's chat APIs the host has [default: `chat` for an endpoint of your own, else what is known of the
    /// provider]
    #[arg(long, value_name = "API", value_parser = API_TYPES)]
    pub api_type: Option<String>,
    #[command(flatten)]
    pub key: ProviderKey,
    /// Name of the connection [default: the provider's name]
    #[arg(long)]
    pub name: Option<String>,
    /// Test with this model (the provider's own name), now and later, for a provider that lists none
    #[arg(long, value_name = "MODEL")]
    pub test_model: Option<String>,
    #[command(flatten)]
    pub data: ProviderData,
}

#[derive(Debug, Args)]
pub(crate) struct ProviderKey {
    /// The provider's API key; other users of this machine can see it in the list of processes
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Read the provider's API key from the first line of standard input
    #[arg(long, conflicts_with = "api_key")]
    pub api_key_stdin: bool,
    /// Read the credential from a file, such as the JSON key of a service account
    #[arg(long, value_name = "FILE", conflicts_with_all = ["api_key", "api_key_stdin"])]
    pub api_key_file: Option<PathBuf>,
}

/// What clouds want to know beside the key.
#[derive(Debug, Args)]
pub(crate) struct ProviderData {
    /// A field of `providerSpecificData`, such as `projectId=…` or `apiVersion=…`; without a value it is taken away
    #[arg(long = "data", value_name = "FIELD=VALUE", value_parser = data_field)]
    pub data: Vec<(String, String)>,
}

fn data_field(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE")?;
    match field.trim() {
        "" => Err("expected FIELD=VALUE".to_owned()),
        field => Ok((field.to_owned(), value.trim().to_owned())),
    }
}

#[derive(Debug, Args)]
pub(crate) struct EditProvider {
    /// Id or name of the connection
    pub connection: String,
    /// A new name
    #[arg(long)]
    pub name: Option<String>,
    /// Another base URL; `default` goes back to the provider's own. Another host needs the key again
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Which of OpenAI's chat APIs the host has; `default` goes back to what is known of the provider
    #[arg(long, value_name = "API", value_parser = EDITED_API_TYPES)]
    pub api_type: Option<String>,
    /// Lower goes first
    #[arg(long, value_name = "NUMBER")]
    pub priority: Option<u32>,
    /// Requests in flight at once; 0 means no limit
    #[arg(long, value_name = "NUMBER")]
    pub max_concurrent: Option<u32>,
    /// Test with this model (the provider's own name), now and later; `none` goes back to the list of models
    #[arg(long, value_name = "MODEL")]
    pub test_model: Option<String>,
    #[command(flatten)]
    pub key: ProviderKey,
    #[command(flatten)]
    pub data: ProviderData,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NodeType {
    Openai,
    Anthropic,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodesAction {
    /// List the endpoints
    List,
    /// Change an endpoint
    Edit {
        /// Id, prefix or name of the endpoint
        node: String,
        /// A new name
        #[arg(long)]
        name: Option<String>,
        /// Another prefix: its models are called `PREFIX/model` from now on
        #[arg(long)]
        prefix: Option<String>,
        /// Another base URL, for all its connections. Another host needs the key again, if one is stored
        #[arg(long, value_name = "URL")]
        base_url: Option<String>,
        /// Which of OpenAI's chat APIs it has, for all its connections
        #[arg(long, value_name = "API", value_parser = API_TYPES)]
        api_type: Option<String>,
        #[command(flatten)]
        key: ProviderKey,
    },
    /// Delete an endpoint with its connections and models
    Remove {
        /// Id, prefix or name of the endpoint
        node: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// List the models that clients can ask for
    List {
        /// Only those whose name begins so, for example `openai/`
        #[arg(default_value = "")]
        beginning: String,
    },
}
