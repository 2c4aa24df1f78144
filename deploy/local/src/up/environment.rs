//! What each plane is told, and where its program is.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::plane::Plane;
use crate::{
    child_settings::{self, ChildSetting},
    context::Context,
    failure::Failure,
    secrets::Secrets,
};

/// Where the programs are, when not beside this one.
const BIN_DIR: &str = "OMNIROUTE_BIN_DIR";
const CONTROL_PLANE: &str = "omniroute-control-plane";
const PROXY: &str = "omniroute-data-plane";

/// What a proxy has no use for.
const NOT_FOR_A_PROXY: [&str; 6] =
    ["STORAGE_ENCRYPTION_KEY", "JWT_SECRET", "API_KEY_SECRET", "INITIAL_PASSWORD", "DATABASE_URL", "OMNIROUTE_TOKEN"];
const NOT_FOR_A_CONTROL_PLANE: [&str; 1] = ["OMNIROUTE_TOKEN"];

/// The control plane and the proxy.
pub(super) fn planes(context: &Context, secrets: &Secrets) -> Result<[Plane; 2], Failure> {
    let bin_dir = bin_dir()?;
    let plane = |name, program, environment, withheld| {
        found(&bin_dir, program).map(|binary| Plane { name, binary, environment, withheld })
    };
    Ok([
        plane("control-plane", CONTROL_PLANE, of_control_plane(context, secrets), &NOT_FOR_A_CONTROL_PLANE)?,
        plane("proxy", PROXY, of_proxy(context, secrets), &NOT_FOR_A_PROXY)?,
    ])
}

fn bin_dir() -> Result<PathBuf, Failure> {
    if let Some(dir) = std::env::var_os(BIN_DIR).filter(|dir| !dir.is_empty()) {
        return Ok(dir.into());
    }
    let own = std::env::current_exe().map_err(|error| Failure::failed(format!("cannot find this program: {error}")))?;
    Ok(own.parent().map_or_else(PathBuf::new, Path::to_owned))
}

fn found(dir: &Path, program: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(program);
    if path.is_file() {
        return Ok(path);
    }
    Err(Failure::failed(format!(
        "{} is not there: `make run` builds it, or say with {BIN_DIR} in which directory it is",
        path.display()
    )))
}

fn of_control_plane(context: &Context, secrets: &Secrets) -> Vec<(&'static str, OsString)> {
    let mut environment = of_both(context, secrets);
    environment.extend([
        ("CONTROL_PLANE_PORT", context.launcher.control_plane_port.to_string().into()),
        // The proxy forwards to it, and writes no such header.
        ("PROXY_PROTOCOL", "false".into()),
        ("GRPC_PORT", context.launcher.grpc_port.to_string().into()),
        ("STORAGE_ENCRYPTION_KEY", secrets.master_key.expose().into()),
        ("JWT_SECRET", secrets.jwt_secret.expose().into()),
        ("API_KEY_SECRET", secrets.api_key_secret.expose().into()),
        ("ALLOW_PRIVATE_UPSTREAMS", context.allow_private_upstreams.to_string().into()),
    ]);
    if let Some(password) = &secrets.admin_password {
        environment.push(("INITIAL_PASSWORD", password.expose().into()));
    }
    // Checking a password takes 19 MiB for a moment; the allocator would keep them for the next one.
    if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
        environment.push(("MIMALLOC_PURGE_DELAY", "0".into()));
    }
    environment
}

fn of_proxy(context: &Context, secrets: &Secrets) -> Vec<(&'static str, OsString)> {
    let mut environment = of_both(context, secrets);
    environment.push(("PORT", context.launcher.port.to_string().into()));
    environment.extend(child_settings::of_proxy(context).into_iter().map(variable));
    environment
}

fn of_both(context: &Context, secrets: &Secrets) -> Vec<(&'static str, OsString)> {
    let mut environment: Vec<(&'static str, OsString)> = vec![
        ("DATA_DIR", context.launcher.data_dir.clone().into()),
        ("OMNIROUTE_JOIN_TOKEN", secrets.join_token.expose().into()),
    ];
    environment.extend(child_settings::of_both(context).into_iter().map(variable));
    if let Some(file) = &context.config_file {
        environment.push(("OMNIROUTE_CONFIG", file.clone().into()));
    }
    environment
}

fn variable(given: ChildSetting) -> (&'static str, OsString) {
    (given.variable, given.value.into())
}
