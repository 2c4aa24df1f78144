//! The bare reverse proxy that `bench` measures the gateway against.

use omniroute_tests::bench::floor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    floor::serve().await
}
