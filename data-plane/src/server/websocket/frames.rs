//! Frames of a socket, read into messages that pay for their memory.
//!
//! A message is a body like any other: what it takes comes out of [`BodyMemory`] before it is read, and a client that sends
//! too slowly is given up. Short messages are free, so that a ping or a cancellation gets through when nothing else does.

use std::{io::Cursor, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::frame::{
        Frame, FrameHeader,
        coding::{Control, Data, OpCode},
    },
};

use crate::{
    admit::body::SLOWEST,
    request::{
        BodyMemory,
        memory::{Exhausted, Reservation},
    },
};

/// A socket that is idle holds no more than this. Messages up to this length cost nothing.
pub(super) const FREE: usize = 4 * 1024;
/// Payload of a frame that controls the socket.
const LONGEST_CONTROL: u64 = 125;
/// What is kept of a message that cannot be taken: its id stands there.
const BEGINNING: u64 = 1024;

/// What a client has said.
#[derive(Debug)]
pub(super) enum ClientFrame {
    Text(Text),
    Binary,
    Ping(Bytes),
    Pong,
    /// With the status, if there is one.
    Close(Option<u16>),
    /// There was no memory for a message that begins like this. The rest of it is skipped.
    Refused(Bytes),
}

/// A whole text message: UTF-8.
#[derive(Debug)]
pub(super) struct Text {
    pub(super) bytes: Bytes,
    /// The memory that it takes.
    pub(super) share: Option<Reservation>,
}

/// Why nothing more can be heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadError {
    /// The connection has ended.
    Gone,
    TooLong,
    TooSlow,
    NotUtf8,
    /// Not the WebSocket protocol.
    Broken,
}

/// What a message may cost.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Bytes of one message.
    pub(super) largest: u64,
    /// Longest gap within a message.
    pub(super) silence: Duration,
    pub(super) memory: BodyMemory,
}

/// The client's half of a socket.
pub(super) struct FrameReader<R> {
    io: R,
    bounds: Bounds,
    buffer: BytesMut,
    /// A message of several frames.
    begun: Option<Begun>,
    /// Bytes of the present frame that nobody wants.
    unwanted: u64,
}

struct Begun {
    kind: Data,
    started: Instant,
    received: u64,
    /// Nothing, once the message is refused.
    held: Option<Held>,
}

#[derive(Default)]
struct Held {
    bytes: Vec<u8>,
    share: Option<Reservation>,
}

