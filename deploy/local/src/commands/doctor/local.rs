//! The data directory, its files, the ports.

use std::{net::SocketAddr, path::Path};

use super::Finding;
use crate::{
    context::Context,
    data_dir::{self, DataDir},
    database_owner::Owner,
    disk_space,
    ports::{self, Holder, Port},
};

/// Programs that may hold the gateway's ports.
const OURS: [&str; 2] = ["omniroute-control-plane", "omniroute-data-plane"];

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let dir = context.data_dir();
    let mut findings = vec![directory(context, &dir)];
    findings.extend(room(dir.path(), disk_space::free(dir.path())));
    findings.extend(files(&dir));
    findings.extend(master_key(context, &dir));
    findings.extend(pepper(context, &dir));
    findings.extend(password(context, &dir));
    findings.extend(ports(context, dir.is_locked()));
    findings
}

fn directory(context: &Context, dir: &DataDir) -> Finding {
    let path = dir.path().display();
    let subject = "data directory";
    if !dir.path().is_dir() {
        let remedy = format!("`{}` makes it", context.command("up"));
        return Finding::note(subject, format!("{path} is not there"), remedy);
    }
    match dir.loose_mode(dir.path()) {
        None => Finding::good(subject, format!("{path}, for its owner only")),
        Some(mode) => Finding::bad(
            subject,
            format!("{path} has mode {mode:03o}: others can look into it"),
            format!("chmod 700 {path}"),
        ),
    }
}

/// A full disk, which keeps a gateway from starting and one that runs from storing anything.
fn room(dir: &Path, free: Option<u64>) -> Option<Finding> {
    let free = free.filter(|free| *free < disk_space::LITTLE)?;
    let what = format!("the disk that holds {} is full: {} KiB are free", dir.display(), free / 1024);
    Some(Finding::bad("disk", what, "free space on it; until then nothing can be stored"))
}

fn files(dir: &DataDir) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in data_dir::SECRET_FILES.into_iter().chain([data_dir::DATABASE]) {
        let path = dir.file(name);
        if let Some(mode) = dir.loose_mode(&path) {
            let what = format!("{} has mode {mode:03o}: others can read it", path.display());
            findings.push(Finding::bad("file", what, format!("chmod 600 {}", path.display())));
        }
        if name != data_dir::DATABASE
            && let Err(failure) = dir.read(name)
        {
            findings.push(Finding::bad("file", failure.to_string(), "make it readable, or restore it from a backup"));
        }
    }
    findings
}

fn master_key(context: &Context, dir: &DataDir) -> Option<Finding> {
    let is_known = context.control_plane.storage_encryption_key.is_set() || dir.file(data_dir::MASTER_KEY).exists();
    let file = dir.file(data_dir::DATABASE);
    let is_ours = file.exists() && crate::database_owner::owner(&file).is_ok_and(|owner| owner == Owner::Gateway);
    let has_secrets = context.control_plane.database_url.is_set() || is_ours;
    (has_secrets && !is_known).then(|| {
        Finding::bad(
            "master key",
            "there is a database, but not the master key that its secrets are sealed with",
            format!("put {} back, or set STORAGE_ENCRYPTION_KEY", dir.file(data_dir::MASTER_KEY).display()),
        )
    })
}

/// Without it the next start refuses to begin.
fn pepper(context: &Context, dir: &DataDir) -> Option<Finding> {
    let file = dir.file(data_dir::API_KEY_SECRET);
    let is_lost = crate::secrets::is_pepper_lost(dir, &context.control_plane);
    is_lost.then(|| {
        Finding::bad(
            "API keys",
            "there is a database, but not the secret that the API keys in it were made with",
            format!("put {} back, or set API_KEY_SECRET", file.display()),
        )
    })
}

fn password(context: &Context, dir: &DataDir) -> Option<Finding> {
    let file = dir.file(data_dir::ADMIN_PASSWORD);
    let command = context.command("password");
    let what =
        format!("the first one is in {}; `{command}` sees whether it still counts, or sets another", file.display());
    file.exists().then(|| Finding::good("admin password", what))
}

/// Whether a process belongs to this directory's gateway: the launcher started it that holds the directory. `None`
/// where that cannot be told.
fn is_own(context: &Context, holder: &Holder) -> Option<bool> {
    let launcher = context.running.as_ref()?.pid;
    Some(holder.parent? == launcher)
}

fn ports(context: &Context, is_running: bool) -> Vec<Finding> {
    let wanted = [
        ("port of the proxy", context.data_plane.host, context.launcher.port, "--port"),
        (
            "port of the control plane",
            context.control_plane.control_plane_host,
            context.launcher.control_plane_port,
            "--control-plane-port",
        ),
        ("port of gRPC", context.control_plane.grpc_host, context.launcher.grpc_port, "--grpc-port"),
    ];
    let judge = |(subject, host, port, flag): (&str, _, _, &str)| {
        let address = SocketAddr::new(host, port);
        match ports::look(address) {
            Port::Free if is_running => Finding::bad(
                subject,
                format!("a launcher runs, but nothing listens on {address}"),
                "read the launcher's output; it starts a process again that died",
            ),
            Port::Free => Finding::good(subject, format!("{address} is free")),
            Port::Taken(Some(holder))
                if OURS.contains(&holder.name.as_str()) && is_own(context, &holder).unwrap_or(is_running) =>
            {
                Finding::good(subject, format!("{address} is held by {holder}"))
            }
            Port::Taken(Some(holder)) if OURS.contains(&holder.name.as_str()) => Finding::bad(
                subject,
                format!("{address} is taken by {holder}, which is not this directory's gateway"),
                format!("name that gateway's own directory with --data-dir, or choose another port with {flag}"),
            ),
            Port::Taken(holder) => {
                let holder = holder.map_or_else(|| "another user's program".to_owned(), |holder| holder.to_string());
                Finding::bad(
                    subject,
                    format!("{address} is taken by {holder}"),
                    format!("stop that, or choose another port with {flag}"),
                )
            }
            Port::Unusable(error) => Finding::bad(
                subject,
                format!("{address} cannot be used: {error}"),
                format!("choose another address, or another port with {flag}"),
            ),
        }
    };
    wanted.into_iter().map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_full_disk_is_bad_whether_the_gateway_runs_or_not() {
        let dir = Path::new("/var/lib/omniroute");
        let finding = room(dir, Some(2048)).expect("a finding");
        assert_eq!((finding.verdict, finding.subject.as_str()), (Verdict::Bad, "disk"));
        assert!(finding.what.contains("/var/lib/omniroute is full: 2 KiB"), "{}", finding.what);
        assert!(room(dir, Some(disk_space::LITTLE)).is_none() && room(dir, None).is_none());
    }
}
