//! Ports for programs that have to be told where to listen.

use std::{
    fs::{File, Permissions, TryLockError},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    sync::Mutex,
};

/// Below the range from which systems take ports for outgoing connections: those could take a port that was free a
/// moment ago.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// Tests run in many processes at once, and between the choice of a port and the program that listens on it seconds may
/// pass. So each port that a test was given stays locked until the test's process ends.
static LOCKS: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port that nobody listens on, and that no other test is given while this process lives.
///
/// # Panics
/// When the machine has none left.
pub fn free_port() -> u16 {
    let seed = uuid::Uuid::new_v4().as_u128();
    let width = u128::from(RANGE.end - RANGE.start);
    for step in 0..width {
        let port = RANGE.start + u16::try_from((seed % width + step) % width).expect("within the range");
        let Some(lock) = lock(port) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            LOCKS.lock().expect("no test panics while it holds the locks").push(lock);
            return port;
        }
    }
    panic!("no port is free");
}

/// The lock of a port, unless another test has it. Users of one machine share the locks, as they share the ports.
fn lock(port: u16) -> Option<File> {
    let directory = std::env::temp_dir().join("omniroute-test-ports");
    std::fs::create_dir_all(&directory).expect("a directory for the locks of ports");
    // Only its owner can do this, and has.
    let _ = std::fs::set_permissions(&directory, Permissions::from_mode(0o777));
    let path = directory.join(port.to_string());
    let file = File::open(&path).or_else(|_| File::create(&path)).expect("the lock of a port");
    match file.try_lock() {
        Ok(()) => Some(file),
        Err(TryLockError::WouldBlock) => None,
        Err(TryLockError::Error(error)) => panic!("port {port} cannot be locked: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    #[test]
    fn no_port_is_given_twice() {
        let ports: HashSet<u16> = (0..100).map(|_| super::free_port()).collect();
        assert_eq!(ports.len(), 100);
    }
}
