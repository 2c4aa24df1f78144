//! Ports for programs that have to be told where to listen.

use std::net::TcpListener;

/// Below the range from which systems take ports for outgoing connections: those could take a port that was free a
/// moment ago.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port that nobody listens on.
///
/// # Panics
/// When the machine has none left.
pub fn free_port() -> u16 {
    let seed = uuid::Uuid::new_v4().as_u128();
    let width = u128::from(RANGE.end - RANGE.start);
    for step in 0..width {
        let port = RANGE.start + u16::try_from((seed % width + step) % width).expect("within the range");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
