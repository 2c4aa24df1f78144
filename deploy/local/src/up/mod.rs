//! `omniroute up`: the whole gateway on one machine.
//!
//! In order: see that the ports are free, take the data directory and note there where the gateway will listen, make the
//! missing secrets, find the programs ([`environment`] says what each gets to know). Then the control plane, then the proxy, each under a [`supervisor`]
//! that starts it ([`plane`]), passes its lines on ([`output`]) and starts it again when it dies. Once both are
//! [`ready`], the [`greeting`] says how to use them; when they do not get there, [`disk_space`] sees whether the disk is full. A signal stops the proxy first, which still hands over its usage
//! events, then the control plane; a second one does not wait.

mod backoff;
mod environment;
mod greeting;
mod output;
pub(crate) mod plane;
mod ready;
mod supervisor;

use std::{net::SocketAddr, process, time::Instant};

use self::{
    output::Output,
    plane::Plane,
    supervisor::{Supervised, Urgency},
};
use crate::{
    client,
    context::Context,
    data_dir::{self, Running},
    disk_space,
    failure::{Exit, Failure},
    ports::{self, Port},
    secrets::Secrets,
};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, `kill`, and a closed terminal.
struct Signals([Signal; 3]);

/// What is known before the planes start.
struct Start {
    secrets: Secrets,
    /// Nobody has seen the greeting of this directory's gateway yet.
    is_first: bool,
    at: Instant,
}

/// Starts the gateway and returns when it was told to stop and has.
pub(crate) async fn up(mut context: Context) -> Result<(), Failure> {
    let started = Instant::now();
    let mut signals = Signals::listen()?;
    let dir = context.data_dir();
    dir.create()?;
    check_own_way(&context)?;
    let running = addresses(&context);
    // Whoever serves the directory already has its ports too.
    let _lock = dir.lock(&running)?;
    check_ports(&running)?;
    context.running = Some(running);
    // Whatever became of earlier starts. A gateway of an earlier version has noted nothing, but made its first key.
    let is_first = ![data_dir::GREETED, data_dir::API_KEY].iter().any(|name| dir.file(name).exists());
    let secrets = Secrets::ensure(&dir, &context.control_plane)?;
    let planes = environment::planes(&context, &secrets)?;

    let (output, printer) = Output::start();
    let start = Start { secrets, is_first, at: started };
    let result = run(&context, planes, &start, &output, &mut signals).await;
    drop(output);
    printer.finish().await;
    result
}

async fn run(
    context: &Context,
    [control_plane, proxy]: [Plane; 2],
    start: &Start,
    output: &Output,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let [proxy_url, control_plane_url] = client::local_urls(context);
    let deadline = start.at + context.launcher.ready_timeout.0;
    let mut running = Vec::new();
    let begin = async {
        running.push(Supervised::start(control_plane, output.clone()));
        ready::wait(&control_plane_url, &mut running, deadline).await?;
        running.push(Supervised::start(proxy, output.clone()));
        ready::wait(&proxy_url, &mut running, deadline).await?;
        let greeting = greeting::greeting(context, start, &proxy_url, &control_plane_url).await?;
        output.plain(&greeting);
        if let Err(failure) = context.data_dir().note(data_dir::GREETED) {
            output.say(&failure.to_string());
        }
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
    let dir = context.data_dir();
    begun.map_err(|failure| disk_space::explained(failure, dir.path(), disk_space::free(dir.path())))
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

/// `up` itself asks the proxy whether it is ready, and writes no header of the PROXY protocol.
fn check_own_way(context: &Context) -> Result<(), Failure> {
    let (settings, own) = (&context.data_plane, ports::reachable(context.data_plane.host));
    if settings.proxy_protocol && settings.trusted_proxies.contains(own) {
        return Err(Failure::failed(format!(
            "PROXY_PROTOCOL is set and TRUSTED_PROXIES has {own}, so `omniroute up` itself could not reach the proxy: take \
             {own} out of TRUSTED_PROXIES, or start the two programs without `up`"
        )));
    }
    Ok(())
}

fn addresses(context: &Context) -> Running {
    let (launcher, control_plane) = (&context.launcher, &context.control_plane);
    Running {
        pid: process::id(),
        proxy: SocketAddr::new(context.data_plane.host, launcher.port),
        control_plane: SocketAddr::new(control_plane.control_plane_host, launcher.control_plane_port),
        grpc: SocketAddr::new(control_plane.grpc_host, launcher.grpc_port),
    }
}

/// Says at once, and by name, what would otherwise be an error in the middle of a child's log.
fn check_ports(running: &Running) -> Result<(), Failure> {
    let wanted = [
        (running.proxy, "the proxy", "--port"),
        (running.control_plane, "the control plane", "--control-plane-port"),
        (running.grpc, "gRPC", "--grpc-port"),
    ];
    for (index, (address, what, flag)) in wanted.iter().enumerate() {
        if address.port() == 0 {
            // Nobody would find what listens on a port that the system has picked, the other process included.
            return Err(Failure::new(
                Exit::Usage,
                format!("{flag} 0: {what} needs a port of its own, from 1 to 65535"),
            ));
        }
        let same = |(other, ..): &&(SocketAddr, &str, &str)| other.port() == address.port();
        if let Some((_, other, other_flag)) = wanted[index + 1..].iter().find(same) {
            return Err(Failure::new(
                Exit::Usage,
                format!("{what} ({flag}) and {other} ({other_flag}) cannot both have port {}", address.port()),
            ));
        }
    }
    for (address, what, flag) in wanted {
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
