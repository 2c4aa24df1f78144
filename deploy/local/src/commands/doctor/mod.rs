//! `omniroute doctor`: what is wrong with this machine's installation, and what to do about it.
//!
//! [`local`] looks at what is here whether the gateway runs or not: directory, files, ports. [`services`] knocks at the
//! database and at Redis. [`gateway`] asks a running gateway how it is and lets it test its providers.

mod gateway;
mod local;
mod services;

use serde_json::{Value, json};

use crate::{context::Context, failure::Failure};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    /// Worth knowing; nothing fails because of it.
    Note,
    Bad,
}

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    subject: String,
    verdict: Verdict,
    what: String,
    /// What to do.
    remedy: Option<String>,
}

pub(crate) async fn run(context: &Context) -> Result<(), Failure> {
    let is_remote = !context.launcher.url.is_empty();
    let mut findings = Vec::new();
    if !is_remote {
        findings.extend(local::look(context));
        findings.extend(services::look(context).await);
    }
    findings.extend(gateway::look(context).await);

    for finding in &findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok  ",
            Verdict::Note => "note",
            Verdict::Bad => "BAD ",
        };
        context.screen.line(&format!("{mark}  {}: {}", finding.subject, finding.what));
        if let Some(remedy) = &finding.remedy {
            context.screen.line(&format!("      → {remedy}"));
        }
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    let findings: Vec<Value> = findings.iter().map(Finding::to_json).collect();
    context.screen.json(&json!({ "healthy": bad == 0, "findings": findings }));
    match bad {
        0 => Ok(()),
        1 => Err(Failure::failed("one check failed")),
        bad => Err(Failure::failed(format!("{bad} checks failed"))),
    }
}

// === impl Finding ===

impl Finding {
    fn good(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { subject: subject.into(), verdict: Verdict::Good, what: what.into(), remedy: None }
    }

    fn note(subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Note, remedy: Some(remedy.into()), ..Self::good(subject, what) }
    }

    fn bad(subject: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, ..Self::note(subject, what, remedy) }
    }

    fn to_json(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Good => "ok",
            Verdict::Note => "note",
            Verdict::Bad => "bad",
        };
        json!({ "subject": self.subject, "verdict": verdict, "what": self.what, "remedy": self.remedy })
    }
}
