//! A limit on the silence of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};
use tonic::transport::server::Connected;

/// A stream that fails once nothing has come for so long. For connections whose server pings them: a client that is there
/// answers, and one that is silent never got as far as that. Under TLS it counts as well.
#[derive(Debug)]
pub struct Spoken<S> {
    stream: S,
    /// Set again only when it has rung.
    alarm: Pin<Box<Sleep>>,
    heard: Instant,
    limit: Duration,
}

// === impl Spoken ===

impl<S> Spoken<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self { stream, alarm: Box::pin(sleep(limit)), heard: Instant::now(), limit }
    }
}

impl<S: Connected> Connected for Spoken<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Spoken<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(cx, buffer) {
            this.heard = Instant::now();
            return Poll::Ready(read);
        }
        while this.alarm.as_mut().poll(cx).is_ready() {
            let due = this.heard + this.limit;
            if Instant::now() >= due {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            this.alarm.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Spoken<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn who_is_heard_now_and_then_stays_and_who_falls_silent_does_not() {
        let (mut client, server) = duplex(64);
        let mut server = Spoken::new(server, LIMIT);
        let talking = async {
            for _ in 0..5 {
                tokio::time::sleep(LIMIT * 3 / 4).await;
                client.write_all(b"x").await.expect("sent");
            }
            Instant::now()
        };
        let reading = async {
            let mut byte = [0];
            for _ in 0..5 {
                server.read_exact(&mut byte).await.expect("heard");
            }
            let fallen = server.read_exact(&mut byte).await.expect_err("silent");
            (fallen.kind(), Instant::now())
        };
        let (last, (kind, ended)) = tokio::join!(talking, reading);
        assert_eq!((kind, ended - last), (io::ErrorKind::TimedOut, LIMIT));
    }
}
