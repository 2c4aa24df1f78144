//! Who a request is from, whether it may come in, and what it brings.
//!
//! [`Admission::admit`] looks the API key up ([`mod@key`]), unless the request comes from a page that has no business here
//! ([`origin`]). [`Admission::read_body`] then reads what the client sends ([`body`]), within the key's limits and the memory that
//! all bodies share, and unpacks what comes compressed ([`content_encoding`]).

pub(crate) mod body;
mod content_encoding;
mod key;
mod origin;

use std::{net::IpAddr, sync::Arc, time::Duration};

use arc_swap::Guard;
use bytes::Bytes;
use http::HeaderMap;
use http_body::Body;
use omniroute_core::{
    error::{ErrorClass, GatewayError},
    settings::DataPlaneSettings,
    time::UnixMillis,
};

pub(crate) use self::content_encoding::is_compressed;
use self::{
    body::BodyLimits,
    key::{ApiKeyPolicy, identify},
};
use crate::{
    lifecycle::Lifecycle,
    request::{BodyMemory, Caller, memory::Reservation},
    snapshot::{Settings, Snapshot, SnapshotHandle},
};

/// Lets requests in.
pub(crate) struct Admission {
    policy: ApiKeyPolicy,
    snapshot: SnapshotHandle,
    lifecycle: Lifecycle,
    memory: BodyMemory,
    /// Longest gap between two pieces of a body.
    silence: Duration,
}

/// Who may come in, and the configuration that counts for the request from here to its end.
pub(crate) struct Admitted {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) caller: Caller,
}

// === impl Admission ===

impl Admission {
    pub(crate) fn new(
        settings: &DataPlaneSettings,
        snapshot: SnapshotHandle,
        lifecycle: Lifecycle,
        memory: BodyMemory,
    ) -> Self {
        Self { policy: key_policy(settings), snapshot, lifecycle, memory, silence: settings.client_timeout.0 }
    }

    /// Finds out who sent a request.
    ///
    /// # Errors
    /// When the proxy has no configuration yet, or is on its way out; when the key is missing, unknown, or no good any more.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        query: Option<&str>,
        now: UnixMillis,
    ) -> Result<Admitted, GatewayError> {
        self.check_phase()?;
        let snapshot = Guard::into_inner(self.snapshot.load());
        let caller = identify(&snapshot, self.policy, headers, query, now)?;
        Ok(Admitted { snapshot, caller })
    }

    /// Whether somebody who was let in with these headers would be let in with them now.
    ///
    /// # Errors
    /// When the key is no good any more.
    pub(crate) fn check_key(&self, headers: &HeaderMap, now: UnixMillis) -> Result<(), GatewayError> {
        identify(&self.snapshot.load(), self.policy, headers, None, now).map(drop)
    }

    /// Reads all of a body, and unpacks it if need be. What `paid` covers is not taken out of the memory again.
    ///
    /// # Errors
    /// When it is too large, too slow, not whole, in a coding that is not read, or there is no memory for it.
    pub(crate) async fn read_body<B>(
        &self,
        headers: &HeaderMap,
        body: B,
        paid: Option<Reservation>,
        caller: &Caller,
        settings: &Settings,
    ) -> Result<Bytes, GatewayError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let max_bytes = caller.max_body_bytes(settings.max_body_bytes);
        let limits = BodyLimits { max_bytes, silence: self.silence };
        let memory = self.memory.of(caller);
        let body = body::read(body, paid, limits, &memory).await?;
        if is_compressed(headers) {
            return Box::pin(content_encoding::unpacked(headers, body, max_bytes, &memory)).await;
        }
        Ok(body)
    }

    /// The memory that bodies of this caller come out of.
    pub(crate) fn memory_of(&self, caller: &Caller) -> BodyMemory {
        self.memory.of(caller)
    }

    /// The memory of all bodies.
    pub(crate) fn memory(&self) -> &BodyMemory {
        &self.memory
    }

    fn check_phase(&self) -> Result<(), GatewayError> {
        if !self.lifecycle.phase().takes_work() {
            return Err(draining("this proxy takes no new requests"));
        }
        if !self.snapshot.ready() {
            return Err(GatewayError::new(ErrorClass::Overloaded, "not_ready", "this proxy has no configuration yet")
                .with_hint("it is waiting for the control plane")
                .with_retry_after(Duration::from_secs(1)));
        }
        Ok(())
    }
}

/// What a client is told by a proxy that is on its way out.
pub(crate) fn draining(message: &str) -> GatewayError {
    GatewayError::new(ErrorClass::Overloaded, "draining", message)
        .with_hint("try again: another proxy will answer")
        .with_retry_after(Duration::from_secs(1))
}

/// A key is not required only where nobody but this machine can come.
fn key_policy(settings: &DataPlaneSettings) -> ApiKeyPolicy {
    match (settings.require_api_key, is_loopback(settings.host)) {
        (false, true) => ApiKeyPolicy::LoopbackExempt,
        (false, false) => {
            let host = settings.host;
            tracing::warn!(%host, "REQUIRE_API_KEY=false only counts on loopback; API keys are required");
            ApiKeyPolicy::Required
        }
        (true, _) => ApiKeyPolicy::Required,
    }
}

fn is_loopback(host: IpAddr) -> bool {
    host.to_canonical().is_loopback()
}