// === impl FrameReader ===

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(super) fn new(io: R, bounds: Bounds) -> Self {
        Self { io, bounds, buffer: BytesMut::new(), begun: None, unwanted: 0 }
    }

    /// The next message. Dropping the future loses what it has read.
    pub(super) async fn next(&mut self) -> Result<ClientFrame, ReadError> {
        loop {
            self.skip().await?;
            let (header, length) = self.header().await?;
            // What a client sends is masked, and no extension was agreed on.
            let Some(mask) = header.mask.filter(|_| !(header.rsv1 || header.rsv2 || header.rsv3)) else {
                return Err(ReadError::Broken);
            };
            match header.opcode {
                OpCode::Control(control) if header.is_final && length <= LONGEST_CONTROL => {
                    let mut payload = Vec::new();
                    self.payload(length, mask, &mut payload).await?;
                    return control_frame(control, payload);
                }
                OpCode::Control(_) => return Err(ReadError::Broken),
                OpCode::Data(kind) => {
                    if let Some(heard) = self.data(kind, header.is_final, length, mask).await? {
                        return Ok(heard);
                    }
                }
            }
        }
    }

    /// Reads and forgets whatever still comes.
    pub(super) async fn drain(&mut self) {
        loop {
            self.buffer.clear();
            self.buffer.reserve(FREE);
            if !self.io.read_buf(&mut self.buffer).await.is_ok_and(|read| read > 0) {
                return;
            }
        }
    }

    async fn header(&mut self) -> Result<(FrameHeader, u64), ReadError> {
        loop {
            let mut cursor = Cursor::new(&self.buffer);
            let parsed = FrameHeader::parse(&mut cursor).map_err(|_| ReadError::Broken)?;
            if let Some(parsed) = parsed {
                let end = usize::try_from(cursor.position()).map_err(|_| ReadError::Broken)?;
                self.buffer.advance(end);
                return Ok(parsed);
            }
            self.fill().await?;
        }
    }

    /// One frame of a message. `None`: more frames follow, or nobody is told any more.
    async fn data(
        &mut self,
        kind: Data,
        last: bool,
        length: u64,
        mask: [u8; 4],
    ) -> Result<Option<ClientFrame>, ReadError> {
        let mut message = match (kind, self.begun.take()) {
            (Data::Continue, Some(begun)) => begun,
            (Data::Text | Data::Binary, None) => Begun::new(kind),
            _ => return Err(ReadError::Broken),
        };
        message.received = message.received.saturating_add(length);
        if message.received > self.bounds.largest {
            return Err(ReadError::TooLong);
        }
        let Some(mut held) = message.held.take() else {
            self.unwanted = length;
            self.begun = (!last).then_some(message);
            return Ok(None);
        };
        if held.pay(&self.bounds.memory, message.received).await.is_err() {
            // What came before is given back now; the beginning is somewhere in it, or here.
            drop(held.share);
            let mut beginning = held.bytes;
            let kept = length.min(BEGINNING);
            beginning.truncate(FREE);
            self.begun = Some(message);
            self.payload(kept, mask, &mut beginning).await?;
            self.unwanted = length - kept;
            self.begun = self.begun.take().filter(|_| !last);
            return Ok(Some(ClientFrame::Refused(beginning.into())));
        }
        // The limits on its time hold while this frame comes.
        self.begun = Some(message);
        held.bytes.reserve_exact(usize::try_from(length).map_err(|_| ReadError::TooLong)?);
        self.payload(length, mask, &mut held.bytes).await?;
        let Some(mut message) = self.begun.take() else { return Err(ReadError::Broken) };
        if !last {
            message.held = Some(held);
            self.begun = Some(message);
            return Ok(None);
        }
        if message.kind == Data::Binary {
            return Ok(Some(ClientFrame::Binary));
        }
        if std::str::from_utf8(&held.bytes).is_err() {
            return Err(ReadError::NotUtf8);
        }
        Ok(Some(ClientFrame::Text(Text { bytes: held.bytes.into(), share: held.share })))
    }

    /// Appends this many bytes of the present frame, as they were before they were masked.
    async fn payload(&mut self, length: u64, mask: [u8; 4], out: &mut Vec<u8>) -> Result<(), ReadError> {
        let from = out.len();
        let mut missing = length;
        while missing > 0 {
            if self.buffer.is_empty() && missing >= FREE as u64 {
                let had = out.len();
                let mut io = (&mut self.io).take(missing);
                within(self.bounds.silence, Some(self.begun.as_ref()), io.read_buf(out)).await?;
                missing -= (out.len() - had) as u64;
                continue;
            }
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let taken = usize::try_from(missing).unwrap_or(usize::MAX).min(self.buffer.len());
            out.extend_from_slice(&self.buffer[..taken]);
            self.buffer.advance(taken);
            missing -= taken as u64;
        }
        for (byte, key) in out[from..].iter_mut().zip(mask.into_iter().cycle()) {
            *byte ^= key;
        }
        Ok(())
    }

    async fn skip(&mut self) -> Result<(), ReadError> {
        while self.unwanted > 0 {
            if self.buffer.is_empty() {
                self.fill().await?;
            }
            let taken = usize::try_from(self.unwanted).unwrap_or(usize::MAX).min(self.buffer.len());
            self.buffer.advance(taken);
            self.unwanted -= taken as u64;
        }
        Ok(())
    }

    /// Reads what is there. Between messages a client may be silent; how long, the session says.
    async fn fill(&mut self) -> Result<(), ReadError> {
        self.buffer.reserve(FREE);
        let in_message = self.begun.is_some() || self.unwanted > 0 || !self.buffer.is_empty();
        let read = self.io.read_buf(&mut self.buffer);
        within(self.bounds.silence, in_message.then_some(self.begun.as_ref()), read).await
    }
}

/// A read that obeys the limits on a message's time, where there is a message.
async fn within(
    silence: Duration,
    message: Option<Option<&Begun>>,
    read: impl Future<Output = std::io::Result<usize>>,
) -> Result<(), ReadError> {
    let read = match message {
        Some(_) => timeout(silence, read).await.map_err(|_| ReadError::TooSlow)?,
        None => read.await,
    };
    if !read.is_ok_and(|read| read > 0) {
        return Err(ReadError::Gone);
    }
    match message.flatten() {
        // `received` counts the whole of the present frame: in favour of the client.
        Some(begun) if begun.started.elapsed() > silence + Duration::from_secs(begun.received / SLOWEST) => {
            Err(ReadError::TooSlow)
        }
        _ => Ok(()),
    }
}

