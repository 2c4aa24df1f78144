//! Whether a port is free, and who has it when it is not.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) pid: u32,
    pub(crate) name: String,
    /// Of the process that started it.
    pub(crate) parent: Option<u32>,
}

/// What a look at an address found.
#[derive(Debug)]
pub(crate) enum Port {
    Free,
    /// The holder is `None` when the system does not tell, as for another user's process.
    Taken(Option<Holder>),
    /// It cannot be listened on for another reason.
    Unusable(io::Error),
}

/// Tries to listen on an address.
pub(crate) fn look(address: SocketAddr) -> Port {
    match TcpListener::bind(address) {
        Ok(_) => Port::Free,
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Port::Taken(holder(address.port())),
        Err(error) => Port::Unusable(error),
    }
}

/// Where a client on this machine finds something that listens on `host`.
pub(crate) fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

/// The process that listens on a port, as far as `/proc` tells.
pub(crate) fn holder(port: u16) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if inodes.is_empty() {
        return None;
    }
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let mut targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        targets
            .any(|target| target.to_str().is_some_and(|target| inodes.iter().any(|inode| inode == target)))
            .then(|| Holder { pid, name: name_of(pid), parent: parent_of(pid) })
    })
}

/// Whether the process that listens on a port was started by another one. `None` where the system does not tell of any.
pub(crate) fn is_child_of(port: u16, parent: u32) -> Option<bool> {
    let is_child = || holder(port).is_some_and(|holder| holder.parent == Some(parent));
    cfg!(target_os = "linux").then(is_child)
}

fn parent_of(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

/// Inodes of the sockets that listen on a port, from the text of `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let inode = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let listens = columns.get(1)?.ends_with(&suffix) && *columns.get(3)? == LISTEN;
        listens.then(|| columns.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    table.lines().skip(1).filter_map(inode).collect()
}

/// The program's file name; the kernel's own name for the process is cut at 15 characters.
fn name_of(pid: u32) -> String {
    let executable = fs::read_link(format!("/proc/{pid}/exe")).ok();
    let name = executable.as_deref().and_then(|path| path.file_name()).and_then(|name| name.to_str());
    match name {
        Some(name) => name.trim_end_matches(" (deleted)").to_owned(),
        None => fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned(),
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (pid {})", self.name, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_among_others() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:4EA0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0\n\
             1: 0100007F:4EA0 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0\n\
             2: 0100007F:4EA1 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 779 1 0\n";
        assert_eq!(listening_inodes(table, 20128), ["777"]);
        assert_eq!(listening_inodes(table, 1), Vec::<String>::new());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_holder_of_a_taken_port_is_named() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        let Port::Taken(Some(holder)) = look(address) else { panic!("not found") };
        assert_eq!(holder.pid, std::process::id());
        assert_eq!(holder.parent, Some(std::os::unix::process::parent_id()));
        assert!(!holder.name.is_empty());
        let parent = std::os::unix::process::parent_id();
        assert_eq!(is_child_of(address.port(), parent), Some(true));
        assert_eq!(is_child_of(address.port(), std::process::id()), Some(false));
        drop(listener);
        assert!(matches!(look(address), Port::Free));
        assert_eq!(is_child_of(address.port(), parent), Some(false), "nobody listens");
    }
}
