//! The metrics of an OTLP message: names, labels, numbers, as a client's push brings them.
//!
//! Reads the message where it lies, field by field: nothing is built for a client that sends a
//! million empty metrics. Only gauges and sums of numbers are read, which is all that KIP-714 asks
//! of clients; other kinds of metrics are checked and skipped. The primitives of the wire format
//! are those of `prost`. Called by `Telemetry::push`.
//!
//! Source: opentelemetry/proto/metrics/v1/metrics.proto, whose field numbers are written below.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint};

/// Why bytes are no OTLP metrics.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum OtlpError {
    #[error("not a protobuf message: {0}")]
    Wire(#[from] prost::DecodeError),
    #[error("a field ends behind its message")]
    Truncated,
    #[error("field {field} has another type in OTLP")]
    Type { field: u32 },
    #[error("a name or a label is not UTF-8")]
    Text,
}

/// Whether a number is what happened since the last push, or what is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Temporality {
    /// A gauge, or a sum since the client's start.
    Absolute,
    /// What is added since the last push.
    Delta,
}

/// An attribute of a resource or a data point.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Label<'a> {
    pub name: &'a str,
    pub value: LabelValue<'a>,
}

/// Its value. Lists, maps and bytes are not read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum LabelValue<'a> {
    Text(&'a str),
    Boolean(bool),
    Integer(i64),
    Double(f64),
}

/// One number of one series.
#[derive(Debug)]
pub struct Point<'a, 'l> {
    pub name: &'a str,
    /// The resource's labels, then the point's own.
    pub labels: &'l [Label<'a>],
    pub temporality: Temporality,
    pub value: f64,
}

/// Whether the reader wants more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Continue,
    Stop,
}

/// What was not handed out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Skipped {
    /// Metrics of kinds that are not read.
    pub metrics: u64,
}

/// Reads a `MetricsData` message and hands each number to `take` until that stops it.
///
/// At most `labels_max` labels are kept of a point. What comes behind the point that stopped the
/// reading is not looked at.
pub fn read<'a>(
    message: &'a [u8],
    labels_max: usize,
    take: &mut dyn FnMut(Point<'a, '_>) -> Flow,
) -> Result<Skipped, OtlpError> {
    let mut reading =
        Reading { take, labels: Vec::new(), labels_max, skipped: Skipped::default(), stop: false };
    for field in fields(message) {
        // MetricsData: resource_metrics = 1.
        if let (1, value) = field? {
            reading.resource_metrics(value.message(1)?)?;
        }
        if reading.stop {
            break;
        }
    }
    Ok(reading.skipped)
}

struct Reading<'a, 't> {
    take: &'t mut dyn FnMut(Point<'a, '_>) -> Flow,
    /// Of the resource, then of the point.
    labels: Vec<Label<'a>>,
    labels_max: usize,
    skipped: Skipped,
    stop: bool,
}

