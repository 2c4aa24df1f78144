//! `omniroute up` with programs in place of the planes that do what a test wants: what the launcher promises about its
//! children, whatever they are.

#![expect(clippy::expect_used, reason = "a test that cannot go on has failed")]

mod fake_plane;
mod launcher;

use std::time::Duration;

use self::launcher::{Launcher, Setup, is_alive, wait_until};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn both_planes_start_and_a_signal_stops_them_proxy_first() {
    let setup = Setup::new();
    let mut launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    launcher.wait_for("omniroute providers add");
    assert!(launcher.output().contains("admin password"));
    launcher.wait_for("proxy         | fake plane listens");
    launcher.signal("TERM");
    assert_eq!(launcher.wait(), Some(0));
    let output = launcher.output();
    let at = |text: &str| output.find(text).unwrap_or_else(|| panic!("no `{text}` in\n{output}"));
    assert!(at("proxy         | fake plane got SIGTERM") < at("control-plane | fake plane got SIGTERM"));
}

#[test]
fn the_password_is_shown_once_and_files_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let setup = Setup::new();
    let mut first = Launcher::start(&setup);
    first.wait_for("OmniRoute is ready");
    first.signal("INT");
    assert_eq!(first.wait(), Some(0));
    for name in ["master.key", "jwt.secret", "api-key.secret", "join.token", "admin.password", "api.key"] {
        let file = std::fs::metadata(setup.data_dir().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
    }
    let password = std::fs::read_to_string(setup.data_dir().join("admin.password")).expect("a password");
    assert!(first.output().contains(password.trim()));

    // Whatever becomes of the first key: somebody has seen the password.
    for lost in [None, Some("api.key")] {
        if let Some(name) = lost {
            std::fs::remove_file(setup.data_dir().join(name)).expect("removed");
        }
        let mut again = Launcher::start(&setup);
        again.wait_for("OmniRoute is ready");
        assert!(!again.output().contains(password.trim()), "without {lost:?}");
        again.signal("INT");
        assert_eq!(again.wait(), Some(0));
    }
}

