//! What `up` says once the gateway is ready: where it is, how to get in, and a line to try it with.

use std::{fmt::Write as _, time::Instant};

use omniroute_core::settings::Secret;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Duration, sleep};

use crate::{
    client::{self, Client},
    context::Context,
    data_dir::{self, DataDir},
    failure::Failure,
    screen,
    secrets::Secrets,
};

/// How long a key may take from the control plane to the proxy.
const KEY_TIMEOUT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
const KEY_NAME: &str = "first key";

pub(super) async fn greeting(
    context: &Context,
    secrets: &Secrets,
    proxy: &str,
    control_plane: &str,
    started: Instant,
) -> Result<String, Failure> {
    let dir = context.data_dir();
    let models = models(&dir, secrets, proxy, control_plane).await?;
    let key_file = dir.file(data_dir::API_KEY).display().to_string();
    let mut text = format!("\nOmniRoute is ready after {:.1} s.\n\n", started.elapsed().as_secs_f64());
    let _ = writeln!(text, "  URL             {proxy}/v1");
    let _ = writeln!(text, "  dashboard       {proxy}/dashboard");
    let _ = writeln!(text, "  API key         in {key_file}");
    if secrets.is_password_new {
        let file = dir.file(data_dir::ADMIN_PASSWORD);
        let password = secrets.admin_password.expose();
        let _ = writeln!(text, "  admin password  {password}   (shown this once; kept in {})", file.display());
    }
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
            let options = options(context);
            let _ =
                writeln!(text, "  echo \"$OPENAI_API_KEY\" | omniroute providers add openai --api-key-stdin{options}");
            let _ = writeln!(
                text,
                "  omniroute providers add local --base-url http://127.0.0.1:11434/v1 --prefix local{options}"
            );
        }
    }
    Ok(text)
}

/// What the CLI must be told to find this gateway, when it is not the usual one.
fn options(context: &Context) -> String {
    let mut options = String::new();
    if context.launcher.port != 20128 {
        let _ = write!(options, " --port {}", context.launcher.port);
    }
    if std::env::var_os("HOME")
        .is_none_or(|home| std::path::Path::new(&home).join(".omniroute") != context.launcher.data_dir)
    {
        let _ = write!(options, " --data-dir {}", quoted(&context.launcher.data_dir.display().to_string()));
    }
    options
}

/// The proxy's models, asked with the first key, which is made when there is none or it was deleted.
async fn models(dir: &DataDir, secrets: &Secrets, proxy: &str, control_plane: &str) -> Result<Value, Failure> {
    if let Some(key) = dir.read(data_dir::API_KEY)?
        && let Some(models) = ask(proxy, &key).await?
    {
        return Ok(models);
    }
    let client = Client::of_launcher(control_plane, &secrets.jwt_secret)?;
    let made = client.post("/api/keys", &json!({ "name": KEY_NAME })).await?;
    let key = Secret::new(screen::text(&made, "key"));
    if !key.is_set() {
        return Err(Failure::failed("the control plane made an API key and did not show it"));
    }
    dir.write(data_dir::API_KEY, &key)?;
    let deadline = Instant::now() + KEY_TIMEOUT;
    loop {
        if let Some(models) = ask(proxy, &key).await? {
            return Ok(models);
        }
        if Instant::now() > deadline {
            return Err(Failure::failed("the proxy does not take the API key that the control plane made"));
        }
        sleep(POLL).await;
    }
}

/// `None` when the proxy does not know the key.
async fn ask(proxy: &str, key: &Secret) -> Result<Option<Value>, Failure> {
    let request = client::http(true)?.get(format!("{proxy}/v1/models")).bearer_auth(key.expose());
    let broken = |error: reqwest::Error| Failure::failed(format!("the proxy broke off: {}", client::deepest(&error)));
    let response = request.send().await.map_err(broken)?;
    match response.status() {
        status if status.is_success() => Ok(Some(response.json().await.map_err(broken)?)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(None),
        status => Err(Failure::failed(format!("the proxy answers {status} to GET /v1/models"))),
    }
}

fn first_chat_model(models: &Value) -> Option<&str> {
    let is_chat = |model: &&Value| model.get("type").and_then(Value::as_str).is_none_or(|kind| kind == "chat");
    screen::list(models, "data").iter().find(is_chat)?.get("id")?.as_str()
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
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
    fn a_quote_in_a_path_does_not_end_the_word() {
        assert_eq!(quoted("/home/o'brien/k"), r"'/home/o'\''brien/k'");
    }
}
