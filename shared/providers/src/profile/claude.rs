//! Anthropic's models, wherever they are served.
//!
//! Sources: platform.claude.com on models, thinking, effort, structured outputs and mid-conversation system messages; the
//! migration guides of Claude 4.6 to 5.5; Amazon's guide to Claude on Bedrock.

use omniroute_wire::ir::{Effort, Profile, ThinkingStyle};

use super::{scale, thoughts, version};

/// The smallest and the largest budget of thoughts, in tokens.
const BUDGET: ThinkingStyle = ThinkingStyle::Budget { min: 1_024, max: 128_000, can_disable: true };

/// The lines of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Opus,
    Sonnet,
    Haiku,
    Fable,
    Mythos,
}

/// A model by its line and version. Both orders of the name are in use: `claude-3-5-haiku`, `claude-haiku-4-5`.
fn read(name: &str) -> Option<(Line, (u32, u32))> {
    let (_, rest) = name.split_once("claude-")?;
    let lines = [
        ("opus", Line::Opus),
        ("sonnet", Line::Sonnet),
        ("haiku", Line::Haiku),
        ("fable", Line::Fable),
        ("mythos", Line::Mythos),
    ];
    let (at, word, line) = lines.iter().find_map(|(word, line)| rest.find(word).map(|at| (at, word, *line)))?;
    let behind = rest[at + word.len()..].trim_start_matches(['-', '.', '_']);
    let version = version(behind).or_else(|| version(rest));
    // Previews of a line that had no number yet.
    Some((line, version.or((line == Line::Mythos).then_some((5, 0)))?))
}

/// Applies what is known of Claude; `None` when it is another's model.
pub(super) fn apply(provider: &str, name: &str, profile: &mut Profile) {
    // A forced tool works with every host that speaks this format, a schema does not.
    profile.json_schema = false;
    let Some((line, version)) = read(name) else {
        return thoughts::wanted_back(provider, name, profile);
    };
    let is_opus_4_1 = line == Line::Opus && version == (4, 1);
    profile.json_schema = version >= (4, 5) || is_opus_4_1;
    profile.fixed_sampling = version >= (4, 7);
    profile.prefill = version < (4, 6);
    // Only where Anthropic itself serves it.
    let since = if line == Line::Opus { (4, 8) } else { (5, 0) };
    let is_preview = name.contains("preview");
    profile.mid_conversation_system = provider == "anthropic" && version >= since && !is_preview;
    thinking(line, version, is_preview, profile);
    if profile.max_output_tokens.is_none() {
        profile.max_output_tokens = Some(most_output(line, version));
    }
}

fn thinking(line: Line, version: (u32, u32), is_preview: bool, profile: &mut Profile) {
    profile.thinking = match version {
        old if old < (3, 7) => ThinkingStyle::None,
        budget if budget < (4, 6) => BUDGET,
        _ => ThinkingStyle::Adaptive,
    };
    if profile.thinking != ThinkingStyle::Adaptive {
        profile.efforts = scale(&[Effort::Low, Effort::Medium, Effort::High]);
        return;
    }
    let always = match line {
        Line::Fable | Line::Mythos => true,
        // Sonnet 5.5 has a mode in between, which is no switch.
        Line::Opus | Line::Sonnet => version >= (5, 5),
        Line::Haiku => false,
    };
    // "None" says that thinking can be switched off.
    let off = if always { &[][..] } else { &[Effort::None] };
    // It came with 4.7; the first Mythos does not know it.
    let extra = if version >= (4, 7) && !is_preview { &[Effort::XHigh][..] } else { &[] };
    profile.efforts = scale(&[off, &[Effort::Low, Effort::Medium, Effort::High], extra, &[Effort::Max]].concat());
}

const fn most_output(line: Line, version: (u32, u32)) -> u64 {
    match (line, version) {
        (_, (0..=2, _) | (3, 0)) => 4_096,
        (_, (3, 1..=5)) => 8_192,
        (Line::Opus, (4, 0 | 1)) => 32_000,
        (_, (3, _) | (4, 0..=5)) | (Line::Sonnet, (4, 6)) => 64_000,
        _ => 128_000,
    }
}

#[cfg(test)]
mod tests {
    use omniroute_wire::ir::Format;

    use super::*;
    use crate::profile;

