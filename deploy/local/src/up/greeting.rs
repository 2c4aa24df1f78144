//! What `up` says once the gateway is ready: where it is, how to get in, and a line to try it with.

use std::{fmt::Write as _, time::Instant};

use omniroute_core::{
    settings::Secret,
    time::{Clock as _, SystemClock, UnixMillis},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use super::Start;
use crate::{
    client::{self, Client},
    commands::{
        keys,
        password::{self, Check},
    },
    context::Context,
    data_dir,
    failure::Failure,
    screen::{self, quoted},
};

/// How long a key may take from the control plane to the proxy.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
const KEY_NAME: &str = "first key";

/// Where a first key comes from when the file holds none that counts.
struct Replacement {
    /// Id of the key that gets a new secret; `None`: a new key is made.
    of: Option<String>,
    /// Name of a new key.
    name: String,
    note: String,
}

/// The key of this machine's clients.
struct FirstKey {
    /// What it may use, as the proxy lists it; `None` when the key is switched off or has expired.
    models: Option<Value>,
    /// What happened to it, in brackets behind its place.
    note: String,
    /// The gateway had no key before.
    is_only: bool,
}

pub(super) async fn greeting(
    context: &Context,
    start: &Start,
    proxy: &str,
    control_plane: &str,
) -> Result<String, Failure> {
    let dir = context.data_dir();
    let key = first_key(context, start, proxy, control_plane).await?;
    let key_file = dir.file(data_dir::API_KEY).display().to_string();
    let password = password_line(context, start, control_plane, key.is_only).await?;
    let mut text = format!("\nOmniRoute is ready after {:.1} s.\n\n", start.at.elapsed().as_secs_f64());
    let _ = writeln!(text, "  URL             {proxy}/v1");
    let _ = writeln!(text, "  dashboard       {proxy}/dashboard");
    let _ = writeln!(text, "  API key         in {key_file}{}", key.note);
    let _ = writeln!(text, "  admin password  {password}");
    let Some(models) = key.models else { return Ok(text) };
    text.push_str("\nTry it:\n\n");
    let authorization = format!("-H \"Authorization: Bearer $(cat {})\"", quoted(&key_file));
    match first_chat_model(&models) {
        Some(model) => {
            let body = json!({ "model": model, "messages": [{ "role": "user", "content": "Say hello." }] });
            let body = quoted(&body.to_string());
            let _ = writeln!(
                text,
                "  curl {proxy}/v1/chat/completions {authorization} -H 'Content-Type: application/json' -d {body}"
            );
        }
        None => {
            let _ = writeln!(text, "  curl {proxy}/v1/models {authorization}");
            text.push_str("\nThere is no model yet. Add a provider, for example:\n\n");
            let openai = context.command("providers add openai --api-key-stdin");
            let local = context.command("providers add local --base-url http://127.0.0.1:11434/v1 --prefix local");
            let _ = writeln!(text, "  echo \"$OPENAI_API_KEY\" | {openai}\n  {local}");
        }
    }
    Ok(text)
}

/// The password itself until somebody has been greeted, if it is the one that counts; afterwards how to find it. A gateway
/// that has a key already has greeted somebody, whatever became of the file.
async fn password_line(
    context: &Context,
    start: &Start,
    control_plane: &str,
    is_first_key: bool,
) -> Result<String, Failure> {
    let dir = context.data_dir();
    let file = dir.file(data_dir::ADMIN_PASSWORD);
    if context.control_plane.initial_password.is_set() {
        return Ok("that of INITIAL_PASSWORD, unless it was changed since".to_owned());
    }
    if start.is_first
        && is_first_key
        && let Some(password) = &start.secrets.admin_password
    {
        match password::check(control_plane, password).await? {
            Check::Wrong => dir.remove(data_dir::ADMIN_PASSWORD)?,
            Check::Right | Check::Unknown => {
                return Ok(format!("{}   (shown this once; kept in {})", password.expose(), file.display()));
            }
        }
    }
    Ok(format!("see `{}`", context.command("password")))
}

/// The first key, made when there is none. One whose file is gone gets a new secret, so that the lost one is good no
/// longer; one that somebody switched off stays so, and so does one that has expired.
async fn first_key(context: &Context, start: &Start, proxy: &str, control_plane: &str) -> Result<FirstKey, Failure> {
    let dir = context.data_dir();
    let client = Client::of_launcher(context, control_plane, &start.secrets.jwt_secret)?;
    let kept = dir.read(data_dir::API_KEY)?;
    let known = keys::all(&client).await?;
    if let Some(key) = &kept {
        // The proxy may have started from an older copy of the configuration, whose refusal means nothing.
        let is_current = arrived(&client, proxy).await;
        let models = models(proxy, key).await?;
        if models.is_some() {
            return Ok(FirstKey { models, note: String::new(), is_only: false });
        }
        is_current?;
    }
    let now = SystemClock.now();
    let in_file =
        known.iter().find(|one| kept.as_ref().is_some_and(|key| is_mask_of(&screen::text(one, "key"), key.expose())));
    if let Some((one, state)) =
        in_file.map(|one| (one, keys::state(one, now))).filter(|(_, state)| *state != keys::ACTIVE)
    {
        let command = context.command(&format!("keys edit {} --enable --expires never", screen::text(one, "id")));
        let note = format!("   (the gateway refuses it, since it is {state}; `{command}` lets it in again)");
        return Ok(FirstKey { models: None, note, is_only: false });
    }
    let replacement = replacement(&known, in_file, kept.is_some(), now);
    let made = match &replacement.of {
        Some(id) => client.post(&format!("/api/keys/{id}/regenerate"), &json!({})).await?,
        None => client.post("/api/keys", &json!({ "name": replacement.name })).await?,
    };
    let key = Secret::new(screen::text(&made, "key"));
    if !key.is_set() {
        return Err(Failure::failed("the control plane made an API key and did not show it"));
    }
    dir.write(data_dir::API_KEY, &key)?;
    arrived(&client, proxy).await?;
    match models(proxy, &key).await? {
        Some(models) => Ok(FirstKey { models: Some(models), note: replacement.note, is_only: known.is_empty() }),
        None => Err(Failure::failed("the proxy does not take the API key that the control plane made")),
    }
}

/// What to do about a first key that is not there, or that the proxy does not know although it should: `in_file` is the
/// key that the file holds, as the gateway lists it.
fn replacement(known: &[Value], in_file: Option<&Value>, is_kept: bool, now: UnixMillis) -> Replacement {
    let is_active = |one: &&Value| keys::state(one, now) == keys::ACTIVE;
    if let Some(one) = in_file {
        let note = "   (new: the gateway refused the old one although it is active, as it does after API_KEY_SECRET was \
                    changed; keys that were made before that need `keys regenerate` too)";
        return Replacement { of: Some(screen::text(one, "id")), name: String::new(), note: note.to_owned() };
    }
    let mut called_so = known.iter().filter(|one| screen::text(one, "name") == KEY_NAME).peekable();
    let is_taken = called_so.peek().is_some();
    if !is_kept && let Some(lost) = called_so.find(is_active) {
        let note = "   (new, since the file was gone; the old first key is void)";
        return Replacement { of: Some(screen::text(lost, "id")), name: String::new(), note: note.to_owned() };
    }
    let name = free_name(known);
    let note = if is_kept {
        format!("   (new, called `{name}`, since the gateway does not know the old one)")
    } else if is_taken {
        format!("   (new, called `{name}`: the file was gone, and `{KEY_NAME}` is switched off or has expired)")
    } else if known.is_empty() {
        String::new()
    } else {
        "   (new, since the file was gone; the other keys are as good as before, so delete one that was lost)"
            .to_owned()
    };
    Replacement { of: None, name, note }
}

/// A name that no key has yet.
fn free_name(known: &[Value]) -> String {
    let is_free = |name: &String| known.iter().all(|one| screen::text(one, "name") != *name);
    let numbered = (2..).map(|number: u32| format!("{KEY_NAME} {number}"));
    std::iter::once(KEY_NAME.to_owned()).chain(numbered).find(is_free).unwrap_or_else(|| KEY_NAME.to_owned())
}

/// Whether a key is the one that is shown as `sk-12345****6789`.
fn is_mask_of(mask: &str, key: &str) -> bool {
    mask.split_once("****").is_some_and(|(first, last)| {
        !first.is_empty() && !last.is_empty() && key.starts_with(first) && key.ends_with(last)
    })
}

/// Waits until the proxy has the newest configuration: a key that is tried sooner is refused, which the proxy logs.
async fn arrived(client: &Client, proxy: &str) -> Result<(), Failure> {
    let revision = |value: &Value| value.get("revision").and_then(Value::as_u64).unwrap_or(0);
    let newest = revision(&client.get("/api/monitoring/health").await?);
    let http = client::http(true)?;
    let deadline = Instant::now() + KEY_TIMEOUT;
    loop {
        let ready = http.get(format!("{proxy}/readyz")).send().await.map_err(|error| broken(&error))?;
        if revision(&ready.json().await.unwrap_or_default()) >= newest {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(Failure::failed("the proxy does not get the configuration that the control plane has"));
        }
        sleep(POLL).await;
    }
}

/// The proxy's models; `None` when it refuses the key.
async fn models(proxy: &str, key: &Secret) -> Result<Option<Value>, Failure> {
    let request = client::http(true)?.get(format!("{proxy}/v1/models")).bearer_auth(key.expose());
    let response = request.send().await.map_err(|error| broken(&error))?;
    match response.status() {
        status if status.is_success() => Ok(Some(response.json().await.map_err(|error| broken(&error))?)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        status => Err(Failure::failed(format!("the proxy answers {status} to GET /v1/models"))),
    }
}

fn broken(error: &reqwest::Error) -> Failure {
    Failure::failed(format!("the proxy broke off: {}", client::deepest(error)))
}

/// A name that steers a terminal is not shown to be copied.
fn first_chat_model(models: &Value) -> Option<&str> {
    let is_chat = |model: &&Value| model.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "chat");
    let chats = screen::list(models, "data").iter().filter(is_chat);
    chats.filter_map(|model| model.get("id")?.as_str()).find(|id| !id.chars().any(screen::steers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_model_that_chats_is_chosen() {
        let models = json!({"data": [{"id": "a/embed", "type": "embedding"}, {"id": "a/chat", "type": "chat"}]});
        assert_eq!(first_chat_model(&models), Some("a/chat"));
        assert_eq!(first_chat_model(&json!({"data": [{"id": "x/y"}]})), Some("x/y"));
        assert_eq!(first_chat_model(&json!({"data": []})), None);
        assert_eq!(first_chat_model(&json!({"data": [{"id": "a/\u{9b}2J"}, {"id": "a/b"}]})), Some("a/b"));
    }

    #[test]
    fn a_key_is_known_by_its_mask() {
        assert!(is_mask_of("sk-abcde****6789", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("sk-abcde****6780", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("****", "sk-abcdefgh0123456789"));
    }

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn listed(id: &str, name: &str, is_active: bool) -> Value {
        json!({ "id": id, "name": name, "isActive": is_active, "expiresAt": null, "revokedAt": null })
    }

    #[test]
    fn a_lost_first_key_gets_a_new_secret_only_while_it_counts() {
        let lost = replacement(&[listed("1", KEY_NAME, true)], None, false, NOW);
        assert_eq!(lost.of.as_deref(), Some("1"));
        assert!(lost.note.contains("void"), "{}", lost.note);
        let expired = json!({ "id": "2", "name": KEY_NAME, "isActive": true, "expiresAt": NOW.to_rfc3339() });
        for one in [listed("1", KEY_NAME, false), expired] {
            let made = replacement(&[one], None, false, NOW);
            assert_eq!((made.of, made.name.as_str()), (None, "first key 2"));
            assert!(made.note.contains("first key 2"), "{}", made.note);
        }
    }

    #[test]
    fn a_new_first_key_beside_others_is_told() {
        assert_eq!(replacement(&[], None, false, NOW).note, "");
        let renamed = replacement(&[listed("1", "laptop", true)], None, false, NOW);
        assert_eq!((renamed.of, renamed.name.as_str()), (None, KEY_NAME));
        assert!(renamed.note.contains("the file was gone"), "{}", renamed.note);
        let unknown = replacement(&[listed("1", KEY_NAME, true)], None, true, NOW);
        assert_eq!((unknown.of, unknown.name.as_str()), (None, "first key 2"));
    }

    #[test]
    fn an_active_key_that_is_refused_gets_a_new_secret_and_the_likely_reason() {
        let one = listed("1", "renamed", true);
        let anew = replacement(std::slice::from_ref(&one), Some(&one), true, NOW);
        assert_eq!(anew.of.as_deref(), Some("1"));
        assert!(anew.note.contains("API_KEY_SECRET"), "{}", anew.note);
    }
}
