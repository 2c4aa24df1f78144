//! The table.

use std::fmt::Write as _;

use super::{process::Memory, report::Report, rounds::Measured};

const MEBIBYTE: f64 = 1024.0 * 1024.0;
/// What a usage event may cost the control plane.
const EVENT_US: f64 = 30.0;

/// Says what is going on.
#[expect(clippy::print_stderr, reason = "whoever waits for the table wants to see that something happens")]
pub(super) fn step(text: &str) {
    eprintln!("bench: {text}");
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) fn print(report: &Report) {
    println!("{}", render(report));
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    let machine = &report.machine;
    let _ = writeln!(text, "\n{}, {} cores, Linux {}\n", machine.processor, machine.cores, machine.kernel);
    for (title, scenarios) in [("", &report.scenarios), (", translation", &report.translations)] {
        if !scenarios.is_empty() {
            cpu(&mut text, title, scenarios);
            latency(&mut text, title, scenarios);
        }
    }
    ledger(&mut text, report);
    memory(&mut text, report);
    large_requests(&mut text, report);
    start(&mut text, report);
    scale(&mut text, report);
    for side in report.sides() {
        if let Some(failure) = &side.first_failure {
            let _ = writeln!(text, "{} requests FAILED, the first: {failure}", side.failed);
        }
    }
    text
}

fn cpu(text: &mut String, title: &str, scenarios: &[Measured]) {
    let _ = writeln!(
        text,
        "{:<42} {:>11} {:>11} {:>7} {:>13}   target",
        format!("CPU time of the proxy{title}"),
        "floor",
        "gateway",
        "ratio",
        "(of rounds)"
    );
    for one in scenarios {
        let [least, most] = one.cpu_ratio_range;
        let _ = writeln!(
            text,
            "{:<42} {:>8.2} µs {:>8.2} µs {:>6.2}x {:>13}   {}",
            format!("  {}, per {}", short(one), one.unit),
            one.floor.cpu_us,
            one.gateway.cpu_us,
            one.cpu_ratio,
            format!("{least:.2}–{most:.2}"),
            verdict(cpu_limit(one)),
        );
    }
    if let Some(chat) = scenarios.first() {
        let name = "  control plane, per request (keeps the usage)";
        let _ = writeln!(text, "{name:<54} {:>8.2} µs", chat.control_plane_cpu_us);
    }
    text.push('\n');
}

fn ledger(text: &mut String, report: &Report) {
    if report.ledger.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "{:<54} {:>11} {:>21}   target",
        "CPU time of the control plane per usage event", "", "(of rounds)"
    );
    for one in &report.ledger {
        let [least, most] = one.cpu_us_range;
        let _ = writeln!(
            text,
            "{:<54} {:>8.2} µs {:>21}   {}",
            format!("  {}, of {} events", one.database, one.events),
            one.cpu_us,
            format!("{least:.2}–{most:.2}"),
            verdict(Some((one.cpu_us, EVENT_US, format!("≤ {EVENT_US} µs")))),
        );
    }
    text.push('\n');
}

/// What the CPU time may be: a multiple of the floor's, or a time.
fn cpu_limit(one: &Measured) -> Option<(f64, f64, String)> {
    let ratio = one.target.map(|target| (one.cpu_ratio, target, format!("≤ {target}x")));
    let time = one.cpu_us_target.map(|target| (one.gateway.cpu_us, target, format!("≤ {} ms", target / 1e3)));
    ratio.or(time)
}

fn latency(text: &mut String, title: &str, scenarios: &[Measured]) {
    let _ = writeln!(
        text,
        "{:<42} {:>15} {:>15} {:>15}   requests/s: direct, floor, gateway",
        format!("latency p50 / p99, µs{title}"),
        "direct",
        "floor over it",
        "gateway over it"
    );
    for one in scenarios {
        let over = |p50: f64, p99: f64| format!("{:+.0} / {:+.0}", p50 - one.direct.p50_us, p99 - one.direct.p99_us);
        let _ = writeln!(
            text,
            "{:<42} {:>15} {:>15} {:>15}   {:>7.0} {:>7.0} {:>7.0}",
            format!("  {}", short(one)),
            format!("{:.0} / {:.0}", one.direct.p50_us, one.direct.p99_us),
            over(one.floor.p50_us, one.floor.p99_us),
            over(one.gateway.p50_us, one.gateway.p99_us),
            one.direct.requests_per_second,
            one.floor.requests_per_second,
            one.gateway.requests_per_second,
        );
    }
    text.push('\n');
}

