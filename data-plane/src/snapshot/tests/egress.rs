//! What goes through which outbound proxy, as the configuration changes.

use super::*;

fn proxy(id: &str, port: u32, is_active: bool, revision: u64) -> v1::Resource {
    let proxy = v1::OutboundProxy {
        name: id.to_owned(),
        r#type: "http".to_owned(),
        host: "proxy.example".to_owned(),
        port,
        is_active,
        ..v1::OutboundProxy::default()
    };
    resource(Kind::OutboundProxy, id, revision, Body::OutboundProxy(proxy))
}

fn assignment(id: &str, proxy: &str, (scope, scope_id): (&str, &str), revision: u64) -> v1::Resource {
    let assignment =
        v1::ProxyAssignment { proxy: proxy.to_owned(), scope: scope.to_owned(), scope_id: scope_id.to_owned() };
    resource(Kind::ProxyAssignment, id, revision, Body::ProxyAssignment(assignment))
}

/// Port of the proxy that each connection goes through; 0: none. Connections that are not used are left out.
fn ways(snapshot: &Snapshot) -> Vec<(String, u16)> {
    let mut ways: Vec<_> = ["a1", "a2", "b1"]
        .into_iter()
        .filter_map(|id| snapshot.connection(id))
        .map(|entry| (entry.id.to_string(), entry.outbound.as_ref().map_or(0, |proxy| proxy.port())))
        .collect();
    ways.sort();
    ways
}

fn expected(ways: &[(&str, u16)]) -> Vec<(String, u16)> {
    ways.iter().map(|(id, port)| ((*id).to_owned(), *port)).collect()
}

/// Two connections of the node `a`, one of `b`.
fn started() -> Applier {
    let mut applier = Applier::default();
    let applied = applier.apply(full(
        6,
        vec![
            settings(1),
            node("a", "a", "http://127.0.0.1:9/v1", 2),
            node("b", "b", "http://127.0.0.1:9/v1", 3),
            connection("a1", "a", 1, 4),
            connection("a2", "a", 2, 5),
            connection("b1", "b", 1, 6),
        ],
    ));
    assert_eq!(ways(&applied.snapshot), expected(&[("a1", 0), ("a2", 0), ("b1", 0)]));
    applier
}

#[test]
fn an_assignment_touches_its_scope_and_the_nearest_counts() {
    let mut applier = started();
    let mut revision = 6;
    let mut apply = |resources: Vec<v1::Resource>| {
        revision += 1;
        let applied = applier.apply(delta(revision, resources));
        let repaired: Vec<String> = applied.repaired.iter().map(ToString::to_string).collect();
        (ways(&applied.snapshot), repaired, applied.rejections.len())
    };
    // The proxy comes with its assignment, behind it.
    let (now, repaired, _) = apply(vec![assignment("global", "p1", ("global", ""), 7), proxy("p1", 1, true, 7)]);
    assert_eq!(now, expected(&[("a1", 1), ("a2", 1), ("b1", 1)]));
    assert_eq!(repaired, ["a1", "a2", "b1"], "what was held against them may have been their way's fault");
    let (now, repaired, _) = apply(vec![proxy("p2", 2, true, 8), assignment("provider:a", "p2", ("provider", "a"), 8)]);
    assert_eq!((now, repaired.len()), (expected(&[("a1", 2), ("a2", 2), ("b1", 1)]), 2));
    let (now, repaired, _) = apply(vec![assignment("account:a2", "p1", ("account", "a2"), 9)]);
    assert_eq!((now, repaired), (expected(&[("a1", 2), ("a2", 1), ("b1", 1)]), vec!["a2".to_owned()]));
    let (now, ..) = apply(vec![assignment("combo:c", "p2", ("combo", "c"), 10)]);
    assert_eq!(now, expected(&[("a1", 2), ("a2", 1), ("b1", 1)]), "no combo chooses them");
    // Another proxy for the same scope, another place for the same proxy.
    let (now, ..) = apply(vec![assignment("provider:a", "p1", ("provider", "a"), 11)]);
    assert_eq!(now, expected(&[("a1", 1), ("a2", 1), ("b1", 1)]));
    let (now, ..) = apply(vec![proxy("p1", 7, true, 12)]);
    assert_eq!(now, expected(&[("a1", 7), ("a2", 7), ("b1", 7)]));
    // A connection that comes later finds its way, and a node's change does not lose it.
    let (now, ..) = apply(vec![deleted(Kind::Connection, "b1", 13)]);
    assert_eq!(now, expected(&[("a1", 7), ("a2", 7)]));
    let (now, ..) = apply(vec![connection("b1", "b", 1, 14), node("a", "a", "http://127.0.0.1:8/v1", 14)]);
    assert_eq!(now, expected(&[("a1", 7), ("a2", 7), ("b1", 7)]));
    // One scope's assignment is taken over by another resource in one update, whichever comes first.
    let (now, ..) =
        apply(vec![assignment("other", "p2", ("global", ""), 15), deleted(Kind::ProxyAssignment, "global", 15)]);
    assert_eq!(now, expected(&[("a1", 7), ("a2", 7), ("b1", 2)]));
    let (now, _, rejected) = apply(vec![
        deleted(Kind::ProxyAssignment, "other", 16),
        deleted(Kind::ProxyAssignment, "provider:a", 16),
        deleted(Kind::ProxyAssignment, "account:a2", 16),
    ]);
    assert_eq!((now, rejected), (expected(&[("a1", 0), ("a2", 0), ("b1", 0)]), 0));
}