    #[test]
    fn lines_and_versions_are_read_in_every_spelling() {
        for (name, expected) in [
            ("claude-opus-4-6", Some((Line::Opus, (4, 6)))),
            ("claude-opus-4.6", Some((Line::Opus, (4, 6)))),
            ("claude-sonnet-4-5-20250929", Some((Line::Sonnet, (4, 5)))),
            ("claude-opus-4-20250514", Some((Line::Opus, (4, 0)))),
            ("claude-3-7-sonnet-20250219", Some((Line::Sonnet, (3, 7)))),
            ("claude-3-haiku-20240307", Some((Line::Haiku, (3, 0)))),
            ("claude-4.5-sonnet", Some((Line::Sonnet, (4, 5)))),
            ("us.anthropic.claude-opus-4-6-v1", Some((Line::Opus, (4, 6)))),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", Some((Line::Haiku, (4, 5)))),
            ("claude-haiku-4-5@20251001", Some((Line::Haiku, (4, 5)))),
            ("claude-fable-5-1", Some((Line::Fable, (5, 1)))),
            ("claude-sonnet-5", Some((Line::Sonnet, (5, 0)))),
            ("claude-mythos-preview", Some((Line::Mythos, (5, 0)))),
            ("claude-opus-latest", None),
            ("glm-5", None),
        ] {
            assert_eq!(read(name), expected, "{name}");
        }
    }

    #[test]
    fn each_generation_takes_what_it_takes() {
        use ThinkingStyle::{Adaptive, None as Nothing};
        let b = BUDGET;
        // name, thinking, schema, fixed sampling, system turns, can be switched off, output
        for (name, thinking, schema, fixed, turns, off, most) in [
            ("claude-3-haiku-20240307", Nothing, false, false, false, false, 4_096),
            ("claude-3-5-sonnet-20241022", Nothing, false, false, false, false, 8_192),
            ("claude-3-7-sonnet-latest", b, false, false, false, false, 64_000),
            ("claude-sonnet-4-20250514", b, false, false, false, false, 64_000),
            ("claude-opus-4-1", b, true, false, false, false, 32_000),
            ("claude-haiku-4-5", b, true, false, false, false, 64_000),
            ("claude-opus-4-5", b, true, false, false, false, 64_000),
            ("claude-sonnet-4-6", Adaptive, true, false, false, true, 128_000),
            ("claude-opus-4-6", Adaptive, true, false, false, true, 128_000),
            ("claude-opus-4-7", Adaptive, true, true, false, true, 128_000),
            ("claude-opus-4-8", Adaptive, true, true, true, true, 128_000),
            ("claude-sonnet-5", Adaptive, true, true, true, true, 128_000),
            ("claude-opus-5", Adaptive, true, true, true, true, 128_000),
            ("claude-opus-5-5", Adaptive, true, true, true, false, 128_000),
            ("claude-haiku-5-5", Adaptive, true, true, true, true, 128_000),
            ("claude-fable-5", Adaptive, true, true, true, false, 128_000),
            ("claude-mythos-preview", Adaptive, true, true, false, false, 128_000),
        ] {
            let own = profile("anthropic", Format::Anthropic, name);
            assert_eq!(own.thinking, thinking, "{name}");
            assert_eq!(
                (own.json_schema, own.fixed_sampling, own.mid_conversation_system),
                (schema, fixed, turns),
                "{name}"
            );
            assert_eq!(own.efforts.0.contains(&Effort::None), off, "{name}");
            assert_eq!(own.max_output_tokens, Some(most), "{name}");
            assert_eq!(own.prefill, thinking != Adaptive, "{name}");
        }
        assert!(!profile("bedrock", Format::Bedrock, "us.anthropic.claude-opus-4-6-v1").prefill);
        let elsewhere = profile("node-1", Format::Anthropic, "claude-opus-5");
        assert!(!elsewhere.mid_conversation_system && elsewhere.fixed_sampling);
    }

    #[test]
    fn the_two_highest_efforts_came_one_after_the_other() {
        use Effort::{High, Max, XHigh};
        for (name, xhigh, max) in [
            ("claude-opus-4-5", High, High),
            ("claude-opus-4-6", High, Max),
            ("claude-sonnet-4-6", High, Max),
            ("claude-mythos-preview", High, Max),
            ("claude-opus-4-7", XHigh, Max),
            ("claude-sonnet-5", XHigh, Max),
        ] {
            let efforts = profile("anthropic", Format::Anthropic, name).efforts;
            assert_eq!((efforts.clamp(XHigh), efforts.clamp(Max)), (Some(xhigh), Some(max)), "{name}");
        }
    }

    #[test]
    fn anothers_model_is_told_to_think_as_the_client_said() {
        let glm = profile("node-1", Format::Anthropic, "glm-5");
        assert_eq!((glm.thinking, glm.json_schema), (ThinkingStyle::Effort, false));
        assert_eq!(glm.max_output_tokens, None);
    }
}