fn memory(text: &mut String, report: &Report) {
    if report.idle.is_none() && report.slow_streams.is_none() {
        return;
    }
    let _ = writeln!(text, "{:<42} {:>11} {:>11}", "resident memory", "floor", "gateway");
    let mut line = |what: &str, floor: Option<Memory>, gateway: Memory, target: Option<f64>| {
        let gateway_mib = mebibytes(gateway.resident);
        let floor = floor.map_or_else(String::new, |floor| format!("{:.1} MB", mebibytes(floor.resident)));
        let _ = writeln!(
            text,
            "{:<42} {:>11} {:>11} {:>21}   {}",
            format!("  {what}"),
            floor,
            format!("{gateway_mib:.1} MB"),
            format!("({:.1} MB anonymous)", mebibytes(gateway.anonymous)),
            verdict(target.map(|target| (gateway_mib, target, format!("< {target} MB")))),
        );
    };
    if let Some(idle) = &report.idle {
        line("proxy, idle", Some(idle.floor), idle.proxy, Some(20.0));
        line("control plane, idle", None, idle.control_plane, Some(60.0));
    }
    if let Some(streams) = &report.slow_streams {
        let what = format!("added by {} slow streams", streams.streams);
        line(&what, Some(streams.floor_added), streams.gateway_added, Some(20.0));
    }
    if let Some(loaded) = &report.loaded {
        line("proxy, after the load", Some(loaded.floor), loaded.proxy, None);
        line("control plane, after the load", None, loaded.control_plane, None);
    }
    text.push('\n');
}

fn large_requests(text: &mut String, report: &Report) {
    let Some(large) = &report.large_requests else { return };
    let what = format!("added by {} requests of {} MB at once", large.requests, large.bytes / 1_000_000);
    let _ = writeln!(text, "{what:<42} {:>11} {:>15}", "peak", "all received");
    for (name, added, target) in [
        ("floor", large.floor, None),
        ("gateway, Chat as it is", large.passed, None),
        ("gateway, Messages over Chat", large.translated, Some(60.0)),
    ] {
        let peak = mebibytes(added.peak);
        let _ = writeln!(
            text,
            "  {name:<40} {:>11} {:>15}   {}",
            format!("{peak:.1} MB"),
            format!("{:.1} MB", mebibytes(added.waiting)),
            verdict(target.map(|target| (peak, target, format!("< {target} MB")))),
        );
    }
    text.push('\n');
}

fn start(text: &mut String, report: &Report) {
    let Some(first) = &report.first_request else { return };
    let _ = writeln!(
        text,
        "`omniroute up` to the first answer: {:.2} s   {}\n  control plane ready {:.2} s, provider added {:.2} s, first \
         key {:.2} s\n",
        first.first_answer,
        verdict(Some((first.first_answer, 2.0, "< 2 s".to_owned()))),
        first.control_plane_ready,
        first.provider_added,
        first.key_known,
    );
}

