mod egress;

use omniroute_core::hash::Pepper;
use omniroute_proto::{
    Kind,
    v1::{self, resource::Body},
};

use super::*;

const PEPPER: &[u8] = b"pepper";

fn resource(kind: Kind, id: &str, revision: u64, body: Body) -> v1::Resource {
    v1::Resource {
        id: id.to_owned(),
        revision,
        min_version: 0,
        deleted: false,
        kind: kind.as_str().to_owned(),
        content: 0,
        body: Some(body),
    }
}

fn deleted(kind: Kind, id: &str, revision: u64) -> v1::Resource {
    let kind = kind.as_str().to_owned();
    v1::Resource { id: id.to_owned(), revision, deleted: true, kind, ..v1::Resource::default() }
}

fn settings(revision: u64) -> v1::Resource {
    let settings = v1::GatewaySettings {
        key_pepper: PEPPER.to_vec(),
        allow_private_upstreams: true,
        ..v1::GatewaySettings::default()
    };
    resource(Kind::Settings, "settings", revision, Body::Settings(settings))
}

fn key(id: &str, secret: &str, revision: u64) -> v1::Resource {
    let key = v1::ApiKey {
        name: id.to_owned(),
        key_hash: Pepper::new(PEPPER).hash(secret).as_bytes().to_vec(),
        is_active: true,
        ..v1::ApiKey::default()
    };
    resource(Kind::ApiKey, id, revision, Body::ApiKey(key))
}

fn node(id: &str, prefix: &str, base_url: &str, revision: u64) -> v1::Resource {
    let node = v1::ProviderNode {
        name: prefix.to_owned(),
        prefix: prefix.to_owned(),
        r#type: "openai-compatible".to_owned(),
        api_type: "chat".to_owned(),
        base_url: base_url.to_owned(),
        ..v1::ProviderNode::default()
    };
    resource(Kind::ProviderNode, id, revision, Body::ProviderNode(node))
}

fn connection(id: &str, provider: &str, priority: i32, revision: u64) -> v1::Resource {
    let connection = v1::Connection {
        provider: provider.to_owned(),
        name: id.to_owned(),
        auth_type: "apikey".to_owned(),
        priority,
        is_active: true,
        secret: "sk-vendor".to_owned(),
        ..v1::Connection::default()
    };
    resource(Kind::Connection, id, revision, Body::Connection(connection))
}

fn model(provider: &str, name: &str, revision: u64) -> v1::Resource {
    let body = v1::Model { provider: provider.to_owned(), model: name.to_owned(), ..v1::Model::default() };
    resource(Kind::Model, &format!("{provider}/{name}"), revision, Body::Model(body))
}

fn full(revision: u64, resources: Vec<v1::Resource>) -> Update {
    Update { revision, full: true, resources }
}

fn delta(revision: u64, resources: Vec<v1::Resource>) -> Update {
    Update { revision, full: false, resources }
}

fn chat_uri(snapshot: &Snapshot, connection: &str) -> String {
    let entry = snapshot.connection(connection).expect("a connection");
    entry.upstream.uri(omniroute_providers::Operation::Chat).to_string()
}

#[test]
fn a_connection_may_arrive_before_its_node() {
    let mut applier = Applier::default();
    let update = full(
        5,
        vec![
            connection("c1", "n1", 1, 2),
            key("k1", "sk-a", 3),
            node("n1", "mock", "http://127.0.0.1:9/v1", 4),
            settings(1),
        ],
    );
    let applied = applier.apply(update);
    assert!(applied.rejections.is_empty(), "{:?}", applied.rejections);
    let snapshot = applied.snapshot;
    assert_eq!(snapshot.revision(), 5);
    assert_eq!(chat_uri(&snapshot, "c1"), "http://127.0.0.1:9/v1/chat/completions");
    assert_eq!(snapshot.resolve_prefix("mock").expect("a node").id.as_str(), "n1");
    let hash = snapshot.settings().pepper.hash("sk-a");
    assert_eq!(snapshot.key(&hash).expect("a key").id.as_str(), "k1");
}