impl<'a> Reading<'a, '_> {
    /// ResourceMetrics: resource = 1, scope_metrics = 2.
    fn resource_metrics(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        self.labels.clear();
        // Fields may come in any order: labels first.
        for field in fields(message) {
            if let (1, value) = field? {
                // Resource: attributes = 1.
                for field in fields(value.message(1)?) {
                    if let (1, value) = field? {
                        self.label(value.message(1)?)?;
                    }
                }
            }
        }
        for field in fields(message) {
            if let (2, value) = field? {
                // ScopeMetrics: metrics = 2.
                for field in fields(value.message(2)?) {
                    if let (2, value) = field? {
                        self.metric(value.message(2)?)?;
                    }
                    if self.stop {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// Metric: name = 1, gauge = 5, sum = 7, histogram = 9, exponential_histogram = 10,
    /// summary = 11.
    fn metric(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let (mut name, mut data, mut is_sum) = ("", None, false);
        for field in fields(message) {
            match field? {
                (1, value) => name = value.text(1)?,
                (number @ (5 | 7), value) => {
                    data = Some(value.message(number)?);
                    is_sum = number == 7;
                }
                (number @ (9..=11), value) => {
                    value.message(number)?;
                    self.skipped.metrics += 1;
                }
                _ => {}
            }
        }
        let Some(data) = data else { return Ok(()) };
        // Sum: aggregation_temporality = 2, of which 1 is delta. A gauge has none.
        let mut temporality = Temporality::Absolute;
        for field in fields(data) {
            if let (2, value) = field?
                && is_sum
                && value.varint(2)? == 1
            {
                temporality = Temporality::Delta;
            }
        }
        // Gauge, Sum: data_points = 1.
        for field in fields(data) {
            if let (1, value) = field? {
                self.point(name, temporality, value.message(1)?)?;
            }
            if self.stop {
                return Ok(());
            }
        }
        Ok(())
    }

    /// NumberDataPoint: as_double = 4, as_int = 6, attributes = 7, flags = 8.
    fn point(
        &mut self,
        name: &'a str,
        temporality: Temporality,
        message: &'a [u8],
    ) -> Result<(), OtlpError> {
        let of_resource = self.labels.len();
        let (mut number, mut is_recorded) = (None, true);
        for field in fields(message) {
            match field? {
                (4, value) => number = Some(f64::from_bits(value.fixed64(4)?)),
                (6, value) => number = Some(value.fixed64(6)?.cast_signed() as f64),
                (7, value) => self.label(value.message(7)?)?,
                // Bit 0: no value was recorded.
                (8, value) => is_recorded = value.varint(8)? & 1 == 0,
                _ => {}
            }
        }
        if let Some(value) = number.filter(|_| is_recorded) {
            let labels = &self.labels;
            self.stop = (self.take)(Point { name, labels, temporality, value }) == Flow::Stop;
        }
        self.labels.truncate(of_resource);
        Ok(())
    }

    /// KeyValue: key = 1, value = 2. AnyValue: string = 1, bool = 2, int = 3, double = 4.
    fn label(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let (mut name, mut value) = ("", None);
        for field in fields(message) {
            match field? {
                (1, key) => name = key.text(1)?,
                (2, any) => {
                    for field in fields(any.message(2)?) {
                        value = match field? {
                            (1, text) => Some(LabelValue::Text(text.text(1)?)),
                            (2, flag) => Some(LabelValue::Boolean(flag.varint(2)? != 0)),
                            (3, int) => Some(LabelValue::Integer(int.varint(3)?.cast_signed())),
                            (4, double) => {
                                Some(LabelValue::Double(f64::from_bits(double.fixed64(4)?)))
                            }
                            _ => value,
                        };
                    }
                }
                _ => {}
            }
        }
        if let Some(value) = value
            && self.labels.len() < self.labels_max
        {
            self.labels.push(Label { name, value });
        }
        Ok(())
    }
}

/// A field's value on the wire.
#[derive(Clone, Copy)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    fn message(self, field: u32) -> Result<&'a [u8], OtlpError> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32 => Err(OtlpError::Type { field }),
        }
    }

    fn text(self, field: u32) -> Result<&'a str, OtlpError> {
        std::str::from_utf8(self.message(field)?).map_err(|_| OtlpError::Text)
    }

    fn varint(self, field: u32) -> Result<u64, OtlpError> {
        match self {
            Value::Varint(number) => Ok(number),
            Value::Bytes(_) | Value::Fixed64(_) | Value::Fixed32 => Err(OtlpError::Type { field }),
        }
    }

    fn fixed64(self, field: u32) -> Result<u64, OtlpError> {
        match self {
            Value::Fixed64(bits) => Ok(bits),
            Value::Bytes(_) | Value::Varint(_) | Value::Fixed32 => Err(OtlpError::Type { field }),
        }
    }
}

/// The fields of a message in the order they were written; ends with the first error.
fn fields(message: &[u8]) -> impl Iterator<Item = Result<(u32, Value<'_>), OtlpError>> {
    let mut rest = message;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let field = next_field(&mut rest);
        if field.is_err() {
            rest = &[];
        }
        Some(field)
    })
}

fn next_field<'a>(rest: &mut &'a [u8]) -> Result<(u32, Value<'a>), OtlpError> {
    let (number, wire_type) = decode_key(rest)?;
    let value = match wire_type {
        WireType::Varint => Value::Varint(decode_varint(rest)?),
        WireType::SixtyFourBit => {
            Value::Fixed64(rest.try_get_u64_le().map_err(|_| OtlpError::Truncated)?)
        }
        WireType::ThirtyTwoBit => {
            rest.try_get_u32_le().map_err(|_| OtlpError::Truncated)?;
            Value::Fixed32
        }
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest)?).unwrap_or(usize::MAX);
            let (bytes, after) = rest.split_at_checked(length).ok_or(OtlpError::Truncated)?;
            *rest = after;
            Value::Bytes(bytes)
        }
        // OTLP has no groups.
        WireType::StartGroup | WireType::EndGroup => {
            return Err(OtlpError::Type { field: number });
        }
    };
    Ok((number, value))
}