fn control_frame(control: Control, payload: Vec<u8>) -> Result<ClientFrame, ReadError> {
    match control {
        Control::Ping => Ok(ClientFrame::Ping(payload.into())),
        Control::Pong => Ok(ClientFrame::Pong),
        Control::Close => match payload.as_slice() {
            [] => Ok(ClientFrame::Close(None)),
            [high, low, ..] => Ok(ClientFrame::Close(Some(u16::from_be_bytes([*high, *low])))),
            [_] => Err(ReadError::Broken),
        },
        Control::Reserved(_) => Err(ReadError::Broken),
    }
}

impl Held {
    /// Takes the memory for so many bytes in all.
    async fn pay(&mut self, memory: &BodyMemory, bytes: u64) -> Result<(), Exhausted> {
        let covered = self.share.as_ref().map_or(0, Reservation::covers);
        if bytes <= covered.max(FREE as u64) {
            return Ok(());
        }
        let more = memory.reserve(bytes - covered).await?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
        Ok(())
    }
}

impl Begun {
    fn new(kind: Data) -> Self {
        Self { kind, started: Instant::now(), received: 0, held: Some(Held::default()) }
    }
}

/// Writes one message and sends it on its way.
pub(super) async fn write<W: AsyncWrite + Unpin>(io: &mut W, message: Message) -> std::io::Result<()> {
    let frame = match message {
        Message::Text(text) => Frame::message(text, OpCode::Data(Data::Text), true),
        Message::Binary(bytes) => Frame::message(bytes, OpCode::Data(Data::Binary), true),
        Message::Ping(payload) => Frame::ping(payload),
        Message::Pong(payload) => Frame::pong(payload),
        Message::Close(close) => Frame::close(close),
        Message::Frame(frame) => frame,
    };
    let mut bytes = Vec::with_capacity(frame.len());
    frame.format(&mut bytes).map_err(std::io::Error::other)?;
    io.write_all(&bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    const SILENCE: Duration = Duration::from_secs(10);
    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn bounds(largest: u64, memory: u64) -> Bounds {
        Bounds { largest, silence: SILENCE, memory: BodyMemory::new(memory) }
    }

    fn frame(payload: &[u8], opcode: OpCode, last: bool) -> Vec<u8> {
        let header = FrameHeader { is_final: last, opcode, mask: Some(MASK), ..FrameHeader::default() };
        let mut bytes = Vec::new();
        Frame::from_payload(header, Bytes::copy_from_slice(payload)).format(&mut bytes).expect("formatted");
        bytes
    }

    fn text(payload: &[u8]) -> Vec<u8> {
        frame(payload, OpCode::Data(Data::Text), true)
    }

    fn reader(bytes: &[u8], bounds: Bounds) -> FrameReader<&[u8]> {
        FrameReader::new(bytes, bounds)
    }

    #[tokio::test]
    async fn frames_are_joined_and_unmasked_with_pings_between_them() {
        let sent = [
            frame(b"{\"a\":", OpCode::Data(Data::Text), false),
            frame(b"hello", OpCode::Control(Control::Ping), true),
            frame(b"", OpCode::Data(Data::Continue), false),
            frame(&[b'1'; 9000], OpCode::Data(Data::Continue), true),
            text("\u{e9}".as_bytes()),
            frame(&[3, 232, b'x'], OpCode::Control(Control::Close), true),
        ]
        .concat();
        let bounds = bounds(1 << 20, 1 << 20);
        let memory = bounds.memory.clone();
        let mut reader = reader(&sent, bounds);
        assert!(matches!(reader.next().await, Ok(ClientFrame::Ping(payload)) if payload == "hello"));
        let Ok(ClientFrame::Text(joined)) = reader.next().await else { panic!("no text") };
        assert_eq!(joined.bytes, [b"{\"a\":".as_slice(), &[b'1'; 9000]].concat());
        assert!(memory.held() >= 9005, "{}", memory.held());
        drop(joined);
        assert_eq!(memory.held(), 0);
        let Ok(ClientFrame::Text(short)) = reader.next().await else { panic!("no text") };
        assert!(short.share.is_none() && short.bytes == "\u{e9}");
        assert!(matches!(reader.next().await, Ok(ClientFrame::Close(Some(1000)))));
        assert_eq!(reader.next().await.err(), Some(ReadError::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_without_memory_is_skipped_and_the_next_one_is_heard() {
        let large = [b"{\"id\":\"a\"".as_slice(), &[b' '; 60_000]].concat();
        let sent = [
            text(&large),
            frame(&large[..5000], OpCode::Data(Data::Text), false),
            frame(b"", OpCode::Control(Control::Pong), true),
            frame(&large, OpCode::Data(Data::Continue), false),
            frame(&large, OpCode::Data(Data::Continue), true),
            text(b"{}"),
        ]
        .concat();
        let bounds = bounds(1 << 20, 32 * 1024);
        let memory = bounds.memory.clone();
        let others = memory.reserve(20 * 1024).await.expect("reserved");
        let mut reader = reader(&sent, bounds);
        let Ok(ClientFrame::Refused(beginning)) = reader.next().await else { panic!("it was taken") };
        assert_eq!(&beginning[..], &large[..1024]);
        assert!(matches!(reader.next().await, Ok(ClientFrame::Pong)));
        let Ok(ClientFrame::Refused(beginning)) = reader.next().await else { panic!("it was taken") };
        assert_eq!(&beginning[..9], b"{\"id\":\"a\"");
        assert!(matches!(reader.next().await, Ok(ClientFrame::Text(text)) if text.bytes == "{}"));
        assert_eq!(memory.held(), others.covers());
    }

    #[tokio::test]
    async fn what_is_no_message_ends_the_socket() {
        let unmasked = {
            let mut bytes = Vec::new();
            Frame::message("x", OpCode::Data(Data::Text), true).format(&mut bytes).expect("formatted");
            bytes
        };
        let mut compressed = text(b"x");
        compressed[0] |= 0x40;
        let twice = [frame(b"a", OpCode::Data(Data::Text), false), text(b"b")].concat();
        let long_ping = frame(&[0; 126], OpCode::Control(Control::Ping), true);
        let orphan = frame(b"a", OpCode::Data(Data::Continue), true);
        for (sent, expected) in [
            (unmasked, ReadError::Broken),
            (compressed, ReadError::Broken),
            (twice, ReadError::Broken),
            (long_ping, ReadError::Broken),
            (orphan, ReadError::Broken),
            (frame(b"a", OpCode::Control(Control::Ping), false), ReadError::Broken),
            (frame(b"a", OpCode::Control(Control::Close), true), ReadError::Broken),
            (text(b"\xff"), ReadError::NotUtf8),
            (text(&[b'a'; 101]), ReadError::TooLong),
            (text(b"whole")[..8].to_vec(), ReadError::Gone),
        ] {
            assert_eq!(reader(&sent, bounds(100, 1 << 20)).next().await.err(), Some(expected), "{sent:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_a_trickle_end_a_message_but_not_a_pause_between_two() {
        let (mut client, io) = duplex(1 << 20);
        let mut reader = FrameReader::new(io, bounds(1 << 20, 1 << 20));
        let whole = text(&[b'a'; 5000]);
        let sending = async {
            tokio::time::sleep(SILENCE * 5).await;
            client.write_all(&whole).await.expect("sent");
            client.write_all(&whole[..2000]).await.expect("sent");
        };
        let hearing = async {
            assert!(matches!(reader.next().await, Ok(ClientFrame::Text(_))));
            reader.next().await.err()
        };
        assert_eq!(tokio::join!(sending, hearing).1, Some(ReadError::TooSlow));
        assert_eq!(reader.bounds.memory.held(), 0);

        let mut reader = FrameReader::new(duplex(1).0, bounds(1 << 20, 1 << 20));
        let (mut client, io) = duplex(1 << 20);
        let mut trickling = FrameReader::new(io, reader.bounds.clone());
        let sending = async {
            client.write_all(&frame(b"a", OpCode::Data(Data::Text), false)).await.expect("sent");
            // Pings between the frames of a message do not buy it more time.
            while client.write_all(&frame(b"", OpCode::Control(Control::Ping), true)).await.is_ok() {
                tokio::time::sleep(SILENCE / 4).await;
            }
        };
        let hearing = async move {
            loop {
                match trickling.next().await {
                    Ok(ClientFrame::Ping(_)) => {}
                    other => return other.err(),
                }
            }
        };
        assert_eq!(tokio::join!(sending, hearing).1, Some(ReadError::TooSlow));
        assert_eq!(reader.next().await.err(), Some(ReadError::Gone), "the other side was dropped");
    }
}
