//! What lasts, told at the start of a story: how many devices there are, and what is not calm.

use serde_json::Value;

use super::names::{Names, listed};
use crate::plan::{Plan, Signatures, differences};

pub(super) fn tell(plan: &Plan, names: &Names) -> String {
    let all: Vec<usize> = (0..plan.setup.replicas).collect();
    let count = match all.len() {
        1 => "One device".to_owned(),
        2 => "Two devices".to_owned(),
        3 => "Three devices".to_owned(),
        4 => "Four devices".to_owned(),
        count => format!("{count} devices"),
    };
    let who = if all.len() > 8 {
        format!("{} to {}", names.device(0), names.device(all.len() - 1))
    } else {
        names.devices(&all)
    };
    let mut told = format!("{count}, {who}.");
    let unusual = unusual(plan, names);
    if !unusual.is_empty() {
        let mut text = listed(&unusual);
        if let Some(first) = text.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        told.push_str(&format!(" {text}."));
    }
    told
}

fn unusual(plan: &Plan, names: &Names) -> Vec<String> {
    let Ok(Value::Object(mut differences)) = differences(&plan.setup) else { return Vec::new() };
    let setup = &plan.setup;
    let mut told = Vec::new();
    let mut say = |fields: &mut serde_json::Map<String, Value>, name: &str, text: String| {
        if fields.remove(name).is_some() {
            told.push(text);
        }
    };
    let Value::Object(mut network) =
        differences.remove("network").unwrap_or(Value::Object(Default::default()))
    else {
        return Vec::new();
    };
    let net = &setup.network;
    let share = |ppm: u32| format!("{:.1} %", f64::from(ppm) / 10_000.0);
    let range = |(low, high): (u64, u64)| {
        if low == high { format!("{low} ms") } else { format!("{low} to {high} ms") }
    };
    let fields = &mut network;
    say(fields, "latency_ms", format!("frames take {}", range(net.latency_ms)));
    say(fields, "jitter_ms", format!("frames take up to {} ms more", net.jitter_ms));
    say(fields, "loss_ppm", format!("{} of the frames are lost", share(net.loss_ppm)));
    say(fields, "duplicate_ppm", format!("{} arrive twice", share(net.duplicate_ppm)));
    say(
        fields,
        "corrupt_ppm",
        format!("{} are damaged on their way, and links break", share(net.corrupt_ppm)),
    );
    say(fields, "reorder_ppm", format!("{} are overtaken", share(net.reorder_ppm)));
    if let Some(rate) = net.bytes_per_ms {
        say(fields, "bytes_per_ms", format!("links carry {rate} bytes in a millisecond"));
    }
    say(fields, "credit", format!("drivers take {} bytes at a time", net.credit));
    if let Some(life) = net.link_life_ms {
        say(fields, "link_life_ms", format!("links last {life} ms on average"));
    }
    say(fields, "callback", "who is called does not learn how to call back".to_owned());
    say(fields, "neighbourhood", "devices do not find each other by themselves".to_owned());
    say(fields, "call_only", format!("nobody can call {}", names.devices(&net.call_only)));
    let fields = &mut differences;
    say(fields, "hostile", format!("{} does not keep to the protocol", names.devices(&setup.hostile)));
    let drifts = setup.drift_ppm.iter().enumerate().filter(|(_, drift)| **drift != 0);
    let drifts: Vec<String> = drifts
        .map(|(replica, drift)| {
            let way = if *drift > 0 { "fast" } else { "slow" };
            format!(
                "{} {} s a day too {way}",
                names.device(replica),
                drift.unsigned_abs() * 86_400 / 1_000_000
            )
        })
        .collect();
    say(fields, "drift_ppm", format!("of the clocks there go {}", listed(&drifts)));
    say(fields, "disk", format!("a sync of a disk takes {}", range(setup.disk.sync_ms)));
    let wrong = setup.skew_ms.iter().enumerate().filter(|(_, skew)| **skew != 0);
    let wrong: Vec<String> = wrong
        .map(|(replica, skew)| {
            let way = if *skew > 0 { "ahead" } else { "behind" };
            format!("{} {} ms {way}", names.device(replica), skew.unsigned_abs())
        })
        .collect();
    say(fields, "skew_ms", format!("of the clocks there are {}", listed(&wrong)));
    if setup.signatures == Signatures::Ed25519 {
        say(fields, "signatures", "signatures are real".to_owned());
    }
    say(fields, "chunk_bytes", format!("a frame has about {} bytes of deltas", setup.chunk_bytes));
    say(fields, "readers_ms", format!("readers look every {} ms", setup.readers_ms));
    // What nobody has found words for.
    for (name, value) in network.into_iter().chain(differences) {
        let value = value.to_string().replace(['{', '}', '"'], "").replace(':', " ");
        told.push(format!("{} {}", name.replace('_', " "), value.replace('_', " ").replace(',', ", ")));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;

    #[test]
    fn what_is_not_calm_is_told_and_what_is_calm_is_not() {
        let told = |setup: &str| {
            let plan: Plan =
                format!(r#"{{"plan":1,"seed":1,"setup":{{"safety_ms":1,{setup}}}}}"#).parse().unwrap();
            tell(&plan, &Names::new(&plan, &Facts::default()))
        };
        assert_eq!(told(r#""replicas":2"#), "Two devices, A and B.");
        assert_eq!(
            told(r#""replicas":3,"skew_ms":[0,-50,0],"network":{"loss_ppm":25000,"neighbourhood":false}"#),
            "Three devices, A, B and C. 2.5 % of the frames are lost, devices do not find each other by \
             themselves and of the clocks there are B 50 ms behind."
        );
        assert_eq!(
            told(r#""replicas":12,"timing":{"relay":0,"redial":9}"#),
            "12 devices, A to L. Timing redial 9, relay 0."
        );
    }
}
