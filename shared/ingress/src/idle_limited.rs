//! A limit on the silence of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::read_hook::{Hooked, ReadHook};

/// A stream that fails once nothing has come for so long. For connections whose server pings them: a client that is there
/// answers, and one that is silent never got as far as that. Under TLS it counts as well.
pub type IdleLimited<S> = Hooked<S, IdleTimeout>;

/// When a stream was last heard, and how long it may be silent.
#[derive(Debug)]
pub struct IdleTimeout {
    /// Set again only when it has rung.
    alarm: Pin<Box<Sleep>>,
    heard: Instant,
    limit: Duration,
}

// === impl IdleLimited ===

impl<S> IdleLimited<S> {
    pub fn new(stream: S, limit: Duration) -> Self {
        Self::with(IdleTimeout { alarm: Box::pin(sleep(limit)), heard: Instant::now(), limit }, stream)
    }
}

// === impl IdleTimeout ===

impl ReadHook for IdleTimeout {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(stream).poll_read(cx, buffer) {
            self.heard = Instant::now();
            return Poll::Ready(read);
        }
        while self.alarm.as_mut().poll(cx).is_ready() {
            let due = self.heard + self.limit;
            if Instant::now() >= due {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(due);
        }
        Poll::Pending
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
        let mut server = IdleLimited::new(server, LIMIT);
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
