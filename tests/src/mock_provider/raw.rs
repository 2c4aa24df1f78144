//! Upstreams that do not even speak HTTP.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What is done to whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Takes the connection and closes it.
    CloseAtOnce,
    /// Reads the request and answers with bytes that are no HTTP.
    Garbage,
    /// Reads the request and never answers.
    Silence,
    /// Sends half of a head and closes.
    HalfAHead,
}

/// A listener that behaves in one way until it is dropped.
#[derive(Debug)]
pub struct RawUpstream {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Longest time that one connection is kept.
const LONGEST: Duration = Duration::from_secs(60);

// === impl RawUpstream ===

impl RawUpstream {
    /// # Errors
    /// When no port can be opened.
    pub async fn start(behaviour: Behaviour) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(tokio::time::timeout(LONGEST, behave(stream, behaviour)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, task })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn behave(mut stream: TcpStream, behaviour: Behaviour) -> std::io::Result<()> {
    let mut head = [0; 4096];
    match behaviour {
        Behaviour::CloseAtOnce => return Ok(()),
        Behaviour::Garbage => {
            let _some = stream.read(&mut head).await?;
            stream.write_all(b"\x00\xff\x13\x37 this is no HTTP\r\n\r\n\x00").await?;
        }
        Behaviour::Silence => while stream.read(&mut head).await? > 0 {},
        Behaviour::HalfAHead => {
            let _some = stream.read(&mut head).await?;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty").await?;
        }
    }
    stream.shutdown().await
}

/// The base URL of a port on which nobody listens.
///
/// # Errors
/// When no port can be opened.
pub async fn refusing() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(format!("http://{}/v1", listener.local_addr()?))
}