#[test]
fn a_broken_resource_is_rejected_by_name_and_the_rest_applies() {
    let mut applier = Applier::default();
    applier.apply(full(
        2,
        vec![settings(1), node("n1", "mock", "http://127.0.0.1:9/v1", 1), connection("c1", "n1", 1, 2)],
    ));
    let mut broken_key = key("k1", "sk-a", 3);
    let Some(Body::ApiKey(body)) = &mut broken_key.body else { panic!("a key") };
    body.key_hash.truncate(3);
    let mut newer = key("k3", "sk-c", 3);
    newer.min_version = omniroute_proto::PROTOCOL_MINOR + 1;
    let update =
        delta(3, vec![broken_key, key("k2", "sk-b", 3), node("n1", "mock", "http://169.254.169.254/v1", 3), newer]);
    let Applied { snapshot, rejections, .. } = applier.apply(update);
    let named: Vec<_> = rejections.iter().map(|one| (one.kind.as_str(), one.id.as_str())).collect();
    assert_eq!(named, [("api_key", "k1"), ("api_key", "k3"), ("connection", "c1")]);
    assert!(rejections.iter().all(|one| !one.reason.is_empty()));
    assert!(snapshot.key_by_id("k2").is_some());
    assert_eq!(
        chat_uri(&snapshot, "c1"),
        "http://127.0.0.1:9/v1/chat/completions",
        "the version before stays in force"
    );
}

#[test]
fn a_rejected_resource_still_counts_as_received() {
    let mut applier = Applier::default();
    let mut broken = key("k1", "sk-a", 7);
    let Some(Body::ApiKey(body)) = &mut broken.body else { panic!("a key") };
    body.key_hash.clear();
    applier.apply(full(7, vec![broken]));
    let mut theirs = omniroute_proto::DigestSet::default();
    theirs.add(Kind::ApiKey, "k1", 7, 0);
    assert!(applier.digests().matches(&theirs.to_proto()));
}

#[test]
fn deletions_take_everything_that_depends_on_them() {
    let mut applier = Applier::default();
    applier.apply(full(
        2,
        vec![
            settings(1),
            node("n1", "mock", "http://127.0.0.1:9/v1", 1),
            connection("c1", "n1", 1, 2),
            key("k1", "sk-a", 2),
            model("n1", "m", 2),
        ],
    ));
    let removed = delta(3, vec![deleted(Kind::ApiKey, "k1", 3), deleted(Kind::ProviderNode, "n1", 3)]);
    let Applied { snapshot, .. } = applier.apply(removed);
    assert!(snapshot.key_by_id("k1").is_none() && snapshot.key(&Pepper::new(PEPPER).hash("sk-a")).is_none());
    assert!(snapshot.resolve_prefix("mock").is_none());
    assert!(snapshot.connections("n1").is_empty(), "a connection without its node has nowhere to go");
    assert!(snapshot.models().is_empty() && snapshot.providers_of_model("m").is_empty());
}

#[test]
fn a_full_update_drops_what_it_does_not_name() {
    let mut applier = Applier::default();
    applier.apply(full(2, vec![settings(1), key("k1", "sk-a", 1), key("k2", "sk-b", 2)]));
    let Applied { snapshot, .. } = applier.apply(full(3, vec![settings(1), key("k2", "sk-b", 2)]));
    assert!(snapshot.key_by_id("k1").is_none() && snapshot.key_by_id("k2").is_some());
    let mut theirs = omniroute_proto::DigestSet::default();
    theirs.add(Kind::Settings, "settings", 1, 0);
    theirs.add(Kind::ApiKey, "k2", 2, 0);
    assert!(applier.digests().matches(&theirs.to_proto()));
}

