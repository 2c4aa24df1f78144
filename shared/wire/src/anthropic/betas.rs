//! Beta flags that a request needs whoever sends it. What else a client asks for in its own header is the caller's to add.

use super::{BETA_HEADER, extras::Extras};
use crate::ir::{Family, Json, Part, Request, Source};

const CONTEXT_MANAGEMENT: &str = "context-management-2025-06-27";
/// With the tools' settings inside the server's definition; later they moved into a tool set of their own.
const MCP_OLD: &str = "mcp-client-2025-04-04";
const MCP: &str = "mcp-client-2025-11-20";

/// Types of tools that do.
const TOOLS: [(&str, &str); 7] = [
    ("computer_20241022", "computer-use-2024-10-22"),
    ("computer_20250124", "computer-use-2025-01-24"),
    ("computer_20251124", "computer-use-2025-11-24"),
    ("code_execution_20250522", "code-execution-2025-05-22"),
    ("code_execution_20250825", "code-execution-2025-08-25"),
    ("memory_20250818", CONTEXT_MANAGEMENT),
    ("advisor_20260301", "advisor-tool-2026-03-01"),
];

const FILES: &str = "files-api-2025-04-14";
const SKILLS: &str = "skills-2025-10-02";
const FAST: &str = "fast-mode-2026-02-01";
const SYSTEM_TURNS: &str = "mid-conversation-system-2026-04-07";

/// The header with all of them; empty when there are none.
pub(super) fn headers(request: &Request<'_>, extras: &Extras<'_>, system_turns: bool) -> Vec<(&'static str, String)> {
    let given = |field| extras.get("", field).map(|raw| raw.as_str()).filter(|raw| !matches!(*raw, "null" | "[]"));
    let mut flags: Vec<&str> = Vec::new();
    let mut add = |flag| {
        if !flags.contains(&flag) {
            flags.push(flag);
        }
    };
    if system_turns {
        add(SYSTEM_TURNS);
    }
    if given("context_management").is_some() {
        add(CONTEXT_MANAGEMENT);
    }
    if let Some(servers) = given("mcp_servers") {
        add(if servers.contains("\"tool_configuration\"") { MCP_OLD } else { MCP });
    }
    // With skills it is an object; a mere id needs no flag.
    if given("container").is_some_and(|raw| raw.starts_with('{')) {
        add(SKILLS);
    }
    if given("speed") == Some("\"fast\"") {
        add(FAST);
    }
    for tool in request.vendor_tools.iter().filter(|tool| tool.family == Family::Anthropic) {
        if let Some((_, flag)) = TOOLS.iter().find(|(name, _)| tool.name == *name) {
            add(flag);
        }
    }
    if request.turns.iter().flat_map(|turn| &turn.parts).any(names_file) {
        add(FILES);
    }
    if flags.is_empty() { Vec::new() } else { vec![(BETA_HEADER, flags.join(","))] }
}

/// Keeps the switches of a client's own header for an upstream of another family, which takes some of them or lists them as
/// lost.
pub fn keep_switches<'h>(request: &mut Request<'_>, header: impl Iterator<Item = &'h str>) {
    let flags: Vec<&str> =
        header.flat_map(|value| value.split(',')).map(str::trim).filter(|flag| !flag.is_empty()).collect();
    if let Some(flags) = Json::from_value(&flags.into()).filter(|list| list.as_str() != "[]") {
        request.extensions.push(BETA_HEADER, flags);
    }
}

fn names_file(part: &Part<'_>) -> bool {
    match part {
        Part::Image { source, .. } | Part::Document { source, .. } => matches!(source, Source::File { .. }),
        Part::ToolResult { parts, .. } => parts.iter().any(names_file),
        Part::ServerTool { family: Family::Anthropic, raw } => raw.as_str().contains("\"container_upload\""),
        _ => false,
    }
}