fn scale(text: &mut String, report: &Report) {
    let Some(scale) = &report.scale else { return };
    let _ =
        writeln!(text, "{} keys, {} connections (seeded in {:.1} s)", scale.keys, scale.connections, scale.seeding_s);
    let mut line = |what: &str, figure: String, verdict: String| {
        let _ = writeln!(text, "  {what:<52} {figure:>12}   {verdict}");
    };
    let ready = verdict(Some((scale.proxy_ready_s, 3.0, "< 3 s".to_owned())));
    line("fresh proxy: start to ready", format!("{:.2} s", scale.proxy_ready_s), ready);
    line("proxy with a copy on disk: start to ready", format!("{:.2} s", scale.proxy_ready_from_disk_s), String::new());
    line("control plane: start to ready", format!("{:.2} s", scale.control_plane_ready_s), String::new());
    let edit = verdict(Some((scale.longest_edit_ms, 500.0, "< 500 ms".to_owned())));
    line("key edit to in force, median", format!("{:.0} ms", scale.edit_ms), String::new());
    line("key edit to in force, longest", format!("{:.0} ms", scale.longest_edit_ms), edit);
    line("CPU time of the proxy: one edit", format!("{:.2} ms", scale.edit_cpu_ms), String::new());
    line("CPU time of the proxy: full load", format!("{:.0} ms", scale.full_load_cpu_ms), String::new());
    let control_plane_cpu = format!("{:.2} ms", scale.edit_control_plane_cpu_ms);
    line("CPU time of the control plane: one edit", control_plane_cpu, String::new());
    line("proxy, resident", format!("{:.0} MB", mebibytes(scale.proxy_memory.resident)), String::new());
    let control_plane_memory = format!("{:.0} MB", mebibytes(scale.control_plane_memory.resident));
    line("control plane, resident", control_plane_memory, String::new());
}

/// A figure, its limit, and the limit's name.
fn verdict(judged: Option<(f64, f64, String)>) -> String {
    match judged {
        Some((figure, limit, name)) if figure <= limit => format!("{name} met"),
        Some((_, _, name)) => format!("{name} MISSED"),
        None => String::new(),
    }
}

fn short(one: &Measured) -> &'static str {
    one.title
}

#[expect(clippy::cast_precision_loss, reason = "memory does not come near 2^53 bytes")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::{
        super::{
            Options,
            cores::Cores,
            large_requests::{Added, LargeRequests},
            ledger::Ledger,
            rounds::Side,
        },
        *,
    };

    fn measured(title: &'static str, target: Option<f64>, cpu_us_target: Option<f64>) -> Measured {
        Measured {
            name: "one",
            title,
            unit: "request",
            direct: Side::default(),
            floor: Side { cpu_us: 1_000.0, ..Side::default() },
            gateway: Side { cpu_us: 5_000.0, ..Side::default() },
            cpu_ratio: 5.0,
            cpu_ratio_range: [4.9, 5.1],
            target,
            cpu_us_target,
            control_plane_cpu_us: 0.0,
        }
    }

    #[test]
    fn each_target_is_judged_by_its_own_figure() {
        let mut report = Report::new(&Options::parse_from(["bench"]), &Cores::split().expect("cores"));
        report.translations.push(measured("by the floor", Some(2.0), None));
        report.translations.push(measured("by the clock", None, Some(6_000.0)));
        let ledger = |database, cpu_us| Ledger { database, cpu_us, cpu_us_range: [cpu_us; 2], events: 100 };
        report.ledger = vec![ledger("SQLite", 12.0), ledger("Postgres", 31.0)];
        let added = |mebibytes: u64| Added { peak: mebibytes << 20, waiting: 1 << 20 };
        report.large_requests = Some(LargeRequests {
            requests: 2,
            bytes: 3_000_000,
            floor: added(10),
            passed: added(14),
            translated: added(61),
        });
        let text = render(&report);
        let line = |what: &str| text.lines().find(|line| line.contains(what)).unwrap_or_default().to_owned();
        assert!(line("by the floor, per request").ends_with("≤ 2x MISSED"), "{text}");
        assert!(line("by the clock, per request").ends_with("≤ 6 ms met"), "{text}");
        assert!(line("SQLite, of 100 events").ends_with("≤ 30 µs met"), "{text}");
        assert!(line("Postgres, of 100 events").ends_with("≤ 30 µs MISSED"), "{text}");
        assert!(line("Messages over Chat").ends_with("< 60 MB MISSED"), "{text}");
        assert!(text.contains("CPU time of the proxy, translation"), "{text}");
    }
}
