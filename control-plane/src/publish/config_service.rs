//! `ConfigStream` on the wire. Written by hand, where the generated server would encode every message for every
//! subscriber: this one sends frames that are encoded already.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use bytes::BufMut as _;
use omniroute_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    body::Body,
    codec::{Codec, EncodeBuf, Encoder},
    codegen::{BoxFuture, Service},
    server::{Grpc, NamedService, StreamingService},
};
use tonic_prost::ProstCodec;

use super::{Publisher, frame::Frame, subscription};

/// Messages between a subscription and its connection.
const QUEUE: usize = 4;

const SUBSCRIBE: &str = "/omniroute.v1.ConfigStream/Subscribe";

type Requests = ProstCodec<v1::ConfigResponse, v1::ConfigRequest>;

/// The service.
#[derive(Clone)]
pub(super) struct ConfigService(Publisher);

/// Decodes requests; responses come encoded.
#[derive(Default)]
struct FrameCodec(Requests);

struct FrameEncoder;

// === impl ConfigService ===

impl ConfigService {
    pub(super) fn new(publisher: Publisher) -> Self {
        Self(publisher)
    }
}

impl NamedService for ConfigService {
    const NAME: &'static str = v1::config_stream_server::SERVICE_NAME;
}

impl Service<http::Request<Body>> for ConfigService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            if request.uri().path() != SUBSCRIBE {
                return Ok(Status::unimplemented("ConfigStream has no such method").into_http());
            }
            Ok(Grpc::new(FrameCodec::default()).streaming(service, request).await)
        })
    }
}

impl StreamingService<v1::ConfigRequest> for ConfigService {
    type Response = Frame;
    type ResponseStream = ReceiverStream<Result<Frame, Status>>;
    type Future = std::future::Ready<Result<Response<Self::ResponseStream>, Status>>;

    /// Answers at once: a proxy sends `Subscribe` only when it has seen our side of the handshake, in the headers.
    fn call(&mut self, request: Request<Streaming<v1::ConfigRequest>>) -> Self::Future {
        let (out, frames) = mpsc::channel(QUEUE);
        tokio::spawn(subscription::serve(self.0.clone(), request.into_inner(), out));
        std::future::ready(Ok(Response::new(ReceiverStream::new(frames))))
    }
}

// === impl FrameCodec ===

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = v1::ConfigRequest;
    type Encoder = FrameEncoder;
    type Decoder = <Requests as Codec>::Decoder;

    fn encoder(&mut self) -> Self::Encoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        self.0.decoder()
    }
}

// === impl FrameEncoder ===

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(frame.bytes().len());
        buffer.put_slice(frame.bytes());
        Ok(())
    }
}
