//! What `up` says once the gateway is ready: where it is, how to get in, and a line to try it with.

use std::{fmt::Write as _, time::Instant};

use omniroute_core::settings::Secret;
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

/// The key of this machine's clients.
struct FirstKey {
    /// What it may use, as the proxy lists it; `None` when the key is switched off or has expired.
    models: Option<Value>,
    /// What happened to it, in brackets behind its place.
    note: String,
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
    let password = password_line(context, start, control_plane).await?;
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

/// The password itself until somebody has been greeted, if it is the one that counts; afterwards how to find it.
async fn password_line(context: &Context, start: &Start, control_plane: &str) -> Result<String, Failure> {
    let dir = context.data_dir();
    let file = dir.file(data_dir::ADMIN_PASSWORD);
    if context.control_plane.initial_password.is_set() {
        return Ok("that of INITIAL_PASSWORD, unless it was changed since".to_owned());
    }
    if start.is_first
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
/// longer; one that somebody switched off stays so.
async fn first_key(context: &Context, start: &Start, proxy: &str, control_plane: &str) -> Result<FirstKey, Failure> {
    let dir = context.data_dir();
    let client = Client::of_launcher(context, control_plane, &start.secrets.jwt_secret)?;
    let kept = dir.read(data_dir::API_KEY)?;
    let known = keys::all(&client).await?;
    if let Some(key) = &kept {
        let mut models = self::models(proxy, key).await?;
        if models.is_none() {
            // The proxy may have started from an older copy of the configuration.
            arrived(&client, proxy).await?;
            models = self::models(proxy, key).await?;
        }
        if models.is_some() {
            return Ok(FirstKey { models, note: String::new() });
        }
        if let Some(one) = known.iter().find(|one| is_mask_of(&screen::text(one, "key"), key.expose())) {
            let command = context.command(&format!("keys edit {} --enable --expires never", screen::text(one, "id")));
            let note = format!("   (the gateway refuses it: switched off, or expired; `{command}`)");
            return Ok(FirstKey { models: None, note });
        }
    }
    let lost = known.iter().find(|one| kept.is_none() && screen::text(one, "name") == KEY_NAME);
    let (made, note) = match (lost, &kept) {
        (Some(lost), _) => {
            let path = format!("/api/keys/{}/regenerate", screen::text(lost, "id"));
            (client.post(&path, &json!({})).await?, "   (new, since the file was gone; the old first key is void)")
        }
        (None, Some(_)) => (make(&client).await?, "   (new, since the gateway does not know the old one)"),
        (None, None) => (make(&client).await?, ""),
    };
    let key = Secret::new(screen::text(&made, "key"));
    if !key.is_set() {
        return Err(Failure::failed("the control plane made an API key and did not show it"));
    }
    dir.write(data_dir::API_KEY, &key)?;
    arrived(&client, proxy).await?;
    match models(proxy, &key).await? {
        Some(models) => Ok(FirstKey { models: Some(models), note: note.to_owned() }),
        None => Err(Failure::failed("the proxy does not take the API key that the control plane made")),
    }
}

async fn make(client: &Client) -> Result<Value, Failure> {
    client.post("/api/keys", &json!({ "name": KEY_NAME })).await
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

fn first_chat_model(models: &Value) -> Option<&str> {
    let is_chat = |model: &&Value| model.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "chat");
    screen::list(models, "data").iter().find(is_chat)?.get("id")?.as_str()
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
    }

    #[test]
    fn a_key_is_known_by_its_mask() {
        assert!(is_mask_of("sk-abcde****6789", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("sk-abcde****6780", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("", "sk-abcdefgh0123456789"));
        assert!(!is_mask_of("****", "sk-abcdefgh0123456789"));
    }
}
