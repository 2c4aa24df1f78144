//! What is done to a client's socket before HTTP begins.

use std::{io, time::Duration};

use socket2::{SockRef, TcpKeepalive};
use tokio::{net::TcpStream, time::Instant};

/// The protocol that a client opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// No HTTP/1 method begins like the first bytes of the HTTP/2 preface.
const PREFACE: &[u8; 3] = b"PRI";
/// How long to wait for the rest when only a part of those bytes is there.
const RETRY: Duration = Duration::from_millis(5);

const KEEPALIVE_AFTER: Duration = Duration::from_secs(60);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(20);
/// A client that takes nothing is given this many times the limit for one that sends nothing: it may be busy with what
/// it got.
const UNREAD_FACTOR: u32 = 4;

/// Sends small frames at once, notices a dead peer, and drops a client that has stopped reading.
pub(super) fn tune(stream: &TcpStream, client_timeout: Duration) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY))?;
    // Covers data that is not acknowledged and a receive window that stays closed.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(client_timeout.saturating_mul(UNREAD_FACTOR)))?;
    Ok(())
}

/// Looks at the first bytes without taking them. `None`: the client went away or sent nothing within `limit`.
pub(super) async fn protocol(stream: &TcpStream, limit: Duration) -> Option<Protocol> {
    let deadline = Instant::now() + limit;
    let mut head = [0; PREFACE.len()];
    loop {
        let Ok(Ok(read)) = tokio::time::timeout_at(deadline, stream.peek(&mut head)).await else {
            return None;
        };
        match head.get(..read)? {
            [] => return None,
            whole if whole == PREFACE => return Some(Protocol::Http2),
            part if PREFACE.starts_with(part) && Instant::now() < deadline => tokio::time::sleep(RETRY).await,
            _ => return Some(Protocol::Http1),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("connected"), server.expect("accepted").0)
    }

    #[tokio::test]
    async fn the_protocol_is_told_by_the_first_bytes_even_one_at_a_time() {
        for (bytes, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], Protocol::Http2),
            (b"POST / HTTP/1.1\r\n", Protocol::Http1),
            (b"PROPFIND / HTTP/1.1\r\n", Protocol::Http1),
        ] {
            let (mut client, server) = pair().await;
            let writing = async {
                for byte in bytes {
                    client.write_all(&[*byte]).await.expect("written");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let (told, ()) = tokio::join!(protocol(&server, Duration::from_secs(5)), writing);
            assert_eq!(told, Some(expected));
        }
    }

    #[tokio::test]
    async fn a_client_that_says_nothing_or_leaves_is_given_up() {
        let (client, server) = pair().await;
        assert_eq!(protocol(&server, Duration::from_millis(30)).await, None);
        drop(client);
        assert_eq!(protocol(&server, Duration::from_secs(5)).await, None);
    }

    #[tokio::test]
    async fn tuning_sets_the_options() {
        let (_client, server) = pair().await;
        tune(&server, Duration::from_secs(5)).expect("tuned");
        assert!(server.nodelay().expect("read"));
        #[cfg(target_os = "linux")]
        assert_eq!(SockRef::from(&server).tcp_user_timeout().expect("read"), Some(Duration::from_secs(20)));
    }
}