#[test]
fn connections_stand_in_order_and_keep_their_counters() {
    let mut applier = Applier::default();
    let first = applier.apply(full(
        2,
        vec![
            settings(1),
            connection("b", "openai", 1, 1),
            connection("a", "openai", 1, 1),
            connection("c", "openai", 0, 1),
        ],
    ));
    let order =
        |snapshot: &Snapshot| snapshot.connections("openai").iter().map(|one| one.id.to_string()).collect::<Vec<_>>();
    assert_eq!(order(&first.snapshot), ["c", "a", "b"]);
    let second = applier.apply(delta(3, vec![connection("c", "openai", 9, 3)]));
    assert_eq!(order(&second.snapshot), ["a", "b", "c"]);
    assert_eq!(order(&first.snapshot), ["c", "a", "b"], "a request that runs keeps what it began with");
    let counter = |snapshot: &Snapshot| Arc::clone(&snapshot.connection("c").expect("there").in_flight);
    assert!(Arc::ptr_eq(&counter(&first.snapshot), &counter(&second.snapshot)));
}

#[test]
fn a_changed_node_moves_its_connections() {
    let mut applier = Applier::default();
    applier.apply(full(
        2,
        vec![settings(1), node("n1", "mock", "http://127.0.0.1:9/v1", 1), connection("c1", "n1", 1, 2)],
    ));
    let Applied { snapshot, .. } = applier.apply(delta(3, vec![node("n1", "other", "http://127.0.0.1:8/v2", 3)]));
    assert_eq!(chat_uri(&snapshot, "c1"), "http://127.0.0.1:8/v2/chat/completions");
    assert!(snapshot.resolve_prefix("mock").is_none() && snapshot.resolve_prefix("other").is_some());
}

#[test]
fn nodes_hand_their_prefixes_to_one_another_in_one_update() {
    let held = |snapshot: &Snapshot, prefix: &str| snapshot.resolve_prefix(prefix).map(|node| node.id.to_string());
    let mut applier = Applier::default();
    let url = "http://127.0.0.1:9/v1";
    applier.apply(full(2, vec![settings(1), node("n1", "a", url, 1), node("n2", "b", url, 1)]));
    let swapped = applier.apply(delta(3, vec![node("n1", "b", url, 3), node("n2", "a", url, 3)]));
    assert!(swapped.rejections.is_empty(), "{:?}", swapped.rejections);
    assert_eq!((held(&swapped.snapshot, "b"), held(&swapped.snapshot, "a")), (Some("n1".into()), Some("n2".into())));
    let given = applier.apply(delta(4, vec![node("n3", "b", url, 4), deleted(Kind::ProviderNode, "n1", 4)]));
    assert_eq!((given.rejections.len(), held(&given.snapshot, "b")), (0, Some("n3".into())));
    // What is refused stays what it was.
    let refused = applier.apply(delta(5, vec![node("n2", "b", url, 5)]));
    assert_eq!((refused.rejections.len(), held(&refused.snapshot, "a")), (1, Some("n2".into())));
}

#[test]
fn a_key_that_was_made_anew_is_found_by_both_secrets_until_it_changes_again() {
    let mut applier = Applier::default();
    let pepper = Pepper::new(PEPPER);
    let mut anew = key("k1", "sk-new", 2);
    let Some(Body::ApiKey(body)) = &mut anew.body else { panic!("a key") };
    body.previous_key_hash = pepper.hash("sk-old").as_bytes().to_vec();
    body.previous_until_ms = 1_000;
    applier.apply(full(1, vec![settings(1), key("k1", "sk-old", 1)]));
    let snapshot = applier.apply(delta(2, vec![anew])).snapshot;
    for secret in ["sk-old", "sk-new"] {
        assert_eq!(snapshot.key(&pepper.hash(secret)).expect("a key").id.as_str(), "k1", "{secret}");
    }
    let snapshot = applier.apply(delta(3, vec![key("k1", "sk-newest", 3)])).snapshot;
    assert!(snapshot.key(&pepper.hash("sk-old")).is_none() && snapshot.key(&pepper.hash("sk-new")).is_none());
    assert!(snapshot.key(&pepper.hash("sk-newest")).is_some());
}

