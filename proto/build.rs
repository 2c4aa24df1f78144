//! Compiles the protobuf files with protox, so that no `protoc` has to be installed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["resource", "config", "usage", "control"].map(|name| format!("omniroute/v1/{name}.proto"));
    println!("cargo:rerun-if-changed=omniroute");
    let descriptors = protox::compile(&files, ["."])?;
    tonic_prost_build::configure()
        // Secrets travel in these; a hand-written Debug in lib.rs keeps them out of logs.
        .skip_debug(["omniroute.v1.Connection", "omniroute.v1.GatewaySettings", "omniroute.v1.OutboundProxy"])
        // In order, so that one connection always has the same bytes: their hash tells whether two are alike.
        .btree_map(".omniroute.v1.Connection.headers")
        .bytes(".omniroute.v1.UsageEvent.id")
        .compile_fds(descriptors)?;
    Ok(())
}
