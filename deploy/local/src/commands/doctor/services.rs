//! Database and Redis: is anybody there, and is it what it should be. No password is sent.

use std::{io, time::Duration};

use omniroute_core::settings::Secret;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use url::Url;

use super::Finding;
use crate::{context::Context, data_dir, database_owner};

const KNOCK: Duration = Duration::from_secs(5);
/// Asks a Postgres server whether it speaks TLS; it answers with one letter, whoever asks.
const POSTGRES_SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

pub(super) async fn look(context: &Context) -> Vec<Finding> {
    let settings = &context.control_plane;
    let mut findings = vec![database(context, &settings.database_url).await];
    if settings.redis_url.is_set() {
        findings.push(redis(&settings.redis_url).await);
    } else {
        findings.push(Finding::good("Redis", "not used: one proxy counts in its own memory"));
    }
    findings
}

async fn database(context: &Context, url: &Secret) -> Finding {
    let text = url.expose();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let remedy = "start Postgres, and check host and port in DATABASE_URL";
        return match knock(text, 5432, &POSTGRES_SSL_REQUEST).await {
            Ok((place, answer)) if matches!(answer.first(), Some(b'S' | b'N')) => {
                Finding::good("database", format!("Postgres answers at {place}"))
            }
            Ok((place, _)) => Finding::bad("database", format!("what answers at {place} is not Postgres"), remedy),
            Err(why) => Finding::bad("database", why, remedy),
        };
    }
    let path = match text.strip_prefix("sqlite:") {
        Some(rest) => rest.strip_prefix("//").unwrap_or(rest).split('?').next().unwrap_or_default().into(),
        None if text.is_empty() => context.data_dir().file(data_dir::DATABASE),
        None => {
            let remedy = "write `postgres://user:password@host/name` or `sqlite://path`";
            return Finding::bad("database", "DATABASE_URL is of no kind that is known", remedy);
        }
    };
    match database_owner::owner(&path) {
        Ok(owner) => match owner.complaint() {
            None => Finding::good("database", format!("SQLite, {}", path.display())),
            Some((what, remedy)) => Finding::bad("database", format!("{} {what}", path.display()), remedy),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::note("database", format!("{} is not there", path.display()), "the control plane makes it")
        }
        Err(error) => Finding::bad("database", format!("{}: {error}", path.display()), "make it readable"),
    }
}

async fn redis(url: &Secret) -> Finding {
    let remedy = "start Redis, and check host and port in REDIS_URL; until then each process counts on its own";
    let text = url.expose();
    let is_tls = text.starts_with("rediss://");
    // A server that wants TLS says nothing to plain text, so that it takes the connection has to do.
    let greeting: &[u8] = if is_tls { b"" } else { b"PING\r\n" };
    match knock(text, 6379, greeting).await {
        Ok((place, _)) if is_tls => Finding::good("Redis", format!("{place} takes connections (TLS, not looked into)")),
        Ok((place, answer)) if answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH") => {
            Finding::good("Redis", format!("Redis answers at {place}"))
        }
        Ok((place, _)) => Finding::bad("Redis", format!("what answers at {place} is not Redis"), remedy),
        Err(why) => Finding::bad("Redis", why, remedy),
    }
}

/// Says `greeting` to what a URL names, and returns where that is and the beginning of what came back.
async fn knock(url: &str, usual_port: u16, greeting: &[u8]) -> Result<(String, Vec<u8>), String> {
    let url = Url::parse(url).map_err(|error| format!("the URL cannot be read: {error}"))?;
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or("localhost");
    let place = format!("{host}:{}", url.port().unwrap_or(usual_port));
    let talk = async {
        let mut stream = TcpStream::connect(&place).await?;
        let mut answer = vec![0; 64];
        if greeting.is_empty() {
            return Ok(Vec::new());
        }
        stream.write_all(greeting).await?;
        let length = stream.read(&mut answer).await?;
        answer.truncate(length);
        io::Result::Ok(answer)
    };
    match timeout(KNOCK, talk).await {
        Ok(Ok(answer)) => Ok((place, answer)),
        Ok(Err(error)) => Err(format!("{place} does not answer: {error}")),
        Err(_) => Err(format!("{place} does not answer within {} seconds", KNOCK.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::commands::doctor::Verdict;

    async fn server(answer: &'static [u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 64]).await;
                let _ = stream.write_all(answer).await;
            }
        });
        format!("127.0.0.1:{port}")
    }

    #[tokio::test]
    async fn redis_is_told_from_something_else_and_from_nobody() {
        let url = |place: &str| Secret::new(format!("redis://:password@{place}/0"));
        assert_eq!(redis(&url(&server(b"+PONG\r\n").await)).await.verdict, Verdict::Good);
        assert_eq!(redis(&url(&server(b"-NOAUTH x\r\n").await)).await.verdict, Verdict::Good);
        assert_eq!(redis(&url(&server(b"HTTP/1.1 400\r\n").await)).await.verdict, Verdict::Bad);
        let nobody = redis(&url("127.0.0.1:1")).await;
        assert_eq!(nobody.verdict, Verdict::Bad);
        assert!(!format!("{nobody:?}").contains("password"));
    }
}