#[test]
fn a_provider_is_shown_by_its_prefix() {
    let mut applier = Applier::default();
    let resources = vec![
        settings(1),
        node("n1", "mock", "http://127.0.0.1:9/v1", 1),
        connection("c1", "n1", 1, 1),
        connection("c2", "openai", 1, 1),
    ];
    let snapshot = applier.apply(full(1, resources)).snapshot;
    assert_eq!(snapshot.connection("c1").expect("a connection").shown, "mock");
    assert_eq!(snapshot.connection("c2").expect("a connection").shown, "openai");
    let snapshot = applier.apply(delta(2, vec![node("n1", "other", "http://127.0.0.1:9/v1", 2)])).snapshot;
    assert_eq!(snapshot.connection("c1").expect("a connection").shown, "other");
}

#[test]
fn one_edit_among_many_keys_copies_nothing_else() {
    let mut applier = Applier::default();
    let keys = (0..5_000).map(|n| key(&format!("k{n}"), &format!("sk-{n}"), 1));
    let before = applier.apply(full(1, std::iter::once(settings(1)).chain(keys).collect())).snapshot;
    let after = applier.apply(delta(2, vec![key("k7", "sk-7-new", 2)])).snapshot;
    let pepper = Pepper::new(PEPPER);
    assert!(after.key(&pepper.hash("sk-7")).is_none() && after.key(&pepper.hash("sk-7-new")).is_some());
    assert!(before.key(&pepper.hash("sk-7")).is_some(), "the snapshot before is untouched");
    let same = |id: &str| Arc::ptr_eq(before.key_by_id(id).expect("there"), after.key_by_id(id).expect("there"));
    assert!((0..5_000).filter(|n| *n != 7).all(|n| same(&format!("k{n}"))));
}

#[test]
fn models_of_the_catalog_stand_in_until_a_list_was_asked_for() {
    let mut applier = Applier::default();
    let first = applier.apply(full(1, vec![settings(1), connection("c1", "openai", 1, 1)])).snapshot;
    assert_eq!(first.providers_of_model("gpt-4o").first().map(|id| id.as_str().to_owned()), Some("openai".to_owned()));
    assert!(first.models().len() > 3);
    let second = applier.apply(delta(2, vec![model("openai", "only-this", 2)])).snapshot;
    assert_eq!(second.models().len(), 1);
    assert!(second.providers_of_model("gpt-4o").is_empty());
    assert_eq!(second.providers_of_model("only-this").len(), 1);
}

#[test]
fn a_snapshot_is_ready_once_something_was_published() {
    let snapshot = SnapshotHandle::new();
    assert!(!snapshot.ready());
    snapshot.publish(Arc::new(Snapshot::default()), true);
    assert!(snapshot.ready() && snapshot.stale());
    snapshot.publish(Arc::new(Snapshot::default()), false);
    assert!(!snapshot.stale());
}

