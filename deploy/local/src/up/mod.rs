//! `omniroute up`: the whole gateway on one machine.
//!
//! In order: take the data directory, make the missing secrets, see that the ports are free, find the programs
//! ([`environment`] says what each gets to know). Then the control plane, then the proxy, each under a [`supervisor`]
//! that starts it ([`plane`]), passes its lines on ([`output`]) and starts it again when it dies. Once both are
//! [`ready`], the [`greeting`] says how to use them. A signal stops the proxy first, which still hands over its usage
//! events, then the control plane; a second one does not wait.

mod backoff;
mod environment;
mod greeting;
mod output;
pub(crate) mod plane;
mod ready;
mod supervisor;

use std::{net::SocketAddr, time::Instant};

use self::{
    output::Output,
    plane::Plane,
    supervisor::{Supervised, Urgency},
};
use crate::{
    client,
    context::Context,
    failure::Failure,
    ports::{self, Port},
    secrets::Secrets,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, `kill`, and a closed terminal.
struct Signals([Signal; 3]);

/// Starts the gateway and returns when it was told to stop and has.
pub(crate) async fn up(context: &Context) -> Result<(), Failure> {
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let dir = context.data_dir();
    dir.create()?;
    let _lock = dir.lock()?;
    let secrets = Secrets::ensure(&dir, &context.control_plane)?;
    check_ports(context)?;
    let planes = environment::planes(context, &secrets)?;

    let (output, printer) = Output::start();
    let result = run(context, planes, &secrets, &output, &mut signals, started).await;
    drop(output);
    printer.finish().await;
    result
}

async fn run(
    context: &Context,
    [control_plane, proxy]: [Plane; 2],
    secrets: &Secrets,
    output: &Output,
    signals: &mut Signals,
    started: Instant,
) -> Result<(), Failure> {
    let [proxy_url, control_plane_url] = client::local_urls(context);
    let deadline = started + context.launcher.ready_timeout.0;
    let mut running = Vec::new();
    let begin = async {
        running.push(Supervised::start(control_plane, output.clone()));
        ready::wait(&control_plane_url, &mut running, deadline).await?;
        running.push(Supervised::start(proxy, output.clone()));
        ready::wait(&proxy_url, &mut running, deadline).await?;
        let greeting = greeting::greeting(context, secrets, &proxy_url, &control_plane_url, started).await?;
        output.plain(&greeting);
        running.iter().for_each(Supervised::settle);
        Ok(())
    };
    let begun: Result<(), Failure> = tokio::select! {
        begun = begin => begun,
        () = signals.next() => Err(Failure::failed("told to stop before both processes were ready")),
    };
    if begun.is_ok() {
        signals.next().await;
    }
    stop(context, running, output, signals).await;
    begun
}

/// Stops what runs, last started first.
async fn stop(context: &Context, mut running: Vec<Supervised>, output: &Output, signals: &mut Signals) {
    output.say("stopping; Ctrl-C again does not wait for running requests");
    let mut urgency = Urgency::Gentle(context.launcher.shutdown_timeout.0);
    while let Some(mut plane) = running.pop() {
        plane.stop(urgency);
        loop {
            tokio::select! {
                () = plane.ended() => break,
                () = signals.next() => {
                    urgency = Urgency::Now;
                    plane.stop(urgency);
                }
            }
        }
    }
    output.say("stopped");
}

/// Says at once, and by name, what would otherwise be an error in the middle of a child's log.
fn check_ports(context: &Context) -> Result<(), Failure> {
    let wanted = [
        (context.data_plane.host, context.launcher.port, "the proxy", "--port"),
        (
            context.control_plane.control_plane_host,
            context.launcher.control_plane_port,
            "the control plane",
            "--control-plane-port",
        ),
        (context.control_plane.grpc_host, context.launcher.grpc_port, "gRPC", "--grpc-port"),
    ];
    for (host, port, what, flag) in wanted {
        let address = SocketAddr::new(host, port);
        let complaint = match ports::look(address) {
            Port::Free => continue,
            Port::Taken(Some(holder)) => format!("is taken by {holder}; stop that"),
            Port::Taken(None) => "is taken by another program; stop that".to_owned(),
            Port::Unusable(error) => format!("cannot be used ({error}); allow it"),
        };
        return Err(Failure::failed(format!(
            "{address}, where {what} should listen, {complaint} or choose another port with {flag}"
        )));
    }
    Ok(())
}

// === impl Signals ===

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot listen for signals: {error}")));
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