#[test]
fn config_shows_what_the_children_are_given() {
    let setup = Setup::new();
    let launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let shown = setup.run(&["config", "--set", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let given = setup.environment_of("proxy");
    for (key, variable) in [
        ("control_plane_url", "CONTROL_PLANE_URL"),
        ("forward_url", "CONTROL_PLANE_FORWARD_URL"),
        ("drain_deadline", "DRAIN_DEADLINE"),
        ("lame_duck", "LAME_DUCK"),
    ] {
        let value = shown[key]["value"].as_str().unwrap_or_else(|| panic!("{key} in {shown}"));
        assert!(given.lines().any(|line| line == format!("{variable}={value}")), "{variable}={value} in\n{given}");
    }
}

#[test]
fn a_port_that_the_system_would_pick_is_refused() {
    for flag in ["--port", "--control-plane-port", "--grpc-port"] {
        let mut launcher = Launcher::start_with(&Setup::new(), &[flag, "0"]);
        assert_eq!(launcher.wait(), Some(2), "{flag}");
        let output = launcher.output();
        assert!(output.contains(&format!("{flag} 0: ")), "{output}");
    }
}

#[test]
fn a_plane_that_dies_is_started_again() {
    let setup = Setup::new();
    let launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let before = setup.pid_of_proxy().expect("a proxy");
    launcher::kill(before, "KILL");
    launcher.wait_for("proxy: it ended with signal 9; starting it again in 100ms");
    wait_until(SOON, "another proxy", || setup.pid_of_proxy().is_some_and(|pid| pid != before));
}

#[test]
fn a_plane_that_refuses_to_start_ends_the_launcher_with_its_last_words() {
    let setup = Setup::new().with("FAKE_REFUSES", "1");
    let mut launcher = Launcher::start(&setup);
    assert_eq!(launcher.wait(), Some(1));
    let output = launcher.output();
    assert!(output.contains("control-plane | fake plane refuses to start"), "{output}");
    assert!(output.contains("the control-plane did not start"), "{output}");
}

#[test]
#[cfg(target_os = "linux")]
fn planes_do_not_outlive_a_killed_launcher() {
    let setup = Setup::new();
    let mut launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let planes = [setup.pid_of_proxy().expect("a proxy"), setup.pid_of_control_plane().expect("a control plane")];
    launcher.signal("KILL");
    launcher.wait();
    wait_until(SOON, "the planes to be gone", || !planes.into_iter().any(is_alive));
}

#[test]
fn a_second_signal_does_not_wait_for_a_plane_that_takes_its_time() {
    let setup = Setup::new().with("FAKE_IGNORES_TERM", "1");
    let mut launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    launcher.signal("INT");
    launcher.wait_for("stopping");
    std::thread::sleep(Duration::from_millis(300));
    assert!(launcher.is_running(), "it waits for running requests");
    launcher.signal("INT");
    assert_eq!(launcher.wait(), Some(0));
}

#[test]
fn one_data_directory_has_one_launcher() {
    let setup = Setup::new();
    let first = Launcher::start(&setup);
    first.wait_for("OmniRoute is ready");
    let mut second = Launcher::start(&setup);
    assert_eq!(second.wait(), Some(1));
    let output = second.output();
    assert!(output.contains("another `omniroute up` (pid "), "{output}");
    assert!(first.is_running());
}

#[test]
fn a_taken_port_is_refused_with_the_name_of_its_holder() {
    let setup = Setup::new();
    let _holder = std::net::TcpListener::bind(("127.0.0.1", setup.port)).expect("the port is free");
    let mut launcher = Launcher::start(&setup);
    assert_eq!(launcher.wait(), Some(1));
    let output = launcher.output();
    assert!(output.contains(&format!(":{}, where the proxy should listen, is taken by", setup.port)), "{output}");
    #[cfg(target_os = "linux")]
    assert!(output.contains(&format!("(pid {})", std::process::id())), "{output}");
}

#[test]
fn a_start_that_failed_on_a_taken_port_leaves_the_password_to_the_next_greeting() {
    let setup = Setup::new();
    let holder = std::net::TcpListener::bind(("127.0.0.1", setup.port)).expect("the port is free");
    assert_eq!(Launcher::start(&setup).wait(), Some(1));
    drop(holder);
    // So does one whose control plane does not start.
    assert_eq!(setup.launcher_with("FAKE_REFUSES", "1").wait(), Some(1));
    let launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let password = std::fs::read_to_string(setup.data_dir().join("admin.password")).expect("a password");
    launcher.wait_for(password.trim());
}

#[test]
#[cfg(target_os = "linux")]
fn a_password_is_told_to_the_own_control_plane_and_not_to_whoever_has_its_port() {
    let setup = Setup::new();
    let launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let set = setup.run(&["password", "--new"]);
    assert!(set.status.success(), "{set:?}");
    let kept = std::fs::read(setup.data_dir().join("admin.password")).expect("kept");
    assert_eq!(set.stdout, kept, "the secret stands alone on standard output");
    let said = String::from_utf8_lossy(&set.stderr).into_owned();
    assert!(said.contains("every session has ended"), "{said}");

    setup.remove_control_plane();
    launcher::kill(setup.pid_of_control_plane().expect("a control plane"), "KILL");
    let take = || std::net::TcpListener::bind(("127.0.0.1", setup.control_plane_port())).ok();
    let mut stranger = None;
    wait_until(SOON, "the port to be free", || {
        stranger = take();
        stranger.is_some()
    });
    let stranger = stranger.expect("the port");
    stranger.set_nonblocking(true).expect("set");
    let asked = setup.run(&["password", "--json"]);
    assert!(String::from_utf8_lossy(&asked.stdout).contains("\"unknown\""), "{asked:?}");
    let refused = setup.run(&["password", "--new"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the old password still counts"), "{refused:?}");
    assert!(stranger.accept().is_err(), "nobody came");
}

#[test]
fn two_planes_on_one_port_are_refused_by_the_names_of_their_flags() {
    let setup = Setup::new();
    let port = setup.port.to_string();
    let mut launcher = Launcher::start_with(&setup, &["--control-plane-port", &port]);
    assert_eq!(launcher.wait(), Some(2));
    let output = launcher.output();
    assert!(output.contains("the proxy (--port) and the control plane (--control-plane-port) cannot both"), "{output}");
}

#[test]
fn a_proxy_is_not_told_what_only_the_control_plane_needs() {
    let setup = Setup::new().with("DATABASE_URL", "sqlite:///nowhere");
    let launcher = Launcher::start(&setup);
    launcher.wait_for("OmniRoute is ready");
    let proxy = setup.environment_of("proxy");
    let control_plane = setup.environment_of("control-plane");
    for name in ["STORAGE_ENCRYPTION_KEY", "JWT_SECRET", "API_KEY_SECRET", "INITIAL_PASSWORD", "DATABASE_URL"] {
        assert!(!proxy.contains(&format!("{name}=")), "{name}");
        assert!(control_plane.contains(&format!("{name}=")), "{name}");
    }
    for name in ["OMNIROUTE_JOIN_TOKEN", "DATA_DIR"] {
        assert!(proxy.contains(&format!("{name}=")) && control_plane.contains(&format!("{name}=")), "{name}");
    }
    assert!(proxy.contains("CONTROL_PLANE_FORWARD_URL=http://127.0.0.1:"));
    assert!(control_plane.contains("ALLOW_PRIVATE_UPSTREAMS=true"));
    // What connections may reach, a client's URL may not.
    assert!(!proxy.contains("ALLOW_PRIVATE_MEDIA_URLS"));
}
