use std::time::Duration;

use super::*;

fn load(values: &[(&str, &str)]) -> Result<DataPlaneSettings, SettingsError> {
    DataPlaneSettings::from_sources(&Sources::of_values(values.iter().copied()))
}

#[test]
fn every_default_parses() {
    let home = [("HOME", "/home/x")];
    let settings = load(&home).expect("defaults");
    assert_eq!(settings.port, 20128);
    assert_eq!(settings.first_byte_timeout, Span(Duration::from_secs(120)));
    assert_eq!(settings.journal_max, ByteSize(1 << 30));
    ControlPlaneSettings::from_sources(&Sources::of_values(home)).expect("defaults");
    LauncherSettings::from_sources(&Sources::of_values(home)).expect("defaults");
}

#[test]
fn a_bad_value_names_its_variable() {
    let error = load(&[("PORT", "eighty")]).expect_err("no port");
    assert_eq!(error.to_string(), "variable PORT (setting `port`): expected a port number");
}

#[test]
fn threads_have_a_bound() {
    assert_eq!(
        load(&[("HOME", "/home/x"), ("WORKER_THREADS", "1024")]).expect("settings").worker_threads,
        Threads(1024)
    );
    for wrong in ["1025", "100000000", "-1", "many"] {
        let error = load(&[("HOME", "/home/x"), ("WORKER_THREADS", wrong)]).expect_err(wrong);
        assert!(error.to_string().ends_with("expected a number of threads, 1024 at most"), "{error}");
    }
}

#[test]
fn flags_beat_environment_and_environment_beats_the_file() {
    let file = std::env::temp_dir().join(format!("omniroute-settings-{}.toml", std::process::id()));
    std::fs::write(&file, "port = 1\nhost = \"::1\"\nrequire_api_key = false\n").expect("written");
    let sources = Sources::of_values([("PORT", "2")]).with_file(&file).expect("read");
    let settings = DataPlaneSettings::from_sources(&sources).expect("settings");
    assert_eq!((settings.port, settings.host.to_string(), settings.require_api_key), (2, "::1".into(), false));

    let flags = DataPlaneSettings::command()
        .try_get_matches_from(["x", "--port", "3", "--config", file.to_str().expect("a path")])
        .expect("flags");
    let sources = Sources::of_process(&flags, DataPlaneSettings::SETTINGS).expect("sources");
    assert_eq!(DataPlaneSettings::from_sources(&sources).expect("settings").port, 3);
    std::fs::remove_file(&file).expect("removed");
}

#[test]
fn a_key_nobody_knows_is_an_error() {
    let file = std::env::temp_dir().join(format!("omniroute-settings-bad-{}.toml", std::process::id()));
    std::fs::write(&file, "prot = 1\n").expect("written");
    let error = Sources::default().with_file(&file).expect_err("unknown key");
    assert!(error.to_string().contains("no process has a setting `prot`"), "{error}");
    std::fs::remove_file(&file).expect("removed");
}

#[test]
fn a_broken_file_names_the_line_and_the_column_and_repeats_no_value() {
    let file = std::env::temp_dir().join(format!("omniroute-settings-broken-{}.toml", std::process::id()));
    let error = |text: &str| {
        std::fs::write(&file, text).expect("written");
        Sources::default().with_file(&file).expect_err("no TOML").to_string()
    };
    let unclosed = error("port = 1\njwt_secret = \"hidden\nhost = 2\n");
    assert!(unclosed.contains(": line 2, column "), "{unclosed}");
    assert!(!unclosed.contains("hidden"), "{unclosed}");
    let doubled = error("port = 1\nhost = = 2\n");
    assert!(doubled.contains(": line 2, column 8: "), "{doubled}");
    std::fs::remove_file(&file).expect("removed");
}

#[test]
fn a_setting_says_where_its_text_comes_from() {
    let sources = Sources::of_values([("PORT", "2")]);
    assert_eq!(sources.text("port", &["PORT"], "1"), (Origin::Environment("PORT".into()), "2"));
    assert_eq!(sources.text("grpc_port", &["GRPC_PORT"], "3"), (Origin::Default, "3"));
}

#[test]
fn a_secret_of_digits_stays_text_and_shows_nowhere() {
    let settings =
        ControlPlaneSettings::from_sources(&Sources::of_values([("INITIAL_PASSWORD", "123456")])).expect("settings");
    assert_eq!(settings.initial_password.expose(), "123456");
    assert!(!format!("{settings:?}").contains("123456"));
}

#[test]
fn one_key_means_the_same_in_every_process() {
    let mut seen = std::collections::BTreeMap::new();
    for (process, settings) in TABLES {
        for setting in settings {
            let (first, kind, env) = *seen.entry(setting.key).or_insert((process, setting.kind, setting.env));
            assert_eq!((kind, env), (setting.kind, setting.env), "`{}` of {process} and {first}", setting.key);
        }
    }
}
