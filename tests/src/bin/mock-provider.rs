//! The mock provider as a program.

use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser;
use omniroute_tests::mock_provider::MockProvider;

/// An OpenAI-compatible provider that needs no network and no model.
#[derive(Parser)]
struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The key that it accepts.
    #[arg(long, default_value = "sk-mock-0123456789")]
    key: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let provider = MockProvider::start_on(address, options.key).await?;
    print_address(&provider);
    tokio::signal::ctrl_c().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "whoever starts it reads the address here")]
fn print_address(provider: &MockProvider) {
    println!("{}", provider.base_url());
}