#[test]
fn an_edit_that_may_help_a_connection_is_reported_and_others_are_not() {
    fn edited(revision: u64, change: impl FnOnce(&mut v1::Connection)) -> v1::Resource {
        let mut resource = connection("c1", "n1", 1, revision);
        let Some(Body::Connection(body)) = &mut resource.body else { panic!("a connection") };
        change(body);
        resource
    }
    let start = || {
        let mut applier = Applier::default();
        let all = || {
            vec![
                settings(1),
                node("n1", "mock", "http://127.0.0.1:9/v1", 1),
                connection("c1", "n1", 1, 2),
                connection("c2", "openai", 1, 2),
            ]
        };
        assert!(applier.apply(full(2, all())).repaired.is_empty(), "nothing was held against it");
        assert!(applier.apply(full(3, all())).repaired.is_empty(), "the same again");
        applier
    };
    let repaired_by = |resource: v1::Resource| {
        let applied = start().apply(delta(4, vec![resource]));
        applied.repaired.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(repaired_by(edited(4, |body| body.secret = "sk-corrected".into())), ["c1"]);
    assert_eq!(repaired_by(edited(4, |body| body.base_url = "http://127.0.0.1:8/v1".into())), ["c1"]);
    assert_eq!(repaired_by(edited(4, |body| body.is_active = false)), ["c1"]);
    assert_eq!(repaired_by(edited(4, |body| drop(body.headers.insert("x-org".into(), "a".into())))), ["c1"]);
    assert_eq!(repaired_by(node("n1", "mock", "http://127.0.0.1:8/v1", 4)), ["c1"]);
    let none: [&str; 0] = [];
    assert_eq!(repaired_by(edited(4, |body| (body.name, body.priority) = ("other".into(), 9))), none);
    assert_eq!(repaired_by(node("n1", "renamed", "http://127.0.0.1:9/v1", 4)), none);
    assert_eq!(repaired_by(edited(4, |body| body.base_url = "http://169.254.169.254/v1".into())), none, "rejected");
}

#[test]
fn a_rejection_is_over_once_its_cause_is() {
    let named = |applied: &Applied| -> Vec<String> { applied.rejections.iter().map(|one| one.id.clone()).collect() };
    let mut applier = Applier::default();
    let mut strict = settings(1);
    let Some(Body::Settings(body)) = &mut strict.body else { panic!("settings") };
    body.allow_private_upstreams = false;
    let url = "http://127.0.0.1:9/v1";
    let all = vec![
        strict,
        node("n1", "mock", url, 1),
        connection("c1", "n1", 1, 2),
        key("k1", "sk-a", 2),
        key("k2", "sk-a", 2),
    ];
    let applied = applier.apply(full(2, all));
    assert_eq!(named(&applied), ["k2", "c1"]);
    // It is said again with every update, until nothing stands in the way: here the address policy…
    assert_eq!(named(&applier.apply(delta(3, vec![key("k3", "sk-c", 3)]))), ["k2", "c1"]);
    let applied = applier.apply(delta(4, vec![settings(4)]));
    assert_eq!(named(&applied), ["k2"]);
    assert!(applied.snapshot.connection("c1").is_some());
    // …there a key with the same hash.
    let applied = applier.apply(delta(5, vec![deleted(Kind::ApiKey, "k1", 5)]));
    assert_eq!((named(&applied).len(), applied.snapshot.key_by_id("k2").is_some()), (0, true));
    // What is deleted is rejected no more.
    let broken = node("n2", "a/b", url, 6);
    assert_eq!(named(&applier.apply(delta(6, vec![broken]))), ["n2"]);
    assert!(applier.apply(delta(7, vec![deleted(Kind::ProviderNode, "n2", 7)])).rejections.is_empty());
}

#[test]
fn other_contents_under_the_same_revision_are_noticed() {
    let with = |content| v1::Resource { content, ..key("k1", "sk-a", 7) };
    let mut applier = Applier::default();
    applier.apply(full(7, vec![with(11)]));
    let theirs = |content| {
        let mut set = omniroute_proto::DigestSet::default();
        set.add(Kind::ApiKey, "k1", 7, content);
        set.to_proto()
    };
    assert!(applier.digests().matches(&theirs(11)));
    assert!(!applier.digests().matches(&theirs(12)));
}

#[test]
fn an_address_that_is_forbidden_by_now_is_used_no_more() {
    let mut applier = Applier::default();
    let url = "http://127.0.0.1:9/v1";
    applier.apply(full(2, vec![settings(1), node("n1", "mock", url, 1), connection("c1", "n1", 1, 2)]));
    let mut strict = settings(3);
    let Some(Body::Settings(body)) = &mut strict.body else { panic!("settings") };
    body.allow_private_upstreams = false;
    let applied = applier.apply(delta(3, vec![strict]));
    assert_eq!(applied.rejections.len(), 1);
    assert!(applied.snapshot.connection("c1").is_none() && applied.snapshot.connections("n1").is_empty());
    let again = applier.apply(delta(4, vec![settings(4)]));
    assert!(again.rejections.is_empty() && again.snapshot.connections("n1").len() == 1);
}
