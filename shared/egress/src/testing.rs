//! Proxies for tests: real servers on loopback that speak `CONNECT` or SOCKS5, ask for credentials, resolve names of their
//! own and remember what they were asked.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

/// What a proxy is like.
#[derive(Clone, Default)]
pub struct TestProxyOptions {
    pub speaks: Speaks,
    /// User name and password that it asks for.
    pub credentials: Option<(&'static str, &'static str)>,
    /// Names that it alone can resolve.
    pub names: HashMap<String, SocketAddr>,
}

#[derive(Clone, Default)]
pub enum Speaks {
    #[default]
    Connect,
    /// `CONNECT` over TLS.
    Secure(Arc<ServerConfig>),
    Socks5,
    /// Whatever it is asked, it writes this and hangs up.
    Only(&'static str),
}

/// A proxy that listens.
#[derive(Clone)]
pub struct TestProxy {
    pub address: SocketAddr,
    targets: Arc<Mutex<Vec<String>>>,
    refused: Arc<AtomicUsize>,
}

// === impl TestProxy ===

impl TestProxy {
    /// # Errors
    /// When it cannot listen.
    pub async fn start(options: TestProxyOptions) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let proxy = Self { address, targets: Arc::default(), refused: Arc::default() };
        let serving = proxy.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (proxy, options) = (serving.clone(), options.clone());
                // Whoever is at the other end sees what went wrong.
                tokio::spawn(async move { proxy.serve(stream, &options).await });
            }
        });
        Ok(proxy)
    }

    /// Where it was asked to connect to, as `host:port`.
    pub fn targets(&self) -> Vec<String> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it refused credentials.
    pub fn refused(&self) -> usize {
        self.refused.load(Ordering::SeqCst)
    }

    async fn serve(&self, mut stream: TcpStream, options: &TestProxyOptions) -> io::Result<()> {
        stream.set_nodelay(true)?;
        match &options.speaks {
            Speaks::Connect => self.connect(stream, options).await,
            Speaks::Secure(config) => {
                let stream = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
                self.connect(stream, options).await
            }
            Speaks::Socks5 => self.socks5(stream, options).await,
            Speaks::Only(text) => {
                let mut asked = [0; 1024];
                let _ = stream.read(&mut asked).await?;
                stream.write_all(text.as_bytes()).await?;
                stream.shutdown().await
            }
        }
    }

    async fn reach(&self, options: &TestProxyOptions, host: &str, port: u16) -> io::Result<TcpStream> {
        let target = format!("{host}:{port}");
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
        let stream = match options.names.get(host) {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect(target).await?,
        };
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn connect<S>(&self, mut stream: S, options: &TestProxyOptions) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let wanted = options.credentials.map(|(username, password)| {
            format!("Proxy-Authorization: Basic {}", STANDARD.encode(format!("{username}:{password}")))
        });
        if wanted.is_some_and(|wanted| !head.lines().any(|line| line == wanted)) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                           Proxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
            stream.write_all(refusal.as_bytes()).await?;
            return stream.shutdown().await;
        }
        let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
        let Some((host, port)) = target.and_then(|target| target.rsplit_once(':')) else {
            stream.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n").await?;
            return stream.shutdown().await;
        };
        match self.reach(options, host, port.parse().unwrap_or(0)).await {
            Ok(mut target) => {
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                stream.flush().await?;
                copy_bidirectional(&mut stream, &mut target).await.map(drop)
            }
            Err(_) => {
                stream.write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await?;
                stream.shutdown().await
            }
        }
    }

    /// RFC 1928, with the credentials of RFC 1929.
    async fn socks5(&self, mut stream: TcpStream, options: &TestProxyOptions) -> io::Result<()> {
        let (_version, count) = (stream.read_u8().await?, stream.read_u8().await?);
        let mut methods = vec![0; usize::from(count)];
        stream.read_exact(&mut methods).await?;
        let wanted: u8 = if options.credentials.is_some() { 2 } else { 0 };
        if !methods.contains(&wanted) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return stream.write_all(&[5, 0xff]).await;
        }
        stream.write_all(&[5, wanted]).await?;
        if let Some((username, password)) = options.credentials {
            stream.read_u8().await?;
            let given = (counted(&mut stream).await?, counted(&mut stream).await?);
            if (given.0.as_str(), given.1.as_str()) != (username, password) {
                self.refused.fetch_add(1, Ordering::SeqCst);
                return stream.write_all(&[1, 1]).await;
            }
            stream.write_all(&[1, 0]).await?;
        }
        let mut request = [0; 4];
        stream.read_exact(&mut request).await?;
        let host = match request[3] {
            1 => {
                let mut address = [0; 4];
                stream.read_exact(&mut address).await?;
                std::net::Ipv4Addr::from(address).to_string()
            }
            3 => counted(&mut stream).await?,
            _ => return stream.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        };
        let port = stream.read_u16().await?;
        match self.reach(options, &host, port).await {
            Ok(mut target) => {
                stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
                copy_bidirectional(&mut stream, &mut target).await.map(drop)
            }
            Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
        }
    }
}

async fn counted(stream: &mut TcpStream) -> io::Result<String> {
    let mut text = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
