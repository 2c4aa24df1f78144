//! The same load on direct, floor and gateway in turn, several times, and the medians of it.
//!
//! Noise on a machine comes and goes. Each round has all three next to one another, and the ratio is the median of the
//! rounds' own ratios, so that a slow second hurts both sides of a division alike.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context as _;
use serde::Serialize;

use super::{
    gateway::Gateway,
    load::{Clients, Outcome, prove},
    process::CpuTime,
    program::Program,
    question::Question,
    scenario::{Scenario, Target},
};

/// Opens connections everywhere on the way, without being measured.
const PRIME: Duration = Duration::from_millis(60);

/// Requests of one round at most. The control plane keeps the usage of each, which takes longer than the request.
const MOST: u64 = 20_000;

/// What is measured, and how often.
pub(super) struct Rounds<'a> {
    pub(super) upstream: SocketAddr,
    pub(super) floor: &'a Program,
    pub(super) floor_address: SocketAddr,
    /// The floor in front of the upstream behind TLS.
    pub(super) secure_floor: &'a Program,
    pub(super) secure_floor_address: SocketAddr,
    pub(super) gateway: &'a Gateway,
    pub(super) count: u32,
    pub(super) length: Duration,
}

/// One scenario, measured.
#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// What CPU time is told per.
    pub(super) unit: &'static str,
    pub(super) direct: Side,
    pub(super) floor: Side,
    pub(super) gateway: Side,
    /// CPU time of the gateway over that of the floor.
    pub(super) cpu_ratio: f64,
    /// The smallest and the largest of the rounds.
    pub(super) cpu_ratio_range: [f64; 2],
    /// How many times the floor's CPU time it may be.
    pub(super) target: Option<f64>,
    /// How many microseconds of CPU time per unit it may be.
    pub(super) cpu_us_target: Option<f64>,
    /// CPU time of the control plane per request, in microseconds: what it takes to keep the usage.
    pub(super) control_plane_cpu_us: f64,
}

/// Medians of one side.
#[derive(Debug, Default, Serialize)]
pub(super) struct Side {
    /// CPU time of the program under test per unit, in microseconds.
    pub(super) cpu_us: f64,
    pub(super) requests_per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Sums over all rounds.
    pub(super) requests: u64,
    pub(super) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_failure: Option<String>,
}

/// One side of one round.
struct Sample {
    cpu_us: f64,
    control_plane_cpu_us: f64,
    outcome: Outcome,
}

// === impl Rounds ===

impl Rounds<'_> {
    pub(super) async fn measure(&self, scenario: &'static Scenario) -> anyhow::Result<Measured> {
        let (mut direct, mut floor, mut gateway) = (Vec::new(), Vec::new(), Vec::new());
        let plain = scenario.ask.untranslated();
        // Without a proxy there is nothing to measure but the load itself, which speaks plain HTTP/1.
        let (floor_program, floor_address) = if plain.secure {
            (self.secure_floor, self.secure_floor_address)
        } else {
            (self.floor, self.floor_address)
        };
        let to_direct = Question::new(&plain, self.upstream, &self.gateway.key)?;
        let to_floor = Question::new(&plain, floor_address, &self.gateway.key)?;
        let to_gateway = Question::new(&scenario.ask, self.gateway.site.proxy, &self.gateway.key)?;
        prove(floor_address, &to_floor).await.context("floor")?;
        prove(self.gateway.site.proxy, &to_gateway).await.context("gateway")?;
        for _ in 0..self.count {
            direct.push(self.round(scenario, &to_direct, self.upstream, None).await.context("direct")?);
            let program = Some(floor_program);
            floor.push(self.round(scenario, &to_floor, floor_address, program).await.context("floor")?);
            let (address, program) = (self.gateway.site.proxy, Some(&self.gateway.proxy));
            gateway.push(self.round(scenario, &to_gateway, address, program).await.context("gateway")?);
        }
        let ratios = || floor.iter().zip(&gateway).map(|(floor, gateway)| gateway.cpu_us / floor.cpu_us);
        Ok(Measured {
            name: scenario.name,
            title: scenario.title,
            unit: scenario.unit(),
            cpu_ratio: median(ratios()),
            cpu_ratio_range: [ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max)],
            target: scenario.target.and_then(Target::ratio),
            cpu_us_target: scenario.target.and_then(Target::microseconds),
            control_plane_cpu_us: median(gateway.iter().map(|sample| sample.control_plane_cpu_us)),
            direct: Side::of(&direct),
            floor: Side::of(&floor),
            gateway: Side::of(&gateway),
        })
    }

    async fn round(
        &self,
        scenario: &Scenario,
        question: &Question,
        address: SocketAddr,
        program: Option<&Program>,
    ) -> anyhow::Result<Sample> {
        let mut clients = Clients::connect(question.clone(), address, scenario.concurrency).await?;
        clients.run(PRIME, MOST / 20).await?;
        let Some(program) = program else {
            return Ok(Sample {
                cpu_us: 0.0,
                control_plane_cpu_us: 0.0,
                outcome: clients.run(self.length, MOST).await?,
            });
        };
        let [cpu, control_plane] = [program.pid(), self.gateway.control_plane.pid()].map(CpuTime::of);
        let (cpu, control_plane) = (cpu?, control_plane?);
        let outcome = clients.run(self.length, MOST).await?;
        if program.pid() == self.gateway.proxy.pid() {
            // What it takes to hand the usage over is part of the price.
            self.gateway.delivered().await?;
        }
        let requests = outcome.answered().max(1);
        let per = |cpu: &CpuTime, units| cpu.since().map(|spent| spent.as_secs_f64() * 1e6 / count(units));
        Ok(Sample {
            cpu_us: per(&cpu, requests * scenario.units())?,
            control_plane_cpu_us: per(&control_plane, requests)?,
            outcome,
        })
    }
}

// === impl Side ===

impl Side {
    fn of(samples: &[Sample]) -> Self {
        let each = |figure: fn(&Sample) -> f64| median(samples.iter().map(figure));
        Self {
            cpu_us: each(|sample| sample.cpu_us),
            requests_per_second: each(|sample| count(sample.outcome.answered()) / sample.outcome.elapsed.as_secs_f64()),
            p50_us: each(|sample| count(sample.outcome.latency.value_at_quantile(0.5)) / 1e3),
            p99_us: each(|sample| count(sample.outcome.latency.value_at_quantile(0.99)) / 1e3),
            requests: samples.iter().map(|sample| sample.outcome.requests).sum(),
            failed: samples.iter().map(|sample| sample.outcome.failed).sum(),
            first_failure: samples.iter().find_map(|sample| sample.outcome.first_failure.clone()),
        }
    }
}

/// The middle one; 0 of none.
pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[odd / 2],
        even => f64::midpoint(values[even / 2 - 1], values[even / 2]),
    }
}

#[expect(clippy::cast_precision_loss, reason = "no count comes near 2^53")]
fn count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < 1e-9);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < 1e-9);
        assert!(median(std::iter::empty()).abs() < 1e-9);
    }
}
