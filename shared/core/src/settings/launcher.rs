use std::path::PathBuf;

use super::{Secret, Span, settings};

settings! {
    /// Settings of the launcher and the CLI. `omniroute up` hands every other setting on to its children.
    pub struct LauncherSettings for "omniroute" {
        #[doc = "Where files live: secrets, database, journal."]
        data_dir: PathBuf = "~/.omniroute", ["DATA_DIR"];
        #[doc = "Gateway that the CLI talks to; empty means this machine's: the one that runs on `data_dir`, else what listens on `port`."]
        url: String = "", ["OMNIROUTE_URL"];
        #[doc = "Management API key for the CLI; empty means a short-lived session signed with this machine's own secret."]
        token: Secret = "", ["OMNIROUTE_TOKEN"];
        #[doc = "Port of the proxy that `up` starts."]
        port: u16 = "20128", ["PORT"];
        #[doc = "Port of REST and the dashboard that `up` starts."]
        control_plane_port: u16 = "20129", ["CONTROL_PLANE_PORT", "API_PORT", "DASHBOARD_PORT"];
        #[doc = "Port of gRPC that `up` starts."]
        grpc_port: u16 = "20130", ["GRPC_PORT"];
        #[doc = "How long `up` waits for both processes to be ready."]
        ready_timeout: Span = "30s", ["READY_TIMEOUT"];
        #[doc = "How long running requests may take to finish after Ctrl-C; a second Ctrl-C does not wait."]
        shutdown_timeout: Span = "30s", ["SHUTDOWN_TIMEOUT"];
    }
}
