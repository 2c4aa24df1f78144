//! Secrets at rest: what is in the file, whose key opens it, and changing the key.

use std::{sync::Arc, time::Duration};

use omniroute_core::{
    sealed::SealError,
    settings::Secret,
    time::{ManualClock, SystemClock, UnixMillis},
};

use crate::{
    areas::{
        access::keys::rows as keys,
        providers::connections::{
            ConnectionDraft, ConnectionPatch, rows as connections,
            rows::{Connections, SEALED},
        },
    },
    store::{
        Store, StoreError,
        testing::{KEY, NOON, TestDatabase, admin, execute, on_both_engines},
    },
};

const NEW_KEY: &str = "another-master-key-987654321";

async fn with_connections(database: &TestDatabase, names: &[&str]) -> (Store, Vec<String>) {
    let store = database.store().await;
    let mut ids = Vec::new();
    let mut write = store.write(&admin()).await.expect("a transaction");
    for name in names {
        let mut draft = ConnectionDraft::new("openai", *name, Secret::new(format!("sk-vendor-{name}")));
        draft.headers.insert("authorization".into(), format!("Bearer planted-{name}"));
        draft.provider_data.insert("consoleApiKey".into(), format!("planted-{name}").into());
        ids.push(connections::create(&mut write, draft).await.expect("a connection").id.to_string());
    }
    write.commit().await.expect("committed");
    (store, ids)
}

async fn reopened(database: &TestDatabase, keys: &str) -> Result<Store, StoreError> {
    database.open(keys, Arc::new(SystemClock)).await
}

#[tokio::test]
async fn no_secret_is_in_the_file_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("new folder").join("storage.sqlite");
    let store = Store::open(crate::store::StoreOptions {
        url: Secret::new(format!("sqlite:{}", path.display())),
        max_connections: 2,
        ring: omniroute_core::sealed::KeyRing::new([KEY]).expect("a ring"),
        pepper: omniroute_core::hash::Pepper::new("planted-pepper"),
        allow_private_upstreams: true,
        clock: Arc::new(SystemClock),
    })
    .await
    .expect("a store");
    let plain = "sk-planted-client-key-0123456789";
    let mut write = store.write(&admin()).await.expect("a transaction");
    let mut draft = ConnectionDraft::new("openai", "main", Secret::new("sk-planted-vendor"));
    draft.headers.insert("x-api-key".into(), "planted-header".into());
    draft.provider_data.insert("token".into(), "planted-data".into());
    let id = connections::create(&mut write, draft).await.expect("a connection").id;
    keys::create(&mut write, crate::areas::access::keys::KeyDraft::new("k", plain, &store.pepper()))
        .await
        .expect("a key");
    write.commit().await.expect("committed");
    let mut write = store.write(&admin()).await.expect("a transaction");
    let patch = ConnectionPatch { name: Some("renamed".into()), ..ConnectionPatch::default() };
    connections::update(&mut write, id.as_str(), patch).await.expect("updated");
    write.commit().await.expect("committed");
    let mut files = 0;
    for entry in std::fs::read_dir(path.parent().expect("a parent")).expect("the folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
        let bytes = std::fs::read(entry.path()).expect("read");
        for planted in ["planted-vendor", "planted-header", "planted-data", "planted-client-key", "planted-pepper"] {
            let found = bytes.windows(planted.len()).any(|window| window == planted.as_bytes());
            assert!(!found, "{planted} is in {:?}", entry.file_name());
        }
        files += 1;
    }
    assert!(files >= 2, "the database and its write-ahead log");
}