#[test]
fn what_cannot_be_used_blocks_what_is_assigned_to_it_until_it_can() {
    let mut applier = started();
    let blocked = |applied: Applied| {
        let reasons: Vec<String> = applied.rejections.iter().map(|rejection| rejection.reason.clone()).collect();
        (ways(&applied.snapshot), reasons)
    };
    let all = expected(&[("a1", 0), ("a2", 0), ("b1", 0)]);
    let (now, reasons) = blocked(applier.apply(delta(7, vec![assignment("provider:a", "p", ("provider", "a"), 7)])));
    assert_eq!((now, reasons.len()), (expected(&[("b1", 0)]), 2), "it has not come yet");
    let (now, reasons) = blocked(applier.apply(delta(8, vec![proxy("p", 0, true, 8)])));
    assert_eq!(now, expected(&[("b1", 0)]));
    assert!(reasons.iter().all(|reason| reason.contains("`p`") && reason.contains("port")), "{reasons:?}");
    let (now, reasons) = blocked(applier.apply(delta(9, vec![proxy("p", 9, false, 9)])));
    assert!(reasons.iter().all(|reason| reason.contains("not active")), "{reasons:?}");
    assert_eq!(now, expected(&[("b1", 0)]));
    let (now, reasons) = blocked(applier.apply(delta(10, vec![proxy("p", 9, true, 10)])));
    assert_eq!((now, reasons.len()), (expected(&[("a1", 9), ("a2", 9), ("b1", 0)]), 0));
    let (now, reasons) = blocked(applier.apply(delta(11, vec![deleted(Kind::OutboundProxy, "p", 11)])));
    assert_eq!((now, reasons.len()), (expected(&[("b1", 0)]), 2), "its assignment is still there");
    let (now, reasons) = blocked(applier.apply(delta(12, vec![deleted(Kind::ProxyAssignment, "provider:a", 12)])));
    assert_eq!((now, reasons.len()), (all, 0));
}

#[test]
fn a_scope_of_a_later_version_is_rejected_by_name() {
    let applied = started().apply(delta(7, vec![assignment("x", "p", ("planet", "earth"), 7)]));
    assert_eq!(applied.rejections.len(), 1, "{:?}", applied.rejections);
    assert_eq!((applied.rejections[0].kind.as_str(), applied.rejections[0].id.as_str()), ("proxy_assignment", "x"));
}

#[test]
fn what_went_through_a_proxy_is_counted_over_its_versions() {
    let mut applier = started();
    let applied = applier.apply(delta(7, vec![proxy("p", 1, true, 7)]));
    applied.snapshot.outbound().next().expect("the proxy").used().succeeded();
    let applied = applier.apply(delta(8, vec![proxy("p", 2, true, 8)]));
    let proxy = applied.snapshot.outbound().next().expect("the proxy");
    assert_eq!((proxy.port(), proxy.used().now().succeeded), (2, 1));
}
