//! A systemd service and a tuned profile for this host, as texts to look at and install.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::cores::CoreSet;
use crate::host::Host;
use crate::setting::{Finding, Form, Kind, Status};
use crate::settings::processor;

/// What goes into the service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where the binary is.
    pub binary: String,
    /// Kafka's server.properties, if the broker has one.
    pub config: Option<String>,
    pub data_dir: String,
    /// As given to `--cores`.
    pub cores: Option<CoreSet>,
    pub busy_poll: bool,
    /// The user it runs as.
    pub user: String,
}

/// A systemd unit.
pub fn service(host: &Host, isolated: &CoreSet, service: &Service) -> String {
    let mut options = String::new();
    if let Some(config) = &service.config {
        let _ = write!(options, " --config {}", quoted(config));
    }
    let _ = write!(options, " --data-dir {}", quoted(&service.data_dir));
    let cores = service.cores.as_ref().map(|cores| format!(" --cores {cores}"));
    let cores = cores.unwrap_or_default();
    options.push_str(&cores);
    if service.busy_poll {
        options.push_str(" --busy-poll");
    }
    let (binary, user) = (quoted(&service.binary), &service.user);
    let data_dir = quoted(&service.data_dir);
    let affinity = if isolated.and(&host.shards).is_empty() {
        "# The broker pins each shard's thread to its core by itself.\n".to_owned()
    } else {
        format!(
            "# The broker pins its threads itself, but may only use cores of this mask, and the \
             default one lacks isolated cores.\nCPUAffinity={}\n",
            host.online
        )
    };
    let state = match service.data_dir.strip_prefix("/var/lib/") {
        Some(name) if !name.is_empty() => format!("StateDirectory={name}\n"),
        _ => format!("ReadWritePaths={data_dir}\n"),
    };
    format!(
        "[Unit]
Description=Corelane event streaming broker
After=network-online.target local-fs.target
Wants=network-online.target
RequiresMountsFor={data_dir}

[Service]
# Host settings last until the next boot; this line makes them before each start. Look at
# `corelane tune check` first, then remove the mark before it.
#ExecStartPre=-+{binary} tune apply --data-dir {data_dir}{cores}
ExecStart={binary} start{options}
# A reload reads the configuration file again: keys that may change at run time do.
ExecReload=/bin/kill -HUP $MAINPID
User={user}
Group={user}
{state}Restart=on-failure
RestartSec=1
# 2: the configuration is wrong, which trying again does not mend.
RestartPreventExitStatus=2
# The broker gives itself 10 s to write out what is in memory and stops with code 0.
TimeoutStopSec=70

LimitNOFILE=1048576
# io_uring's queues and buffers count as locked memory.
LimitMEMLOCK=infinity
LimitCORE=infinity
OOMScoreAdjust=-900
{affinity}
# `memory` acks survive a killed broker in /dev/shm: it must stay when the process goes.
RemoveIPC=no
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"
    )
}

/// A path as a unit's words are written.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // `%` begins a specifier, `$` a variable.
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('%', "%%").replace('$', "$$"))
}

/// A profile for tuned: what `apply` would do, kept over boots by tuned.
///
/// Only what tuned has words for; a comment names the rest.
pub fn profile(findings: &[Finding]) -> String {
    let mut sysctls = BTreeMap::new();
    let mut files = BTreeMap::new();
    let (mut governor, mut latency, mut energy) = (false, false, false);
    for finding in findings {
        let (Some(path), Some(value)) = (&finding.path, aim(finding)) else { continue };
        if finding.about.name == processor::GOVERNOR.name {
            governor = true;
        } else if finding.about.name == processor::ENERGY.name {
            energy = true;
        } else if finding.about.name == processor::IDLE.name {
            latency = true;
        } else if let Some(name) = path.strip_prefix("/proc/sys/") {
            sysctls.insert(name.replace('/', "."), value);
        } else {
            files.insert(path.clone(), value);
        }
    }
    let mut text = "[main]\nsummary=Host settings for Corelane, as `corelane tune apply` would \
                    make them on this machine\n"
        .to_owned();
    if governor || energy || latency {
        text.push_str("\n[cpu]\n");
        if governor {
            text.push_str("governor=performance\n");
        }
        if energy {
            text.push_str("energy_performance_preference=performance\n");
        }
        if latency {
            text.push_str("force_latency=10\n");
        }
    }
    if !sysctls.is_empty() {
        text.push_str("\n[sysctl]\n");
        for (name, value) in sysctls {
            let _ = writeln!(text, "{name}={value}");
        }
    }
    // Interrupts' numbers may differ after a boot: these are for this one.
    let (fixed, interrupts): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(path, _)| !path.starts_with("/proc/irq/"));
    if !fixed.is_empty() {
        text.push_str("\n[sysfs]\n");
        for (path, value) in fixed {
            let _ = writeln!(text, "{path}={value}");
        }
    }
    if !interrupts.is_empty() {
        text.push_str(
            "\n# Interrupts are numbered anew at each boot, so they are not part of a profile;\n\
             # `corelane tune apply --only irq` sets:\n",
        );
        for (path, value) in interrupts {
            let _ = writeln!(text, "#   {path}={value}");
        }
    }
    text
}

/// The value a file should have, if it is known to the letter.
fn aim(finding: &Finding) -> Option<String> {
    match &finding.status {
        Status::Change(change) => Some(change.value.clone()),
        // What is good already stays so under the profile; what is only reported is not written.
        Status::Good if finding.about.kind != Kind::Report && finding.note.is_none() => {
            finding.current.as_deref().map(|text| Form::Text.value(text))
        }
        Status::Good | Status::Advice | Status::Info | Status::Untouchable | Status::Absent => None,
    }
}
