//! Makes valid bytes of any message and version from its rows alone.
//!
//! A second encoder, independent of the macro's: it walks `Kind` and writes the wire's rules as the
//! protocol guide states them, so that an error common to our decode and encode still shows.

use protocol::message::Schema;
use protocol::primitive::{FieldInfo, Kind, StructInfo};

/// Which of a message's optional parts are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// No nulls, arrays of two, every tagged field.
    Full,
    /// Nulls where allowed, empty arrays and strings, no tagged field.
    Sparse,
    /// Each of it by the draw.
    Mixed,
    /// Every field there, arrays of one, each value made from its field's name as
    /// `golden/MessageGolden.java` makes it.
    Named,
}

/// A seeded source of draws (splitmix64).
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.u64() % bound
    }
}

/// Bytes of one message.
pub fn sample(info: &StructInfo, schema: Schema, version: i16, fill: Fill, seed: u64) -> Vec<u8> {
    let mut sampler = Sampler {
        out: Vec::new(),
        draw: Draw::new(seed),
        version,
        flexible: schema.flexible.contains(version),
        fill,
        name: "",
    };
    sampler.fields(info);
    sampler.out
}

struct Sampler {
    out: Vec<u8>,
    draw: Draw,
    version: i16,
    flexible: bool,
    fill: Fill,
    /// Of the field being written.
    name: &'static str,
}

impl Sampler {
    fn fields(&mut self, info: &StructInfo) {
        let here: Vec<&FieldInfo> =
            info.fields.iter().filter(|field| field.spec.carries(self.version)).collect();
        for field in here.iter().filter(|field| field.spec.tag.is_none()) {
            self.field(field, false);
        }
        if !self.flexible {
            return;
        }
        let tagged: Vec<&FieldInfo> = here
            .into_iter()
            .filter(|field| field.spec.tag.is_some())
            .filter(|_| match self.fill {
                Fill::Full | Fill::Named => true,
                Fill::Sparse => false,
                Fill::Mixed => self.draw.below(2) == 0,
            })
            .collect();
        self.varint(tagged.len());
        for field in tagged {
            self.varint(field.spec.tag.unwrap_or_default() as usize);
            let before = std::mem::take(&mut self.out);
            self.field(field, true);
            let content = std::mem::replace(&mut self.out, before);
            self.varint(content.len());
            self.out.extend_from_slice(&content);
        }
    }

    /// A tagged field is only written when it is not the default, so it must not be empty.
    fn field(&mut self, field: &FieldInfo, tagged: bool) {
        let nullable = field.spec.nullable.contains(self.version);
        self.name = field.name.trim_start_matches("r#");
        self.value(&field.kind, nullable, tagged);
    }

    fn value(&mut self, kind: &Kind, nullable: bool, tagged: bool) {
        match kind {
            Kind::Bool => {
                let set = tagged || self.fill == Fill::Named;
                let bit = u8::from(set || self.draw.below(2) == 0);
                self.out.push(bit);
            }
            Kind::I8 => self.integer(1),
            Kind::I16 | Kind::U16 => self.integer(2),
            Kind::I32 | Kind::U32 => self.integer(4),
            Kind::I64 => self.integer(8),
            Kind::F64 => {
                let value = match self.fill {
                    Fill::Named => f64::from(self.name_hash()),
                    Fill::Full | Fill::Sparse | Fill::Mixed => {
                        self.draw.below(1 << 50) as f64 / 3.0
                    }
                };
                self.out.extend_from_slice(&value.to_be_bytes());
            }
            Kind::Uuid if self.fill == Fill::Named => {
                let hash = i64::from(self.name_hash());
                self.out.extend_from_slice(&hash.to_be_bytes());
                self.out.extend_from_slice(&(!hash).to_be_bytes());
            }
            Kind::Uuid => {
                self.integer(8);
                self.integer(8);
            }
            Kind::Nullable(inner) => {
                let null = nullable && !tagged && self.empty();
                self.nullable(inner, nullable, null, tagged);
            }
            Kind::String | Kind::Bytes | Kind::Array(_) | Kind::Struct(_) => {
                self.nullable(kind, false, false, tagged);
            }
        }
    }

    fn nullable(&mut self, kind: &Kind, nullable: bool, null: bool, tagged: bool) {
        match kind {
            Kind::String => {
                let text = self.text(tagged);
                self.length((!null).then_some(text.len()), 2);
                if !null {
                    self.out.extend_from_slice(text.as_bytes());
                }
            }
            Kind::Bytes if self.fill == Fill::Named => {
                self.length(Some(self.name.len()), 4);
                self.out.extend_from_slice(self.name.as_bytes());
            }
            Kind::Bytes => {
                let count = if self.empty() { 0 } else { 1 + self.draw.below(300) as usize };
                self.length((!null).then_some(count), 4);
                for _ in 0..if null { 0 } else { count } {
                    self.integer(1);
                }
            }
            Kind::Array(element) => {
                let count = match self.fill {
                    Fill::Full => 2,
                    Fill::Named => 1,
                    Fill::Sparse => usize::from(tagged),
                    Fill::Mixed => usize::from(tagged) + self.draw.below(4) as usize,
                };
                self.length((!null).then_some(count), 4);
                for _ in 0..if null { 0 } else { count } {
                    self.value(element, false, false);
                }
            }
            Kind::Struct(info) => {
                if nullable {
                    self.out.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(info);
                }
            }
            Kind::Bool
            | Kind::I8
            | Kind::I16
            | Kind::U16
            | Kind::I32
            | Kind::U32
            | Kind::I64
            | Kind::F64
            | Kind::Uuid
            | Kind::Nullable(_) => panic!("{kind:?} has no null"),
        }
    }

    fn empty(&mut self) -> bool {
        match self.fill {
            Fill::Full | Fill::Named => false,
            Fill::Sparse => true,
            Fill::Mixed => self.draw.below(3) == 0,
        }
    }

    fn text(&mut self, tagged: bool) -> String {
        if self.fill == Fill::Named {
            return self.name.to_owned();
        }
        if self.empty() && !tagged {
            return String::new();
        }
        let letters = ['a', 'Z', '0', '.', '_', '-', 'ß', '中', '🚋'];
        let count = 1 + self.draw.below(40);
        (0..count).map(|_| letters[self.draw.below(letters.len() as u64) as usize]).collect()
    }

    fn integer(&mut self, bytes: usize) {
        let value = match self.fill {
            Fill::Named => i64::from(self.name_hash()) as u64,
            Fill::Full | Fill::Sparse | Fill::Mixed => self.draw.u64(),
        };
        self.out.extend_from_slice(&value.to_be_bytes()[8 - bytes..]);
    }

    /// Java's `String.hashCode`.
    fn name_hash(&self) -> i32 {
        self.name
            .bytes()
            .fold(0_i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
    }

    fn length(&mut self, length: Option<usize>, prefix: usize) {
        if self.flexible {
            self.varint(length.map_or(0, |length| length + 1));
        } else {
            let value = length.map_or(-1, |length| length as i64);
            self.out.extend_from_slice(&value.to_be_bytes()[8 - prefix..]);
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}
