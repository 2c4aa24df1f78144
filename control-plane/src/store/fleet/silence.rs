//! How long the others have been silent, by the clock of this process alone: theirs may be wrong, and so may its own.

use std::{collections::HashMap, time::Duration};

use omniroute_core::time::UnixMillis;

use super::members::ControlPlaneRow;
use crate::store::LOST_AFTER;

/// Watches what the others tell of themselves.
#[derive(Default)]
pub(super) struct SilenceWatch {
    looked_at: Option<UnixMillis>,
    /// By id.
    heard: HashMap<String, Heard>,
}

struct Heard {
    /// What it said last, by its own clock.
    said: UnixMillis,
    /// When that was noticed.
    noticed_at: UnixMillis,
    /// It said something since this process began to watch it.
    is_new: bool,
}

/// How it is about one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Silence {
    pub(super) lasts: Duration,
    /// It was heard of while it was watched: it ran then, whatever its clock and this one say.
    pub(super) was_heard: bool,
}

// === impl SilenceWatch ===

impl SilenceWatch {
    /// Of each of these. `written_at`: when this process last could tell of itself.
    pub(super) fn silence(
        &mut self,
        rows: &[ControlPlaneRow],
        written_at: Option<UnixMillis>,
        now: UnixMillis,
    ) -> Vec<Silence> {
        // Who could not look does not know who was silent meanwhile, and where nothing can be written all are.
        let is_recent = |at: UnixMillis| at <= now && now.saturating_since(at) <= LOST_AFTER;
        if !self.looked_at.is_some_and(is_recent) || !written_at.is_some_and(is_recent) {
            self.heard.clear();
        }
        self.looked_at = Some(now);
        self.heard.retain(|id, _| rows.iter().any(|row| row.id == *id));
        let silence = rows.iter().map(|row| {
            let first = || Heard { said: row.last_seen_at, noticed_at: now, is_new: false };
            let heard = self.heard.entry(row.id.clone()).or_insert_with(first);
            if heard.said != row.last_seen_at {
                *heard = Heard { said: row.last_seen_at, noticed_at: now, is_new: true };
            } else if heard.noticed_at > now {
                heard.noticed_at = now;
            }
            Silence { lasts: now.saturating_since(heard.noticed_at), was_heard: heard.is_new }
        });
        silence.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ControlPlaneState;

    fn row(last_seen_at: u64) -> ControlPlaneRow {
        ControlPlaneRow {
            id: "other".into(),
            name: "elsewhere/1".into(),
            version: String::new(),
            started_at: UnixMillis(0),
            last_seen_at: UnixMillis(last_seen_at),
            lost: false,
            is_this: false,
            state: ControlPlaneState::default(),
        }
    }

    /// Looks every five seconds from `from` to `to` at one that is never heard of again.
    fn look(watch: &mut SilenceWatch, from: u64, to: u64, written_at: impl Fn(u64) -> u64) -> Duration {
        let mut silence = Duration::ZERO;
        for second in (from..=to).step_by(5) {
            let written_at = UnixMillis(written_at(second) * 1000);
            silence = watch.silence(&[row(0)], Some(written_at), UnixMillis(second * 1000))[0].lasts;
        }
        silence
    }

    #[test]
    fn silence_counts_only_while_this_process_can_tell_of_itself() {
        let mut watch = SilenceWatch::default();
        assert_eq!(look(&mut watch, 1000, 1060, |now| now), Duration::from_mins(1));
        let broken = look(&mut watch, 1065, 1300, |_| 1060);
        assert_eq!(broken, Duration::ZERO, "the others cannot tell either");
        assert_eq!(look(&mut watch, 1305, 1365, |now| now), Duration::from_secs(65), "it counts anew");
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_makes_nobody_silent() {
        let mut watch = SilenceWatch::default();
        look(&mut watch, 1000, 1060, |now| now);
        assert_eq!(look(&mut watch, 700, 705, |now| now), Duration::from_secs(5));
        assert_eq!(look(&mut watch, 5000, 5000, |now| now), Duration::ZERO);
    }

    #[test]
    fn whoever_says_something_new_is_heard_whatever_their_clock_says() {
        let mut watch = SilenceWatch::default();
        let mut at = |said: u64, now: u64| watch.silence(&[row(said)], Some(UnixMillis(now)), UnixMillis(now))[0];
        let day = 24 * 60 * 60 * 1000;
        assert_eq!(at(0, day), Silence { lasts: Duration::ZERO, was_heard: false }, "it may be long gone");
        assert_eq!(at(5000, day + 5000), Silence { lasts: Duration::ZERO, was_heard: true });
        assert_eq!(at(5000, day + 10_000), Silence { lasts: Duration::from_secs(5), was_heard: true });
    }
}
