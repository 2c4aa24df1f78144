//! What is done to a client's socket before HTTP begins.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// Sends small frames at once, notices a dead peer, and drops a client that has stopped reading.
pub(super) fn tune(stream: &TcpStream, unread: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    // Covers data that is not acknowledged and a receive window that stays closed.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(unread))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), server.expect("accepted").0)
    }

    #[tokio::test]
    async fn tuning_sets_the_options() {
        let (_client, server) = pair().await;
        tune(&server, Duration::from_secs(20)).expect("tuned");
        assert!(server.nodelay().expect("read"));
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&server).tcp_user_timeout().expect("read"), Some(Duration::from_secs(20)));
    }
}
