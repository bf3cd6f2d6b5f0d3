//! What one client instance pushed, as series for whoever publishes them.
//!
//! Sums that come as deltas are added up. Names and labels are made into what Prometheus allows,
//! and everything a client chooses is bounded (`limits.rs`). Immutable once published: the shard
//! changes a copy while somebody still reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use protocol::types::Uuid;

use super::limits::{
    INSTANCE_SERIES_MAX, LABEL_NAME_BYTES_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX,
    PUSH_POINTS_MAX, SERIES_OVERHEAD_BYTES,
};
use super::otlp::{self, Flow, Label, LabelValue, OtlpError, Point, Temporality};
use super::subscription::Client;

/// Where every Kafka client's names begin; left out of ours.
const COMMON_PREFIX: &str = "org.apache.kafka.";

/// Labels that are the broker's to give.
const OWN_LABELS: [&str; 3] = ["shard", "client_instance_id", "client_id"];

/// The metrics of one client instance.
#[derive(Clone, PartialEq, Debug)]
pub struct InstanceMetrics {
    pub instance: Uuid,
    pub client_id: String,
    pub software_name: String,
    pub software_version: String,
    /// By `name{labels`, in Prometheus' notation without the closing brace.
    series: BTreeMap<Box<str>, f64>,
    series_bytes: usize,
}

/// What became of a push's points.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Taken {
    pub points: u64,
    /// Points and metrics that are beyond a bound or of a kind that is not read.
    pub dropped: u64,
}

impl InstanceMetrics {
    /// No metrics yet.
    pub fn new(instance: Uuid, client: &Client) -> InstanceMetrics {
        let cut = |text: &str| clip(text, LABEL_VALUE_BYTES_MAX).to_owned();
        InstanceMetrics {
            instance,
            client_id: cut(client.client_id.as_deref().unwrap_or_default()),
            software_name: cut(&client.software_name),
            software_version: cut(&client.software_version),
            series: BTreeMap::new(),
            series_bytes: 0,
        }
    }

    /// Takes the metrics of an OTLP message.
    ///
    /// # Errors
    /// When it is none. What was read before the wrong byte is kept, as it was right.
    pub fn take(&mut self, message: &[u8]) -> Result<Taken, OtlpError> {
        let mut taken = Taken::default();
        let skipped = otlp::read(message, LABELS_MAX, &mut |point| {
            match self.take_point(&point) {
                true => taken.points += 1,
                false => taken.dropped += 1,
            }
            match taken.points + taken.dropped < PUSH_POINTS_MAX as u64 {
                true => Flow::Continue,
                false => Flow::Stop,
            }
        })?;
        taken.dropped += skipped.metrics;
        Ok(taken)
    }

    /// Memory of the series, about.
    pub fn bytes(&self) -> usize {
        self.series_bytes
    }

    /// Each series: its name, its labels in Prometheus' notation, its value. By name.
    pub fn series(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        self.series.iter().map(|(key, value)| {
            let (name, labels) = key.split_once('{').expect("every key has a brace");
            (name, labels, *value)
        })
    }

    fn take_point(&mut self, point: &Point<'_, '_>) -> bool {
        let name = point.name.strip_prefix(COMMON_PREFIX).unwrap_or(point.name);
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return false;
        }
        let key = series_key(name, point.labels);
        if let Some(value) = self.series.get_mut(key.as_str()) {
            match point.temporality {
                Temporality::Absolute => *value = point.value,
                // One NaN would be there for ever.
                Temporality::Delta if !point.value.is_finite() => return false,
                Temporality::Delta => *value += point.value,
            }
            return true;
        }
        if self.series.len() >= INSTANCE_SERIES_MAX {
            return false;
        }
        self.series_bytes += key.len() + SERIES_OVERHEAD_BYTES;
        self.series.insert(key.into_boxed_str(), point.value);
        true
    }
}

/// `name{label="value",label="value"`.
fn series_key(name: &str, labels: &[Label<'_>]) -> String {
    let mut key = String::with_capacity(64);
    push_name(&mut key, name);
    key.push('{');
    let mut given: Vec<String> = Vec::with_capacity(labels.len());
    for label in labels {
        if label.name.is_empty() || label.name.len() > LABEL_NAME_BYTES_MAX {
            continue;
        }
        let mut own = String::with_capacity(label.name.len());
        push_name(&mut own, label.name);
        // Names with two underscores in front are Prometheus' own. The first of a name counts.
        if own.starts_with("__") || OWN_LABELS.contains(&own.as_str()) || given.contains(&own) {
            continue;
        }
        if !given.is_empty() {
            key.push(',');
        }
        let _ = write!(key, "{own}=\"");
        match label.value {
            LabelValue::Text(text) => push_escaped(&mut key, clip(text, LABEL_VALUE_BYTES_MAX)),
            LabelValue::Boolean(flag) => {
                let _ = write!(key, "{flag}");
            }
            LabelValue::Integer(number) => {
                let _ = write!(key, "{number}");
            }
            LabelValue::Double(number) => {
                let _ = write!(key, "{number}");
            }
        }
        key.push('"');
        given.push(own);
    }
    key
}

/// A name of letters, digits and underscores that begins with no digit.
fn push_name(out: &mut String, name: &str) {
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        out.push('_');
    }
    out.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }));
}

/// A label's value, so that it stays one.
pub fn push_escaped(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
}

/// At most `bytes_max` bytes of a text, whole characters.
fn clip(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