on_both_engines! {
    async fn another_master_key_is_told_at_start(database: &TestDatabase) {
        let (store, _) = with_connections(database, &["a"]).await;
        store.close().await;
        let error = reopened(database, NEW_KEY).await.expect_err("the wrong key");
        assert!(matches!(error, StoreError::MasterKey(SealError::UnknownKey(_))), "{error:?}");
        assert!(error.to_string().contains("STORAGE_ENCRYPTION_KEY"), "{error}");
        reopened(database, KEY).await.expect("the right key");
    }

    async fn a_value_moved_to_another_row_does_not_open(database: &TestDatabase) {
        let (store, ids) = with_connections(database, &["a", "b"]).await;
        let moved = format!(
            "UPDATE connections SET secret = (SELECT secret FROM connections WHERE id = '{}') WHERE id = '{}'",
            ids[0], ids[1]
        );
        assert_eq!(execute(&store, &moved).await, 1);
        let error = Connections::of(&store).secret(&ids[1]).await.expect_err("it belongs to the other");
        assert!(matches!(error, StoreError::Sealed { source: SealError::Refused, .. }), "{error:?}");
        let all = Connections::of(&store).list().await.expect("one damaged row does not hide the others");
        let unreadable: Vec<bool> = ids
            .iter()
            .filter_map(|id| all.iter().find(|connection| connection.id.as_str() == id))
            .map(|connection| connection.unopened.is_any())
            .collect();
        assert_eq!(unreadable, [false, true]);

        let mut write = store.write(&admin()).await.expect("a transaction");
        let patch = ConnectionPatch { secret: Some(Secret::new("sk-new")), ..ConnectionPatch::default() };
        connections::update(&mut write, &ids[1], patch).await.expect("entering the secret anew repairs it");
        write.commit().await.expect("committed");
        assert_eq!(Connections::of(&store).secret(&ids[1]).await.expect("the secret").expose(), "sk-new");
    }

    async fn an_edit_leaves_what_does_not_open_as_it_is(database: &TestDatabase) {
        database.store().await.close().await;
        let whole = database.open(&format!("{NEW_KEY},{KEY}"), Arc::new(SystemClock)).await.expect("opened");
        let mut write = whole.write(&admin()).await.expect("a transaction");
        let mut draft = ConnectionDraft::new("openai", "c", Secret::new("sk-kept"));
        draft.headers.insert("x-team".into(), "kept".into());
        draft.provider_data.insert("region".into(), "kept".into());
        let id = connections::create(&mut write, draft).await.expect("a connection").id.to_string();
        write.commit().await.expect("committed");

        let lacking = database.store().await;
        let edit = async |patch: ConnectionPatch| {
            let mut write = lacking.write(&admin()).await.expect("a transaction");
            let edited = connections::update(&mut write, &id, patch).await?;
            write.commit().await.map(|_| edited)
        };
        let priority = || ConnectionPatch { priority: Some(7), ..ConnectionPatch::default() };
        assert_eq!(edit(priority()).await.expect_err("another one has the key").code(), "ring_incomplete");
        whole.close().await;
        assert_eq!(edit(priority()).await.expect_err("it had it today").code(), "ring_incomplete");

        execute(&lacking, "UPDATE control_planes SET last_seen_at = 0").await;
        let edited = edit(priority()).await.expect("nobody has it");
        assert_eq!((edited.priority, edited.has_secret, edited.unopened.is_any()), (7, true, true));
        let entry = lacking.config_log().page(None, Some("connection"), Some(&id), 1).await.expect("the log").remove(0);
        assert!(entry.after.is_some_and(|state| state["locked"]["secret"].is_string()), "the log could bring it back");
        lacking.close().await;

        let whole = database.open(&format!("{NEW_KEY},{KEY}"), Arc::new(SystemClock)).await.expect("opened");
        let read = Connections::of(&whole).get(&id).await.expect("the connection");
        assert_eq!((read.priority, read.unopened.is_any(), read.headers["x-team"].as_str()), (7, false, "kept"));
        assert_eq!(read.provider_data["region"], "kept");
        assert_eq!(Connections::of(&whole).secret(&id).await.expect("it opens").expose(), "sk-kept");
    }

    async fn rotation_reseals_everything_and_the_old_key_can_go(database: &TestDatabase) {
        let names: Vec<String> = (0..250).map(|number| format!("c{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (store, ids) = with_connections(database, &names).await;
        store.close().await;

        let both = reopened(database, &format!("{NEW_KEY},{KEY}")).await.expect("the old key still opens");
        let done = both.reseal(&SEALED).await.expect("resealed");
        assert_eq!(done.failed, Vec::<String>::new());
        // Secret, headers and data of each, its log entry, the settings' log entry, the fleet's values, the canary.
        assert_eq!(done.values, 250 * 4 + 1 + 1 + 1);
        assert_eq!(both.reseal(&SEALED).await.expect("resealed").values, 0, "nothing is left to do");
        let revision = both.revision().await.expect("a revision");
        both.close().await;

        let new = reopened(database, NEW_KEY).await.expect("the new key alone");
        assert_eq!(Connections::of(&new).secret(&ids[249]).await.expect("the secret").expose(), "sk-vendor-c249");
        let read = Connections::of(&new).get(&ids[7]).await.expect("the connection");
        assert_eq!(read.headers["authorization"], "Bearer planted-c7");
        assert_eq!(read.provider_data["consoleApiKey"], "planted-c7");
        assert_eq!(new.config_log().page(None, None, None, 1000).await.expect("the log").len(), 251);
        assert_eq!(new.revision().await.expect("a revision"), revision, "to proxies nothing has changed");
        reopened(database, KEY).await.expect_err("the old key is out");
    }

    async fn rotation_names_what_it_cannot_open_and_goes_on(database: &TestDatabase) {
        let (store, ids) = with_connections(database, &["a", "b", "c"]).await;
        let moved = format!(
            "UPDATE connections SET secret = (SELECT secret FROM connections WHERE id = '{}') WHERE id = '{}'",
            ids[0], ids[1]
        );
        execute(&store, &moved).await;
        store.close().await;
        let both = reopened(database, &format!("{NEW_KEY},{KEY}")).await.expect("opened");
        let done = both.reseal(&SEALED).await.expect("resealed");
        assert_eq!(done.failed, [format!("connections.secret ({})", ids[1])]);
        assert_eq!(Connections::of(&both).secret(&ids[2]).await.expect("the secret").expose(), "sk-vendor-c");
    }

    async fn a_process_alone_puts_its_settings_into_force_with_a_new_revision(database: &TestDatabase) {
        let clock = Arc::new(SystemClock);
        let store = database.store().await;
        let first = store.revision().await.expect("a revision");
        store.close().await;
        let same = database.store().await;
        assert_eq!(same.revision().await.expect("a revision"), first);
        same.close().await;
        let allowed = database.open_with(KEY, "pepper", true, clock.clone()).await.expect("opened");
        assert_eq!(allowed.revision().await.expect("a revision"), first + 1);
        assert!(allowed.allow_private_upstreams());
        allowed.close().await;
        let peppered = database.open_with(KEY, "salt", true, clock).await.expect("opened");
        assert_eq!(peppered.revision().await.expect("a revision"), first + 2);
        assert_eq!(peppered.settings().get().await.expect("settings").revision, first + 2);
        assert_eq!(peppered.pepper().as_bytes(), b"salt");
    }

    async fn a_process_set_up_by_mistake_changes_nothing_for_those_that_run(database: &TestDatabase) {
        let clock = Arc::new(SystemClock);
        let running = database.store().await;
        let revision = running.revision().await.expect("a revision");
        let odd = database.open_with(KEY, "salt", true, clock.clone()).await.expect("opened");
        // It goes by what is in force, also when it edits.
        assert_eq!(odd.pepper().as_bytes(), b"pepper");
        assert!(!odd.allow_private_upstreams());
        assert_eq!(odd.differing_settings(), ["API_KEY_SECRET", "ALLOW_PRIVATE_UPSTREAMS"]);
        assert_eq!(odd.revision().await.expect("a revision"), revision);
        let mut write = odd.write(&admin()).await.expect("a transaction");
        write.merge_settings([("requestRetry".to_owned(), 1.into())].into_iter().collect(), None).await.expect("merged");
        write.commit().await.expect("committed");
        running.heartbeat().await.expect("looked");
        assert_eq!(running.pepper().as_bytes(), b"pepper");
        assert!(running.differing_settings().is_empty());
        let shown = running.control_planes().await.expect("the list");
        let of_odd = shown.iter().find(|row| !row.is_this).expect("the other one");
        assert_eq!(of_odd.state.differs, ["API_KEY_SECRET", "ALLOW_PRIVATE_UPSTREAMS"]);

        // Once nobody has the old ones any more, they come into force; and one that comes back with the old ones does not
        // bring them back.
        running.close().await;
        odd.heartbeat().await.expect("looked");
        assert_eq!((odd.pepper().as_bytes(), odd.allow_private_upstreams()), (b"salt".as_slice(), true));
        let stale = database.store().await;
        assert_eq!((stale.pepper().as_bytes(), stale.allow_private_upstreams()), (b"salt".as_slice(), true));
        assert_eq!(stale.differing_settings(), ["API_KEY_SECRET", "ALLOW_PRIVATE_UPSTREAMS"]);
    }

    async fn a_process_whose_clock_is_wrong_is_seen_and_sees_the_others(database: &TestDatabase) {
        let (right, clock) = database.store_at_noon().await;
        // A day ahead, it would take everybody for long gone.
        let late = ManualClock::at(NOON.saturating_add(Duration::from_hours(25)));
        let ahead = database.open_with(KEY, "salt", false, Arc::new(late.clone())).await.expect("opened");
        assert_eq!(ahead.pepper().as_bytes(), b"pepper", "it does not put its own values into force");
        let early = ManualClock::at(UnixMillis(NOON.0 - 60_000));
        let behind = database.open(KEY, Arc::new(early.clone())).await.expect("opened");
        let all = [(&right, &clock), (&ahead, &late), (&behind, &early)];
        for _ in 0..6 {
            for (store, clock) in all {
                clock.advance(Duration::from_secs(5));
                store.heartbeat().await.expect("looked");
            }
        }
        for (store, _) in all {
            let shown = store.control_planes().await.expect("the list");
            let lost: Vec<bool> = shown.iter().map(|row| row.lost).collect();
            assert_eq!(lost, [false; 3], "{shown:?}");
        }
        assert_eq!(ahead.pepper().as_bytes(), b"pepper");

        // Of one that falls silent the others know, whatever it said last.
        for _ in 0..4 {
            for (store, clock) in &all[..2] {
                clock.advance(Duration::from_secs(5));
                store.heartbeat().await.expect("looked");
            }
        }
        for (store, _) in &all[..2] {
            let shown = store.control_planes().await.expect("the list");
            assert_eq!((shown.len(), shown.iter().filter(|row| row.lost).count()), (3, 1), "{shown:?}");
        }
    }

    async fn a_process_that_died_is_not_waited_for_for_ever(database: &TestDatabase) {
        let (_died, clock) = database.store_at_noon().await;
        let next = database.open_with(KEY, "salt", false, Arc::new(clock.clone())).await.expect("opened");
        assert_eq!(next.pepper().as_bytes(), b"pepper", "it may still run");
        watch_on(&next, &clock, 4).await;
        assert_eq!(next.pepper().as_bytes(), b"salt", "it ran here, and its process is no more");
    }

    async fn a_process_elsewhere_that_hangs_keeps_what_is_in_force(database: &TestDatabase) {
        let (holder, clock) = database.store_at_noon().await;
        elsewhere(&holder).await;
        let odd = database.open_with(KEY, "salt", false, Arc::new(clock.clone())).await.expect("opened");
        watch_on(&odd, &clock, 20).await;
        assert_eq!(odd.pepper().as_bytes(), b"pepper", "silent for less than two minutes");
        // The database is away for longer than that. Whoever comes back first does not take the others for gone.
        clock.advance(Duration::from_mins(10));
        odd.heartbeat().await.expect("looked");
        watch_on(&odd, &clock, 4).await;
        assert_eq!(odd.pepper().as_bytes(), b"pepper", "it could not look itself");
        holder.heartbeat().await.expect("looked");
        watch_on(&odd, &clock, 20).await;
        assert_eq!(odd.pepper().as_bytes(), b"pepper", "heard of again");
        watch_on(&odd, &clock, 6).await;
        assert_eq!(odd.pepper().as_bytes(), b"salt", "silent for more than two minutes");
    }

    async fn a_key_that_a_process_had_today_is_not_taken_for_lost(database: &TestDatabase) {
        let (holder, clock) = database.store_at_noon().await;
        let rotated = database.open(&format!("{NEW_KEY},{KEY}"), Arc::new(clock.clone())).await.expect("opened");
        rotated.heartbeat().await.expect("looked");
        rotated.reseal(&SEALED).await.expect("resealed");
        elsewhere(&holder).await;
        watch_on(&holder, &clock, 40).await;
        assert!(holder.missing_key().is_some(), "it says what it lacks");
        drop(rotated);
        let whole = database.open(&format!("{NEW_KEY},{KEY}"), Arc::new(clock.clone())).await.expect("opened");
        assert_eq!((whole.pepper().as_bytes(), whole.missing_key()), (b"pepper".as_slice(), None));
    }
}

on_both_engines! {
    async fn a_key_that_a_stopped_process_had_counts_for_a_day(database: &TestDatabase) {
        let (lacking, clock) = database.store_at_noon().await;
        let whole = database.open(&format!("{NEW_KEY},{KEY}"), Arc::new(clock.clone())).await.expect("opened");
        let key = whole.master_key_id();
        whole.close().await;
        assert_eq!(lacking.control_planes().await.expect("the list").len(), 1, "it is not shown any more");
        watch_on(&lacking, &clock, 40).await;
        assert!(lacking.has_elsewhere(&key), "it may come back");
        clock.advance(Duration::from_hours(25));
        lacking.heartbeat().await.expect("looked");
        assert!(!lacking.has_elsewhere(&key));
    }

    async fn new_keys_have_the_pepper_in_force_before_their_replica_has_noticed(database: &TestDatabase) {
        let clock = Arc::new(SystemClock);
        let old = database.store().await;
        let late = database.open_with(KEY, "salt", false, clock.clone()).await.expect("opened");
        let quick = database.open_with(KEY, "salt", false, clock).await.expect("opened");
        old.close().await;
        quick.heartbeat().await.expect("looked");
        assert_eq!(quick.pepper().as_bytes(), b"salt");
        assert_eq!(late.pepper().as_bytes(), b"pepper", "it has not looked");
        let mut write = late.write(&admin()).await.expect("a transaction");
        assert_eq!(write.pepper().await.expect("the pepper").as_bytes(), b"salt");
    }
}

/// Looks at the fleet every five seconds.
async fn watch_on(store: &Store, clock: &ManualClock, times: u32) {
    for _ in 0..times {
        clock.advance(Duration::from_secs(5));
        store.heartbeat().await.expect("looked");
    }
}

/// The processes that told of themselves until now are said to run on another machine.
async fn elsewhere(store: &Store) {
    execute(store, "UPDATE control_planes SET name = 'elsewhere/1'").await;
}
