//! Whose rows of the price table are whose here.

/// The table's name of a provider, and ours. What is not listed is not taken.
const PROVIDERS: &[(&str, &str)] = &[
    ("ai21", "ai21"),
    ("aiml", "aimlapi"),
    ("anthropic", "anthropic"),
    ("assemblyai", "assemblyai"),
    ("azure", "azure-openai"),
    ("azure_ai", "azure-ai"),
    ("azure_text", "azure-openai"),
    ("baseten", "baseten"),
    ("bedrock", "bedrock"),
    ("bedrock_converse", "bedrock"),
    ("bedrock_mantle", "bedrock"),
    ("black_forest_labs", "black-forest-labs"),
    ("cerebras", "cerebras"),
    ("cloudflare", "cloudflare-ai"),
    ("codestral", "codestral"),
    ("cohere", "cohere"),
    ("cohere_chat", "cohere"),
    ("dashscope", "alibaba"),
    ("databricks", "databricks"),
    ("deepgram", "deepgram"),
    ("deepinfra", "deepinfra"),
    ("deepseek", "deepseek"),
    ("elevenlabs", "elevenlabs"),
    ("exa_ai", "exa-search"),
    ("fal_ai", "fal-ai"),
    ("featherless_ai", "featherless-ai"),
    ("firecrawl", "firecrawl"),
    ("fireworks_ai", "fireworks"),
    ("fireworks_ai-embedding-models", "fireworks"),
    ("friendliai", "friendliai"),
    ("gemini", "gemini"),
    ("google_pse", "google-pse-search"),
    ("gradient_ai", "digitalocean"),
    ("groq", "groq"),
    ("heroku", "heroku"),
    ("hyperbolic", "hyperbolic"),
    ("inception", "inception"),
    ("jina_ai", "jina-ai"),
    ("lambda_ai", "lambda-ai"),
    ("lemonade", "lemonade"),
    ("linkup", "linkup-search"),
    ("llamagate", "llamagate"),
    ("meta_llama", "meta-llama"),
    ("minimax", "minimax"),
    ("mistral", "mistral"),
    ("moonshot", "moonshot"),
    ("morph", "morph"),
    ("nebius", "nebius"),
    ("novita", "novita"),
    ("nscale", "nscale"),
    ("nvidia_nim", "nvidia"),
    ("oci", "oci"),
    ("ollama", "ollama"),
    ("openai", "openai"),
    ("opencode_go", "opencode-go"),
    ("openrouter", "openrouter"),
    ("ovhcloud", "ovhcloud"),
    ("perplexity", "perplexity"),
    ("publicai", "publicai"),
    ("qwencloud", "alibaba"),
    ("recraft", "recraft"),
    ("replicate", "replicate"),
    ("runwayml", "runwayml"),
    ("sambanova", "sambanova"),
    ("sarvam", "sarvam"),
    ("scaleway", "scaleway"),
    ("serper", "serper-search"),
    ("snowflake", "snowflake"),
    ("stability", "stability-ai"),
    ("tavily", "tavily-search"),
    ("tencent", "tencent"),
    ("text-completion-codestral", "codestral"),
    ("text-completion-openai", "openai"),
    ("together_ai", "together"),
    ("v0", "v0-vercel"),
    ("vercel_ai_gateway", "vercel-ai-gateway"),
    ("volcengine", "volcengine"),
    ("voyage", "voyage-ai"),
    ("wandb", "wandb"),
    ("watsonx", "watsonx"),
    ("xai", "xai"),
    ("xiaomi_mimo", "xiaomi-mimo"),
    ("you_com", "youcom-search"),
    ("zai", "zai"),
];

/// The table has one name per publisher.
const VERTEX: &str = "vertex_ai";

/// Of these a slash in the name means a region, a size or reserved capacity: a price that requests do not name.
const WITHOUT_SLASH: [&str; 3] = ["azure-openai", "bedrock", "openai"];

/// Names that are classes of models by their size.
const SIZES: [&str; 2] = ["together-ai-", "fireworks-ai-"];

/// Our id of a provider of the table.
pub(super) fn provider(source: &str) -> Option<&'static str> {
    if source.starts_with(VERTEX) {
        return Some("vertex");
    }
    PROVIDERS.iter().find(|(theirs, _)| *theirs == source).map(|(_, ours)| *ours)
}

/// The provider's own id of a model, out of the table's key.
pub(super) fn model<'k>(key: &'k str, source: &str, provider: &str) -> Option<&'k str> {
    let publisher = if source.starts_with(VERTEX) { VERTEX } else { source };
    // Once: what follows may begin with the same word.
    let without = |prefix: &str| key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/'));
    let model = without(publisher).or_else(|| without(provider)).unwrap_or(key);
    let is_one = !model.is_empty()
        && !(WITHOUT_SLASH.contains(&provider) && model.contains('/'))
        && !SIZES.iter().any(|size| model.starts_with(size));
    is_one.then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_loses_the_tables_prefix_and_keeps_its_own() {
        let model = |key, source| model(key, source, provider(source).expect("a provider"));
        assert_eq!(model("together_ai/meta-llama/Llama-3", "together_ai"), Some("meta-llama/Llama-3"));
        assert_eq!(model("gpt-4o", "openai"), Some("gpt-4o"));
        assert_eq!(model("perplexity/perplexity/sonar", "perplexity"), Some("perplexity/sonar"));
        assert_eq!(model("openai/gpt-4o", "openai"), Some("gpt-4o"));
        assert_eq!(model("1024-x-1024/dall-e-2", "openai"), None);
        assert_eq!(model("bedrock/us-east-1/anthropic.claude-v2:1", "bedrock"), None);
        assert_eq!(
            model("us.anthropic.claude-opus-4-6-v1", "bedrock_converse"),
            Some("us.anthropic.claude-opus-4-6-v1")
        );
        assert_eq!(model("vertex_ai/claude-opus-4-6", "vertex_ai-anthropic_models"), Some("claude-opus-4-6"));
        assert_eq!(model("fireworks-ai-4.1b-to-16b", "fireworks_ai"), None);
    }

    #[test]
    fn the_list_is_in_order_without_doubles() {
        assert!(PROVIDERS.is_sorted_by(|one, two| one.0 < two.0));
        assert_eq!(provider("somebody"), None);
    }
}
