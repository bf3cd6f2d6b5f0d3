//! A network of our own: the broker in one network namespace, its clients in another.
//!
//! Each has one TUN device; `tests/faults/network.py` carries the packets between them, and does
//! harm to them on the way. Nothing leaves the two namespaces, and they are removed at the end.

use super::{Ended, Faults, conformance};
use crate::process;

const BROKER: &str = "10.77.0.1";
const CLIENTS: &str = "10.77.0.2";
const DEVICE: &str = "faulty0";
/// `network.py` waits for as long as connections may be idle.
const IDLE_MS_MAX: &str = "10000";

pub(super) fn run(faults: &mut Faults<'_, '_>, suite: &str) -> Result<(), Ended> {
    let broker = Namespace::make("broker", BROKER)?;
    let clients = Namespace::make("clients", CLIENTS)?;
    let mut plan = faults.run.plan(suite)?.listening_on(BROKER);
    plan = plan.with("connections.max.idle.ms", IDLE_MS_MAX);
    plan.wrapped_in(&["nsenter", &format!("--net=/run/netns/{}", broker.0)]);
    let mut server = plan.start()?;
    let mut command = faults.python("tests/faults/network.py");
    command.args(["--bootstrap", &server.bootstrap, "--pid", &server.pid().to_string()]);
    command.args(["--seed", &faults.seed.to_string(), "--device", DEVICE]);
    command.args(["--broker-namespace", &broker.0, "--client-namespace", &clients.0]);
    faults.judge(suite, &mut command);
    if !server.alive() {
        return Err(Ended::Failed(format!("the broker died; {}", server.tail())));
    }
    conformance::stop(server, &mut faults.run.tally);
    Ok(())
}

/// A network namespace of ours with one address on one device, removed when dropped.
struct Namespace(String);

impl Namespace {
    fn make(role: &str, address: &str) -> Result<Namespace, Ended> {
        let name = format!("corelane-{}-{role}", std::process::id());
        ip(&["netns", "add", &name])?;
        // From here on it is removed, whatever fails.
        let namespace = Namespace(name);
        let name = namespace.0.as_str();
        ip(&["-n", name, "link", "set", "lo", "up"])?;
        ip(&["-n", name, "tuntap", "add", "dev", DEVICE, "mode", "tun"])?;
        ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", DEVICE])?;
        ip(&["-n", name, "link", "set", DEVICE, "up"])?;
        Ok(namespace)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "del", &self.0]);
    }
}

/// A machine without namespaces, devices or the right to make them cannot have this.
fn ip(arguments: &[&str]) -> Result<(), Ended> {
    let said = || format!("ip {}", arguments.join(" "));
    let output = process::command("ip")
        .args(arguments)
        .output()
        .map_err(|error| Ended::Impossible(format!("{}: {error}", said())))?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(Ended::Impossible(format!("{}: {}", said(), reason.trim())))
}
