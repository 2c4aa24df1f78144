//! What is said to Redis: keys, scripts, and how answers and messages read.
//!
//! Every script touches keys of one hash tag only, so all of it works on a cluster. Keys carry the version of their
//! layout and a TTL a little longer than their meaning.

use std::{sync::Arc, time::Duration};

use ::redis::{RedisError, RedisResult, Script, aio::MultiplexedConnection};

use crate::{
    RateDecision,
    windows::{SLOTS, Unsent, slot_width},
};

const COOLDOWNS: &str = "omniroute:{fleet}:v1:cooldowns";
const MEMBERS: &str = "omniroute:{fleet}:v1:members";
const EPOCH: &str = "omniroute:{fleet}:v1:epoch";

/// Where changes of cooldowns are published.
pub(super) const CHANNEL: &str = "omniroute:{fleet}:v1:changes";

/// How much longer than its last cooldown the key of all cooldowns lives.
const COOLDOWNS_TAIL: Duration = Duration::from_secs(60);

/// How long a member that says nothing counts as one.
const MEMBER_TTL: Duration = Duration::from_secs(15);

/// How long the epoch outlives the last member.
const EPOCH_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The scripts, and who sends them.
pub(super) struct Commands {
    /// Names this instance among the members; another one after every start.
    sender: String,
    cool: Script,
    warm: Script,
    read: Script,
    hit: Script,
    add: Script,
}

/// Everything that Redis knows about cooldowns.
pub(super) struct Snapshot {
    /// Another one than before means that Redis lost its data.
    pub(super) epoch: String,
    /// Of the last change.
    pub(super) version: u64,
    pub(super) members: u32,
    /// Id, time left, reason.
    pub(super) cooldowns: Vec<(Arc<str>, Duration, String)>,
}

/// A published change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) version: u64,
    pub(super) id: &'a str,
    pub(super) change: Published<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Published<'a> {
    Cool { left: Duration, reason: &'a str },
    Warm,
}

// === impl Commands ===

impl Commands {
    pub(super) fn new() -> Self {
        Self {
            sender: format!("{:032x}", rand::random::<u128>()),
            cool: Script::new(include_str!("scripts/cool.lua")),
            warm: Script::new(include_str!("scripts/warm.lua")),
            read: Script::new(include_str!("scripts/read.lua")),
            hit: Script::new(include_str!("scripts/hit.lua")),
            add: Script::new(include_str!("scripts/add.lua")),
        }
    }

    /// Returns the version of the change, 0 when a longer cooldown is in force.
    pub(super) async fn cool(
        &self,
        redis: &mut MultiplexedConnection,
        id: &str,
        left: Duration,
        reason: &str,
    ) -> RedisResult<u64> {
        let mut call = self.cool.key(COOLDOWNS);
        call.arg(id).arg(millis(left)).arg(millis(COOLDOWNS_TAIL)).arg(CHANNEL).arg(reason);
        call.invoke_async(redis).await
    }

    /// Ends a cooldown that began at least `age` ago. Returns the version of the change, 0 when there was none.
    pub(super) async fn warm(&self, redis: &mut MultiplexedConnection, id: &str, age: Duration) -> RedisResult<u64> {
        let mut call = self.warm.key(COOLDOWNS);
        call.arg(id).arg(millis(age)).arg(CHANNEL);
        call.invoke_async(redis).await
    }

    pub(super) async fn read(&self, redis: &mut MultiplexedConnection) -> RedisResult<Snapshot> {
        let mut call = self.read.key(COOLDOWNS);
        call.key(MEMBERS).key(EPOCH);
        let epoch = format!("{:016x}", rand::random::<u64>());
        call.arg(&self.sender).arg(millis(MEMBER_TTL)).arg(epoch).arg(millis(EPOCH_TTL));
        let answer: Vec<String> = call.invoke_async(redis).await?;
        Snapshot::parse(&answer).ok_or_else(|| unexpected("read"))
    }

    pub(super) async fn hit(
        &self,
        redis: &mut MultiplexedConnection,
        scope: &str,
        limit: u64,
        window: Duration,
    ) -> RedisResult<RateDecision> {
        let width = slot_width(window);
        // Lua counts in doubles, exact up to 2^53.
        let limit = limit.min(1 << 53);
        let mut call = self.hit.key(counter_key(scope, width));
        call.arg(width).arg(SLOTS).arg(limit);
        let (allowed, remaining, wait): (u64, u64, u64) = call.invoke_async(redis).await?;
        let allowed = allowed == 1;
        Ok(RateDecision { allowed, remaining, retry_after: (!allowed).then(|| Duration::from_millis(wait)) })
    }

    /// Adds hits that were counted without Redis and taken `waited` ago. `batch` grows; a batch that was added already changes nothing.
    pub(super) async fn add(
        &self,
        mut redis: MultiplexedConnection,
        unsent: &Unsent,
        waited: Duration,
        batch: u64,
    ) -> RedisResult<()> {
        let mut call = self.add.key(counter_key(&unsent.scope, unsent.width));
        call.arg(unsent.width).arg(SLOTS).arg(&self.sender).arg(batch);
        for (age, count) in &unsent.groups {
            call.arg(millis(*age + waited)).arg(*count);
        }
        call.invoke_async::<u64>(&mut redis).await.map(drop)
    }
}

/// One scope is one slot of a cluster, and another window length another counter.
fn counter_key(scope: &str, width: u64) -> String {
    format!("omniroute:{{hit:{scope}}}:v1:{width}")
}

pub(super) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn unexpected(script: &'static str) -> RedisError {
    RedisError::from((::redis::ErrorKind::UnexpectedReturnType, "a script answered in an unknown shape", script.into()))
}

// === impl Snapshot ===

impl Snapshot {
    fn parse(answer: &[String]) -> Option<Self> {
        let [epoch, version, members, entries @ ..] = answer else { return None };
        let cooldowns = entries
            .chunks_exact(4)
            .map(|entry| {
                let left = Duration::from_millis(entry[1].parse().ok()?);
                Some((entry[0].as_str().into(), left, entry[3].clone()))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { epoch: epoch.clone(), version: version.parse().ok()?, members: members.parse().ok()?, cooldowns })
    }
}

// === impl Message ===

impl<'a> Message<'a> {
    /// `kind|version|milliseconds left|bytes of the id|id`, and for a cooldown the reason behind it. `None` for
    /// anything else, such as what a later version may publish.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(5, '|');
        let (kind, version, left) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let (id_len, rest): (usize, _) = (parts.next()?.parse().ok()?, parts.next()?);
        let (id, reason) = rest.split_at_checked(id_len)?;
        let change = match kind {
            "cool" => Published::Cool { left: Duration::from_millis(left), reason },
            "warm" => Published::Warm,
            _ => return None,
        };
        Some(Self { version, id, change })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_carry_any_id_and_any_reason() {
        let cool = Message::parse("cool|17|250|5|a|b\nc429 | later").expect("a message");
        let change = Published::Cool { left: Duration::from_millis(250), reason: "429 | later" };
        assert_eq!(cool, Message { version: 17, id: "a|b\nc", change });
        assert_eq!(Message::parse("warm|18|0|1|a"), Some(Message { version: 18, id: "a", change: Published::Warm }));
    }

    #[test]
    fn what_is_no_message_is_ignored() {
        for text in ["", "cool", "cool|x|1|1|a", "cool|1|1|9|a", "melt|1|1|1|a", "cool|1|1|1|é"] {
            assert_eq!(Message::parse(text), None, "{text}");
        }
    }
}
