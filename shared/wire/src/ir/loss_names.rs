//! The names of what was lost, in the words of the client's own format. Encoders use Chat's.

use std::borrow::Cow;

use super::Format;

/// Chat's word, and that of Responses, Anthropic, Gemini and Ollama. A word stands for what is below it too.
const WORDS: [[&str; 5]; 21] = [
    ["max_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens", "options.num_predict"],
    ["stop", "stop", "stop_sequences", "generationConfig.stopSequences", "options.stop"],
    ["temperature", "temperature", "temperature", "generationConfig.temperature", "options.temperature"],
    ["top_p", "top_p", "top_p", "generationConfig.topP", "options.top_p"],
    ["top_k", "top_k", "top_k", "generationConfig.topK", "options.top_k"],
    ["min_p", "min_p", "min_p", "min_p", "options.min_p"],
    ["seed", "seed", "seed", "generationConfig.seed", "options.seed"],
    [
        "frequency_penalty",
        "frequency_penalty",
        "frequency_penalty",
        "generationConfig.frequencyPenalty",
        "options.frequency_penalty",
    ],
    [
        "presence_penalty",
        "presence_penalty",
        "presence_penalty",
        "generationConfig.presencePenalty",
        "options.presence_penalty",
    ],
    ["repetition_penalty", "repetition_penalty", "repetition_penalty", "repetition_penalty", "options.repeat_penalty"],
    ["reasoning", "reasoning", "thinking", "generationConfig.thinkingConfig", "think"],
    ["reasoning_effort", "reasoning.effort", "output_config.effort", "generationConfig.thinkingConfig", "think"],
    // Thoughts of earlier answers.
    ["thinking", "input.reasoning", "messages.thinking", "contents.thought", "messages.thinking"],
    [
        "redacted_thinking",
        "input.reasoning",
        "messages.redacted_thinking",
        "contents.thoughtSignature",
        "messages.thinking",
    ],
    [
        "thought_signature",
        "input.reasoning",
        "messages.redacted_thinking",
        "contents.thoughtSignature",
        "messages.tool_calls",
    ],
    ["response_format.json_schema", "text.format", "output_config.format", "generationConfig.responseSchema", "format"],
    ["response_format", "text.format", "output_config.format", "generationConfig.responseMimeType", "format"],
    ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "toolConfig", "tools"],
    ["tool_choice", "tool_choice", "tool_choice", "toolConfig", "tools"],
    ["user", "safety_identifier", "metadata.user_id", "user", "user"],
    ["service_tier", "service_tier", "service_tier", "serviceTier", "service_tier"],
];

/// A lost field's name as a client of this format knows it.
pub(super) fn in_words_of(format: Format, name: Cow<'static, str>) -> Cow<'static, str> {
    let column = match format {
        Format::OpenAiResponses => 1,
        Format::Anthropic => 2,
        Format::Gemini => 3,
        Format::Ollama => 4,
        Format::OpenAiChat | Format::Cohere | Format::Bedrock => return name,
    };
    for words in WORDS {
        let Some(rest) = name.strip_prefix(words[0]) else { continue };
        if rest.is_empty() {
            return Cow::Borrowed(words[column]);
        }
        if rest.starts_with('.') {
            return Cow::Owned(format!("{}{rest}", words[column]));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_reads_its_own_words() {
        let named = |format, name: &'static str| in_words_of(format, Cow::Borrowed(name)).into_owned();
        assert_eq!(named(Format::Gemini, "top_k"), "generationConfig.topK");
        assert_eq!(named(Format::Anthropic, "stop.4"), "stop_sequences.4");
        assert_eq!(named(Format::OpenAiResponses, "response_format.json_schema.strict"), "text.format.strict");
        assert_eq!(named(Format::Ollama, "seed"), "options.seed");
        assert_eq!(named(Format::OpenAiChat, "seed"), "seed");
        assert_eq!(named(Format::Anthropic, "stopwatch"), "stopwatch", "only whole words");
        assert_eq!(named(Format::Anthropic, "reasoning_effort"), "output_config.effort");
        assert_eq!(named(Format::Anthropic, "tools.strict"), "tools.strict");
    }
}
