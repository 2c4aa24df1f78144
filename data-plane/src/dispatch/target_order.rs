//! In which order the targets of a request are tried, and why.

use crate::request::{Plan, Reason, SessionId, Target};

/// The targets of a request, in order.
pub(super) enum Targets<'p> {
    /// As the plan has them.
    Planned(&'p Plan),
    Reordered(Vec<Target<'p>>),
}

// === impl Targets ===

impl<'p> Targets<'p> {
    /// Among those of one provider and priority, the one that the session is drawn to most goes first.
    pub(super) fn of(plan: &'p Plan, session: Option<&SessionId>) -> Self {
        let Some(session) = session else { return Self::Planned(plan) };
        let mut targets: Vec<_> = plan.targets().collect();
        for equals in targets.chunk_by_mut(|one, other| {
            one.entry.provider == other.entry.provider && one.entry.priority == other.entry.priority
        }) {
            equals.sort_by_cached_key(|target| std::cmp::Reverse(session.draw(target.entry.id.as_str())));
            if let [first, _, ..] = equals {
                first.reason = Reason::Session;
            }
        }
        Self::Reordered(targets)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Target<'p>> {
        let (planned, reordered) = match self {
            Self::Planned(plan) => (Some(*plan), &[][..]),
            Self::Reordered(targets) => (None, targets.as_slice()),
        };
        planned.into_iter().flat_map(Plan::targets).chain(reordered.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::{request::Caller, resolve::resolve, server::testing::snapshot_with};

    #[test]
    fn a_session_goes_to_the_same_one_of_equals_and_never_before_a_better_one() {
        let snapshot = snapshot_with(|resources| {
            resources.node("mock", "http://127.0.0.1:9/v1");
            for id in ["a", "b", "c"] {
                resources.connection(id, "mock", |connection| connection.priority = 1);
            }
            resources.connection("last", "mock", |connection| connection.priority = 2);
        });
        let plan = resolve(&snapshot, &Caller::Local, "mock/m").expect("a plan");
        let order = |session: Option<&SessionId>| -> Vec<(String, Reason)> {
            let targets = Targets::of(&plan, session);
            targets.iter().map(|target| (target.entry.id.to_string(), target.reason)).collect()
        };
        assert_eq!(order(None), ["a", "b", "c", "last"].map(|id| (id.to_owned(), Reason::Priority)));
        let mut first = std::collections::BTreeSet::new();
        for number in 0..40 {
            let value = HeaderValue::from(number);
            let headers = HeaderMap::from_iter([(HeaderName::from_static("x-session-id"), value)]);
            let session = SessionId::of(&headers).expect("legal").expect("named");
            let ordered = order(Some(&session));
            assert_eq!(ordered, order(Some(&session)));
            assert_eq!((ordered[0].1, ordered[3].0.as_str()), (Reason::Session, "last"));
            assert!(ordered[1..].iter().all(|(_, reason)| *reason == Reason::Priority), "{ordered:?}");
            first.insert(ordered[0].0.clone());
        }
        assert_eq!(first.len(), 3, "sessions spread over all equals");
    }
}
