//! Tests of every declared message, of all its versions: against another implementation, against
//! Kafka's own bytes, against random bytes, and of the tables generated from the rows.

mod coverage;
mod errors;
mod golden;
mod oracle;
mod sample;
mod total;

use bytes::Bytes;
use protocol::message::{Message, Schema};
use protocol::messages::*;
use protocol::primitive::{DecodeError, EncodeError, Kind, Reader, StructInfo};

/// What the tests do with a message, its type erased.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    pub schema: Schema,
    pub info: &'static StructInfo,
    /// Decodes over a plain slice, encodes again; also the bytes consumed and the size promised.
    pub copying: fn(&[u8], i16) -> Result<RoundTrip, DecodeError>,
    /// The same over shared bytes.
    pub shared: fn(&Bytes, i16) -> Result<RoundTrip, DecodeError>,
    /// `Debug` of what the bytes decode to.
    pub debug: fn(&[u8], i16) -> String,
}

#[derive(Debug)]
pub struct RoundTrip {
    pub consumed: usize,
    pub encoded: Result<Vec<u8>, EncodeError>,
    pub size: usize,
}

fn case<M: Message>() -> Case {
    fn again<M: Message>(reader: &mut Reader<'_>, version: i16) -> Result<RoundTrip, DecodeError> {
        let message = M::decode(reader, version)?;
        Ok(RoundTrip {
            consumed: reader.position(),
            encoded: message.to_vec(version),
            size: message.size(version),
        })
    }
    let Kind::Struct(info) = M::KIND else { panic!("{} is not a struct", M::NAME) };
    Case {
        name: M::NAME,
        schema: M::SCHEMA,
        info,
        copying: |bytes, version| again::<M>(&mut Reader::new(bytes), version),
        shared: |bytes, version| again::<M>(&mut Reader::shared(bytes), version),
        debug: |bytes, version| format!("{:#?}", M::decode(&mut Reader::new(bytes), version)),
    }
}

macro_rules! all_cases {
    ($($key:ident => $request:ident, $response:ident;)*) => {
        /// Every request and response, then the records without an API.
        pub fn cases() -> Vec<Case> {
            vec![
                $(case::<$request>(), case::<$response>(),)*
                case::<ConsumerProtocolSubscription>(),
                case::<ConsumerProtocolAssignment>(),
            ]
        }
    };
}

protocol::for_each_api!(all_cases);

/// Calls `check` for every version of every message.
pub fn for_each_version(mut check: impl FnMut(&Case, i16)) {
    for case in cases() {
        for version in case.schema.versions.min..=case.schema.versions.max {
            check(&case, version);
        }
    }
}
