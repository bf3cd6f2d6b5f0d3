//! A whole broker fed arbitrary frames: a script of frames, pauses, cut connections and broken
//! disks, run over shards that were started from a folder with topics, records and groups.
//!
//! The script's bytes: how many shards, then steps. A step is one byte and what it needs; a request
//! names API and version, so that mutations reach the handlers, and a raw frame is anything.

use std::sync::OnceLock;

use protocol::api::ApiKey;
use storage::op::DiskError;
use storage::sim_disk::{Effect, Fault, Ops};

use crate::folder;
use crate::rig::{Files, Rig};

/// Steps of one script: longer ones find nothing more.
const STEPS_MAX: usize = 48;
/// Connections of one script.
const CONNS: usize = 3;

/// A step that sends a request of this API on connection 0, for those who write scripts.
pub fn request_step(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut step = vec![0, key as i16 as u8, version as u8];
    step.extend_from_slice(&(body.len() as u16).to_be_bytes());
    step.extend_from_slice(body);
    step
}

/// A step that lets time pass: the square of `root` milliseconds.
pub fn time_step(root: u8) -> Vec<u8> {
    vec![6, root]
}

/// Runs a script.
pub fn script(data: &[u8]) {
    // One folder for all: a start from it is a third of the cost of a script as it is.
    static START: OnceLock<Files> = OnceLock::new();
    let files = START.get_or_init(|| folder::used(folder::Left::Killed)).clone();
    let Some((&shards, mut rest)) = data.split_first() else { return };
    let mut rig = match Rig::boot(files, 1 + u16::from(shards % 2)) {
        Ok(rig) => rig,
        Err(error) => panic!("a broker starts from a sound folder: {error}"),
    };
    let mut conns: Vec<_> = (0..CONNS).map(|at| rig.connect(at)).collect();
    for _ in 0..STEPS_MAX {
        let Some((&step, after)) = rest.split_first() else { break };
        rest = after;
        let at = usize::from(step >> 4) % CONNS;
        if !rig.is_open(conns[at]) {
            rig.disconnect(conns[at]);
            conns[at] = rig.connect(usize::from(step));
        }
        match step & 0x0f {
            0..=3 => {
                let Some((&[key, version], after)) = rest.split_first_chunk::<2>() else { break };
                rest = after;
                let body = piece(&mut rest);
                let Some(key) = ApiKey::from_i16(i16::from(key)) else { continue };
                rig.request(conns[at], key, i16::from(version), body);
            }
            4 => {
                let frame = piece(&mut rest).to_vec();
                rig.frame(conns[at], frame);
            }
            5 => {
                rig.disconnect(conns[at]);
                conns[at] = rig.connect(usize::from(step));
            }
            6..=8 => {
                let root = u64::from(byte(&mut rest));
                rig.advance_ms(root * root, 500);
            }
            9 => rig.disk_runs = false,
            10 => {
                rig.disk_runs = true;
                rig.settle();
            }
            11 => {
                let ops = [Ops::Write, Ops::Read, Ops::Sync, Ops::Open, Ops::Name, Ops::Any];
                let chosen = ops[usize::from(byte(&mut rest)) % ops.len()];
                let error =
                    if step & 0x10 == 0 { DiskError::Io { errno: 5 } } else { DiskError::NoSpace };
                rig.inject(Fault::once(chosen, 0, Effect::Fail(error)));
            }
            // Whatever is under way then: a stop ends by itself, on a disk that answers.
            12 => return rig.stop(),
            _ => {}
        }
    }
    rig.finish();
}

fn byte(rest: &mut &[u8]) -> u8 {
    match rest.split_first() {
        Some((&byte, after)) => {
            *rest = after;
            byte
        }
        None => 0,
    }
}

/// Takes a piece off the front whose length the first two bytes say, or all there is.
fn piece<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(byte(rest)) << 8 | usize::from(byte(rest));
    let (piece, after) = rest.split_at(length.min(rest.len()));
    *rest = after;
    piece
}
