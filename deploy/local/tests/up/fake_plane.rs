//! A program that stands where a plane should: it listens on the plane's port, answers what the launcher asks, and
//! misbehaves as the environment says. It is this test binary, started again by a script of the plane's name.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

const KEY: &str = "sk-of-the-test";

#[test]
#[ignore = "not a test: the other tests run it as a child of the launcher"]
fn fake_plane() {
    let name = std::env::var("FAKE_NAME").expect("started by its script");
    if std::env::var_os("FAKE_REFUSES").is_some() {
        say("fake plane refuses to start");
        std::process::exit(1);
    }
    let port = if name == "proxy" { "PORT" } else { "CONTROL_PLANE_PORT" };
    let port: u16 = std::env::var(port).expect("a port").parse().expect("a number");
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    let notes = std::path::PathBuf::from(std::env::var_os("FAKE_NOTES").expect("a directory"));
    let environment: Vec<String> = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect();
    std::fs::write(notes.join(format!("{name}.environment")), environment.join("\n")).expect("written");
    std::fs::write(notes.join(format!("{name}.pid")), std::process::id().to_string()).expect("written");
    std::thread::spawn(mind_signals);
    say("fake plane listens");
    for stream in listener.incoming().flatten() {
        answer(stream);
    }
}

/// Ends at SIGTERM, unless it was told to ignore it.
fn mind_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a handler");
        while terminate.recv().await.is_some() {
            say("fake plane got SIGTERM");
            if std::env::var_os("FAKE_IGNORES_TERM").is_none() {
                std::process::exit(0);
            }
        }
    });
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn answer(mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
    let (mut first, mut is_known, mut length) = (String::new(), false, 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) <= 2 {
            break;
        }
        let lower = line.to_ascii_lowercase();
        is_known |= line.contains(KEY);
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let _ = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path {
        "/readyz" | "/api/monitoring/health" => ("200 OK", "{\"revision\":1}".to_owned()),
        path if path.starts_with("/api/keys?") => ("200 OK", "{\"keys\":[],\"total\":0}".to_owned()),
        "/api/settings/require-login" => ("200 OK", "{\"success\":true}".to_owned()),
        "/api/keys" => ("201 Created", format!("{{\"key\":\"{KEY}\",\"id\":\"1\"}}")),
        "/v1/models" if is_known => ("200 OK", "{\"object\":\"list\",\"data\":[]}".to_owned()),
        "/v1/models" => ("401 Unauthorized", "{}".to_owned()),
        _ => ("404 Not Found", "{}".to_owned()),
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n", body.len());
    let _ = write!(stream, "{head}connection: close\r\n\r\n{body}");
}
