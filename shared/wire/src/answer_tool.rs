//! The forced tool that stands for a format of the answer, on models that have none, or none beside tools (Bedrock, Gemini): its
//! arguments are the answer's text.

/// Its name; the prefix keeps it apart from every client's tools.
pub(crate) const ANSWER_TOOL: &str = "omniroute_json_answer";

pub(crate) const ANSWER_DESCRIPTION: &str =
    "Gives the final answer to the user. Call it exactly once, with the whole answer as its input.";

/// Said to models that cannot be held to any JSON object.
pub(crate) const JSON_NOTE: &str = "Answer with one JSON object and nothing else.";

/// Said where the tools must be declared, because the history has calls, but must not be called.
pub(crate) const NO_CALLS_NOTE: &str = "Answer without calling any tool.";
