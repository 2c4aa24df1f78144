//! The first bytes of a connection.

use std::{net::SocketAddr, time::Duration};

use bytes::{Buf as _, BytesMut};
use omniroute_core::client_address::TrustedProxies;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    time::timeout,
};

use crate::{
    prefixed::Prefixed,
    proxy_protocol::{self, Header},
};

/// What an HTTP/2 client opens with. No HTTP/1 method begins like its first three bytes.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Room for the first bytes; more stays where it is.
const ROOM: usize = 1024;

/// The protocol that a client opens with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    /// Its whole preface has come.
    Http2,
}

/// What is asked of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    pub trusted: &'a TrustedProxies,
    /// Whether connections of [`Self::trusted`] begin with a header of the PROXY protocol. Others never do.
    pub proxy_protocol: bool,
    /// For all of it together: who sends a byte now and then does not get longer.
    pub limit: Duration,
}

/// A connection that has begun.
#[derive(Debug)]
pub struct Opened<S> {
    /// With the bytes in it that were read.
    pub stream: Prefixed<S>,
    pub protocol: Protocol,
    /// The other end of the connection, or whom the header of the PROXY protocol names.
    pub peer: SocketAddr,
}

/// Reads as much as it takes to tell who speaks which protocol. `None`: the client went away, said nothing that could tell
/// within the limit, or a header was expected and is not there.
pub async fn open<S>(stream: S, peer: SocketAddr, opening: Opening<'_>) -> Option<Opened<S>>
where
    S: AsyncRead + Unpin,
{
    timeout(opening.limit, read(stream, peer, opening)).await.ok()?
}

async fn read<S>(mut stream: S, mut peer: SocketAddr, opening: Opening<'_>) -> Option<Opened<S>>
where
    S: AsyncRead + Unpin,
{
    let mut head = BytesMut::with_capacity(ROOM);
    if opening.proxy_protocol && opening.trusted.contains(peer.ip()) {
        let Header { length, source } = loop {
            match proxy_protocol::parse(&head) {
                Ok(Some(header)) => break header,
                Ok(None) => more(&mut stream, &mut head).await?,
                Err(_) => return None,
            }
        };
        head.advance(length);
        // Only this machine can say of itself that it is this machine.
        peer = source.filter(|source| peer.ip().is_loopback() || !source.ip().is_loopback()).unwrap_or(peer);
    }
    let protocol = loop {
        if head.starts_with(PREFACE) {
            break Protocol::Http2;
        }
        if !PREFACE.starts_with(&head) {
            break Protocol::Http1;
        }
        more(&mut stream, &mut head).await?;
    };
    Some(Opened { stream: Prefixed::new(head.freeze(), stream), protocol, peer })
}

/// `None`: nothing more comes.
async fn more<S>(stream: &mut S, head: &mut BytesMut) -> Option<()>
where
    S: AsyncRead + Unpin,
{
    stream.read_buf(head).await.ok().filter(|read| *read > 0).map(drop)
}

#[cfg(test)]
mod tests {
    use omniroute_core::settings::SettingValue as _;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const PEER: &str = "10.0.0.5:4000";

    async fn opened(client: impl AsyncFnOnce(DuplexStream), trusted: &str) -> Option<Opened<DuplexStream>> {
        let trusted = TrustedProxies::parse(trusted).expect("ranges");
        let (near, far) = duplex(4096);
        let opening = Opening { trusted: &trusted, proxy_protocol: !trusted.is_empty(), limit: LIMIT };
        let (opened, ()) = tokio::join!(open(far, PEER.parse().expect("an address"), opening), client(near));
        opened
    }

    #[tokio::test(start_paused = true)]
    async fn the_protocol_is_told_by_the_first_bytes_even_one_at_a_time_and_none_is_lost() {
        for (bytes, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04"[..], Protocol::Http2),
            (b"POST / HTTP/1.1\r\n", Protocol::Http1),
            (b"PROPFIND / HTTP/1.1\r\n", Protocol::Http1),
            (b"PRI * HTTP/1.1\r\n", Protocol::Http1),
        ] {
            let dribbling = async |mut client: DuplexStream| {
                for byte in bytes {
                    client.write_all(&[*byte]).await.expect("written");
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let mut opened = opened(dribbling, "").await.expect("opened");
            assert_eq!(opened.protocol, expected);
            let mut read = Vec::new();
            opened.stream.read_to_end(&mut read).await.expect("read");
            assert_eq!(read, bytes);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_tell_a_protocol_in_time_is_given_up_however_it_dribbles() {
        for said in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n"] {
            let silent = async |mut client: DuplexStream| {
                client.write_all(said).await.expect("written");
                tokio::time::sleep(2 * LIMIT).await;
            };
            assert!(opened(silent, "").await.is_none(), "{said:?}");
        }
        let dribbling = async |mut client: DuplexStream| {
            for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
                let _ = client.write_all(&[*byte]).await;
                tokio::time::sleep(LIMIT / 4).await;
            }
        };
        assert!(opened(dribbling, "").await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn only_from_a_trusted_proxy_a_header_names_the_peer() {
        let saying = |text: &'static str| {
            async move |mut client: DuplexStream| {
                client.write_all(text.as_bytes()).await.expect("written");
            }
        };
        const HEADER: &str = "PROXY TCP4 203.0.113.9 10.0.0.1 5555 443\r\nGET / HTTP/1.1\r\n";
        let mut behind = opened(saying(HEADER), "10.0.0.0/8").await.expect("opened");
        assert_eq!(behind.peer, "203.0.113.9:5555".parse().expect("an address"));
        let mut read = Vec::new();
        behind.stream.read_to_end(&mut read).await.expect("read");
        assert_eq!(read, b"GET / HTTP/1.1\r\n");

        assert!(opened(saying("GET / HTTP/1.1\r\n"), "10.0.0.0/8").await.is_none(), "the header is missing");
        let stranger = opened(saying(HEADER), "192.0.2.0/24").await.expect("opened");
        assert_eq!(stranger.peer, PEER.parse().expect("an address"), "its header is a bad request line");
        let claimed = "PROXY TCP4 127.0.0.1 10.0.0.1 5555 443\r\nGET / HTTP/1.1\r\n";
        let claiming = opened(saying(claimed), "10.0.0.0/8").await.expect("opened");
        assert_eq!(claiming.peer, PEER.parse().expect("an address"), "nobody else is this machine");
    }
}
