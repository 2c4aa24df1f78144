//! Outbound proxies, compiled.

use std::sync::Arc;

use omniroute_core::address::AddressPolicy;
use omniroute_egress::{OutboundProxy, ProxySpec};
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};
use zeroize::Zeroize as _;

use super::{ConfigKind, SnapshotBuilder, mismatched};

#[derive(Debug)]
pub(super) struct OutboundProxies;

// === impl OutboundProxies ===

impl ConfigKind for OutboundProxies {
    fn kind(&self) -> Kind {
        Kind::OutboundProxy
    }

    /// Whatever is wrong with one, what is assigned to it must not be called without it: it is taken as it is.
    fn may_refuse(&self) -> bool {
        false
    }

    fn take(&mut self, id: &str, body: Body, builder: &mut SnapshotBuilder) -> Result<(), String> {
        let Body::OutboundProxy(mut message) = body else { return Err(mismatched()) };
        let used = builder.egress.used(id);
        let compiled = if message.is_active {
            // Whether its address is allowed is asked with each connection: that may change.
            OutboundProxy::compile(id, &spec(&message), AddressPolicy::AllowPrivate, used).map(Arc::new).map_err(
                |error| format!("its outbound proxy `{}` cannot be used: its {} {error}", message.name, error.field()),
            )
        } else {
            Err(format!("its outbound proxy `{}` is not active", message.name))
        };
        message.username.zeroize();
        message.password.zeroize();
        match &compiled {
            Ok(proxy) => drop(builder.snapshot.outbound.insert(id.to_owned(), Arc::clone(proxy))),
            Err(_) => drop(builder.snapshot.outbound.remove(id)),
        }
        builder.egress.proxies.insert(id.to_owned(), compiled);
        builder.touch_assigned(id);
        Ok(())
    }

    fn remove(&mut self, id: &str, builder: &mut SnapshotBuilder) {
        builder.egress.proxies.remove(id);
        builder.egress.forget_use(id);
        builder.snapshot.outbound.remove(id);
        builder.touch_assigned(id);
    }
}

fn spec(message: &v1::OutboundProxy) -> ProxySpec<'_> {
    ProxySpec {
        kind: &message.r#type,
        host: &message.host,
        port: message.port,
        username: &message.username,
        password: &message.password,
        family: &message.family,
    }
}
