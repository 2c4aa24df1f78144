//! `omniroute password`: where the admin password is, and how somebody who lost it gets in again.
//!
//! Whoever holds the directory's signing secret manages the gateway anyway, so the command asks for no old password;
//! it sends the one of the file along while that is still right. Passwords are told to the control plane of the directory's
//! gateway, or to the one that `--url` names, and not to whatever else may hold a port.

use std::path::PathBuf;

use omniroute_core::settings::Secret;
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    cli::Password,
    client::{self, Client},
    context::Context,
    data_dir,
    failure::{Exit, Failure},
    flag_names::FlagNames,
    ports, screen, secrets,
};

/// What is true of a new password that did not reach the gateway.
const OLD_COUNTS: &str = "the old password still counts until that is done";

const WORDS: FlagNames = FlagNames::new(&[("password", "the new password")]);

/// What the gateway says about a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    Right,
    Wrong,
    /// Nobody answers, or too many wrong ones were tried.
    Unknown,
}

pub(crate) async fn run(context: &Context, action: Password) -> Result<(), Failure> {
    let kept = if context.is_remote() { None } else { context.data_dir().read(data_dir::ADMIN_PASSWORD)? };
    if action.new || action.stdin {
        return set(context, kept, &action).await;
    }
    let file = context.data_dir().file(data_dir::ADMIN_PASSWORD);
    // With an API key the gateway wants the current password along.
    let new = context.command(if context.launcher.token.is_set() {
        "password --new --current-stdin"
    } else {
        "password --new"
    });
    let Some(kept) = kept else {
        context.screen.json(&json!({ "file": null, "check": null }));
        context.screen.line(&format!("No file holds the admin password. `{new}` sets another one and shows it."));
        return Ok(());
    };
    let check = check_kept(context, &kept).await?;
    context.screen.json(&json!({ "file": file, "check": check.as_str() }));
    context.screen.line(&match check {
        Check::Right => format!("The admin password is in {}", file.display()),
        Check::Wrong => format!(
            "The admin password was changed since {} was written. `{new}` sets another one and shows it.",
            file.display()
        ),
        Check::Unknown => format!(
            "The first admin password is in {}; whether it still counts can be told while the gateway runs.",
            file.display()
        ),
    });
    Ok(())
}

async fn set(context: &Context, kept: Option<Secret>, action: &Password) -> Result<(), Failure> {
    let client = client_for(context).map_err(|failure| failure.and(OLD_COUNTS))?;
    let line = |flag, what| screen::secret_line(flag, what).map(Secret::new);
    let current = if action.current_stdin { Some(line("--current-stdin", "current admin password")?) } else { None };
    let is_given = action.stdin;
    let new = if is_given { line("--stdin", "new admin password")? } else { secrets::readable() };
    let mut body = json!({ "password": new.expose() });
    if let Some(current) = current {
        body["currentPassword"] = json!(current.expose());
    } else if let Some(kept) = kept
        && check_kept(context, &kept).await? == Check::Right
    {
        body["currentPassword"] = json!(kept.expose());
    }
    client.put("/api/settings/require-login", &body).await.map_err(|failure| match failure.exit() {
        Exit::NotAllowed => failure.and(OLD_COUNTS),
        _ => failure,
    })?;
    // From here on it counts: it is shown whether it can be kept or not.
    let kept = keep(context, (!is_given).then_some(&new));
    let file = kept.as_ref().ok().and_then(Option::as_ref);
    context.screen.json(&json!({ "password": (!is_given).then(|| new.expose()), "file": file }));
    let place = file.map(|file| format!(" It is kept in {}.", file.display())).unwrap_or_default();
    let done = format!("The admin password is set, and every session has ended.{place}");
    if is_given {
        context.screen.line(&done);
    } else {
        // Alone on standard output, for `$(…)`.
        context.screen.line(new.expose());
        context.screen.aside(&done);
    }
    kept.map(drop)
}

/// Writes a new password into the directory, or takes the old one out, and says in which file it is.
fn keep(context: &Context, new: Option<&Secret>) -> Result<Option<PathBuf>, Failure> {
    let dir = context.data_dir();
    match new {
        _ if context.is_remote() => Ok(None),
        None => dir.remove(data_dir::ADMIN_PASSWORD).map(|()| None),
        Some(new) => {
            dir.write(data_dir::ADMIN_PASSWORD, new)?;
            Ok(Some(dir.file(data_dir::ADMIN_PASSWORD)))
        }
    }
}

/// Tries the password of the file, while the directory's gateway runs. Otherwise anything may listen where the gateway
/// usually does, and would be told the password.
async fn check_kept(context: &Context, kept: &Secret) -> Result<Check, Failure> {
    // Asked by itself, the control plane counts a wrong try against this machine as it would through a proxy.
    match own_control_plane(context) {
        Some(control_plane) => check(&control_plane, kept).await,
        None => Ok(Check::Unknown),
    }
}

/// A client to set a password with.
fn client_for(context: &Context) -> Result<Client, Failure> {
    let client = Client::new(context)?.with_flag_names(WORDS);
    if context.is_remote() {
        return Ok(client);
    }
    if let Some(control_plane) = own_control_plane(context) {
        return client.at(&control_plane);
    }
    let dir = context.launcher.data_dir.display();
    Err(Failure::new(
        Exit::Unreachable,
        match context.running {
            Some(running) => format!(
                "the control plane of {dir} is away, and nobody else at {} is told a password: try again when the launcher \
                 has started it again",
                running.control_plane
            ),
            None => format!(
                "no `omniroute up` serves {dir}, and nobody else is told a password: start it with `{}`, or name the \
                 control plane with --url",
                context.command("up")
            ),
        },
    ))
}

/// Where the control plane of the directory's gateway listens, while that runs and is what has the port.
fn own_control_plane(context: &Context) -> Option<String> {
    let running = context.running.as_ref()?;
    let address = running.control_plane;
    // Where the system does not tell, the word of the launcher that runs has to do.
    let is_own = ports::is_child_of(address.port(), running.pid).unwrap_or(true);
    is_own.then(|| client::local_url(address.ip(), address.port()))
}

/// Signs in with a password to see whether it is right, and out again.
pub(crate) async fn check(base: &str, password: &Secret) -> Result<Check, Failure> {
    let http = client::http(true)?;
    let login = http.post(format!("{base}/api/auth/login")).json(&json!({ "password": password.expose() }));
    let Ok(response) = login.send().await else { return Ok(Check::Unknown) };
    match response.status() {
        status if status.is_success() => {
            let cookie = response.headers().get(reqwest::header::SET_COOKIE).and_then(|value| value.to_str().ok());
            if let Some(cookie) = cookie.and_then(|cookie| cookie.split(';').next()) {
                let logout = http.post(format!("{base}/api/auth/logout")).header(reqwest::header::COOKIE, cookie);
                // The session ends by itself otherwise.
                let _ = logout.send().await;
            }
            Ok(Check::Right)
        }
        StatusCode::UNAUTHORIZED => Ok(Check::Wrong),
        _ => Ok(Check::Unknown),
    }
}

// === impl Check ===

impl Check {
    fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Unknown => "unknown",
        }
    }
}
