//! `omniroute models`: what clients can ask for. The proxy is asked, with an API key, as a client asks it.

use omniroute_core::settings::Secret;
use serde_json::{Value, json};

use crate::{
    cli::ModelsAction,
    client,
    context::Context,
    data_dir,
    failure::{Exit, Failure},
    screen,
};

pub(crate) async fn run(context: &Context, action: ModelsAction) -> Result<(), Failure> {
    let ModelsAction::List { beginning } = action;
    let answer = client::models(context, &key(context)?).await?;
    let begins = |model: &&Value| screen::text(model, "id").starts_with(&beginning);
    let mut models: Vec<&Value> = screen::list(&answer, "data").iter().filter(begins).collect();
    models.sort_by_key(|model| screen::text(model, "id"));
    let row = |model: &&Value| {
        let kind = match screen::text(model, "type") {
            kind if kind.is_empty() => "chat".to_owned(),
            kind => kind,
        };
        [screen::text(model, "id"), kind]
    };
    let rows: Vec<_> = models.iter().map(row).collect();
    context.screen.json(&json!({ "models": models }));
    if rows.is_empty() {
        let add = context.command("providers add PROVIDER --api-key-stdin");
        context.screen.line(&if screen::list(&answer, "data").is_empty() {
            format!("There is no model yet. A provider brings some: `{add}`")
        } else {
            format!("No model's name begins with `{beginning}`.")
        });
        return Ok(());
    }
    context.screen.table(["MODEL", "KIND"], &rows);
    Ok(())
}

/// The token of the settings, which is an API key too, else the first key of this machine.
fn key(context: &Context) -> Result<Secret, Failure> {
    if context.launcher.token.is_set() {
        return Ok(context.launcher.token.clone());
    }
    if !context.is_remote() {
        let dir = context.data_dir();
        if let Some(key) = dir.read(data_dir::API_KEY)? {
            return Ok(key);
        }
        if !dir.file(data_dir::JWT_SECRET).exists() {
            let (path, up) = (dir.path().display(), context.command("up"));
            let what = format!("no gateway was started on {path} yet: start one with `{up}`");
            return Err(Failure::new(Exit::Unreachable, what));
        }
    }
    Err(Failure::new(Exit::NotAllowed, "a list of models needs an API key: set OMNIROUTE_TOKEN to one"))
}
