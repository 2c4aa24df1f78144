//! `omniroute config`: the settings in force, where each comes from, and the table of all there are.

use omniroute_core::settings::{
    self, ControlPlaneSettings, Origin, Secret, Setting, SettingValue as _, SettingsTable as _,
};
use serde_json::json;
use url::Url;

use crate::{child_settings, cli::ConfigAction, context::Context, data_dir, failure::Failure, screen::Screen};

/// One setting as it counts here.
struct Row {
    key: &'static str,
    value: String,
    source: String,
    is_set: bool,
}

pub(crate) fn run(context: &Context, action: Option<&ConfigAction>, only_set: bool) -> Result<(), Failure> {
    match action {
        Some(ConfigAction::Docs) => Screen::text(&settings::markdown()),
        None => show(context, only_set),
    }
    Ok(())
}

/// A setting of several processes has one value for all of them, so it is shown once.
fn show(context: &Context, only_set: bool) {
    let mut rows: Vec<Row> = Vec::new();
    for (_, table) in settings::TABLES {
        for setting in table {
            if !rows.iter().any(|row| row.key == setting.key) {
                rows.push(row(context, setting));
            }
        }
    }
    rows.retain(|row| row.is_set || !only_set);
    let shown: Vec<_> = rows.iter().map(|row| [row.key.to_owned(), row.value.clone(), row.source.clone()]).collect();
    let values = rows.iter().map(|row| (row.key.to_owned(), json!({ "value": row.value, "source": row.source })));
    context.screen.json(&serde_json::Value::Object(values.collect()));
    context.screen.table(["SETTING", "VALUE", "SOURCE"], &shown);
}

fn row(context: &Context, setting: &'static Setting) -> Row {
    let (origin, text) = context.sources.text(setting.key, setting.env, setting.default);
    let is_set = origin != Origin::Default;
    let row = |value: String, source: String, is_set| Row { key: setting.key, value, source, is_set };
    if let Some(given) = child_settings::find(context, setting.key) {
        return row(given.value, given.source.to_owned(), true);
    }
    if !is_set && let Some((value, source)) = of_launcher(context, setting.key) {
        return row(value, source, true);
    }
    let value =
        if setting.kind == Secret::KIND && !text.is_empty() { "[set]".to_owned() } else { without_password(text) };
    row(value, origin.to_string(), is_set)
}

/// What `omniroute up` sets where nobody else does.
fn of_launcher(context: &Context, key: &str) -> Option<(String, String)> {
    let file = match key {
        "storage_encryption_key" => data_dir::MASTER_KEY,
        "jwt_secret" => data_dir::JWT_SECRET,
        "api_key_secret" => data_dir::API_KEY_SECRET,
        "join_token" => data_dir::JOIN_TOKEN,
        "initial_password" => data_dir::ADMIN_PASSWORD,
        "allow_private_upstreams" => {
            let default = ControlPlaneSettings::SETTINGS.iter().find(|setting| setting.key == key)?.default;
            let value = context.allow_private_upstreams.to_string();
            return (value != default).then(|| (value, "default of `omniroute up`".to_owned()));
        }
        "port" | "control_plane_port" | "grpc_port" => {
            let running = context.running?;
            let address = match key {
                "port" => running.proxy,
                "control_plane_port" => running.control_plane,
                _ => running.grpc,
            };
            return Some((address.port().to_string(), "the gateway that runs".to_owned()));
        }
        _ => return None,
    };
    let path = context.data_dir().file(file);
    path.exists().then(|| ("[set]".to_owned(), path.display().to_string()))
}

/// A URL may carry a password.
fn without_password(text: &str) -> String {
    match Url::parse(text) {
        Ok(mut url) if url.password().is_some() => {
            let _ = url.set_password(Some("****"));
            url.to_string()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_not_shown() {
        assert_eq!(without_password("http://user:pass@host:1/x"), "http://user:****@host:1/x");
        assert_eq!(without_password("127.0.0.1"), "127.0.0.1");
        assert_eq!(without_password(""), "");
    }
}
