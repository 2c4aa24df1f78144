//! The settings that `omniroute up` gives its children on its own account: what one machine needs otherwise than a fleet.
//! `up` hands them over, `omniroute config` shows them.

use omniroute_core::settings::{DataPlaneSettings, SettingsTable as _};

use crate::{client, context::Context};

/// A setting of a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChildSetting {
    pub(crate) key: &'static str,
    /// The variable that carries it.
    pub(crate) variable: &'static str,
    pub(crate) value: String,
    /// Where it comes from, for people.
    pub(crate) source: &'static str,
}

/// Those of the proxy.
pub(crate) fn of_proxy(context: &Context) -> Vec<ChildSetting> {
    let (settings, control_plane) = (&context.data_plane, &context.control_plane);
    // `up` kills after this time; the proxy should have closed its records by then.
    let drain = context.launcher.shutdown_timeout.0;
    let drain = match drain.subsec_millis() {
        0 => format!("{}s", drain.as_secs()),
        _ => format!("{}ms", drain.as_millis()),
    };
    let mut given = vec![ChildSetting {
        key: "drain_deadline",
        variable: "DRAIN_DEADLINE",
        value: drain,
        source: "`omniroute up`, from shutdown_timeout",
    }];
    if settings.control_plane_url == default_of("control_plane_url") {
        given.push(ChildSetting {
            key: "control_plane_url",
            variable: "CONTROL_PLANE_URL",
            value: client::local_url(control_plane.grpc_host, context.launcher.grpc_port),
            source: "`omniroute up`, from grpc_host and grpc_port",
        });
    }
    if settings.forward_url.is_empty() {
        given.push(ChildSetting {
            key: "forward_url",
            variable: "CONTROL_PLANE_FORWARD_URL",
            value: client::local_url(control_plane.control_plane_host, context.launcher.control_plane_port),
            source: "`omniroute up`, from control_plane_host and control_plane_port",
        });
    }
    given
}

/// Those of the proxy and of the control plane.
pub(crate) fn of_both(context: &Context) -> Vec<ChildSetting> {
    // One machine has no balancer that would have to turn away.
    let lame_duck = ChildSetting {
        key: "lame_duck",
        variable: "LAME_DUCK",
        value: "0s".to_owned(),
        source: "default of `omniroute up`",
    };
    if context.data_plane.lame_duck.is_none() { vec![lame_duck] } else { Vec::new() }
}

/// What counts of a setting for the children of `up`, where that is neither what is set nor the default of the programs.
pub(crate) fn find(context: &Context, key: &str) -> Option<ChildSetting> {
    of_proxy(context).into_iter().chain(of_both(context)).find(|given| given.key == key)
}

fn default_of(key: &str) -> &'static str {
    DataPlaneSettings::SETTINGS.iter().find(|setting| setting.key == key).map_or("", |setting| setting.default)
}
