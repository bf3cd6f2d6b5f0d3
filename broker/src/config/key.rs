//! What is known of a configuration key: name, type, default, range, who may change it, what it
//! does.
//!
//! Types and the constructors of the tables in `keys/`. Parsing a value is `value.rs`.

/// Kafka's `ConfigDef.Type`, with the numbers DescribeConfigs uses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigType {
    Boolean = 1,
    Text = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    /// The name Kafka's messages use.
    pub fn name(self) -> &'static str {
        match self {
            ConfigType::Boolean => "BOOLEAN",
            ConfigType::Text => "STRING",
            ConfigType::Int => "INT",
            ConfigType::Short => "SHORT",
            ConfigType::Long => "LONG",
            ConfigType::Double => "DOUBLE",
            ConfigType::List => "LIST",
            ConfigType::Class => "CLASS",
            ConfigType::Password => "PASSWORD",
        }
    }
}

/// Which values of its type a key takes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Check {
    Any,
    /// An integer not below.
    AtLeast(i64),
    /// An integer from, to, both included.
    Between(i64, i64),
    /// An integer from, to, or one value outside.
    BetweenOr(i64, i64, i64),
    /// A number with a fraction from, to, both included.
    Share(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words, in upper or lower case.
    OneOfIgnoringCase(&'static [&'static str]),
    /// A list whose members are among these words.
    MembersOf(&'static [&'static str]),
    /// A text with at least one character.
    NonEmpty,
    /// `*`, or partition:broker pairs.
    ThrottledReplicas,
    /// `latest`, `earliest`, or `by_duration:` and an ISO-8601 duration.
    OffsetReset,
}

/// Who may change a broker key while the broker runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Update {
    /// Nobody: only the file and the command line set it.
    ReadOnly,
    /// Per broker.
    PerBroker,
    /// Per broker, or for all brokers at once.
    ClusterWide,
}

/// How a synonym's number becomes the key's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    Same,
    /// The synonym counts minutes, the key milliseconds.
    Minutes,
    /// The synonym counts hours, the key milliseconds.
    Hours,
}

/// One key.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: ConfigType,
    /// As text; `None` is null.
    pub default: Option<&'static str>,
    pub check: Check,
    /// Means something for broker keys only: topic and group keys can always change.
    pub update: Update,
    /// One sentence.
    pub doc: &'static str,
    /// `Some` says why setting the key changes nothing.
    pub ignored: Option<&'static str>,
    /// Accepted, but not listed by DescribeConfigs.
    pub hidden: bool,
    /// Broker keys that give this topic or group key its default, the strongest first.
    pub synonyms: &'static [(&'static str, Unit)],
}

impl Key {
    const fn new(name: &'static str, kind: ConfigType, doc: &'static str) -> Key {
        Key {
            name,
            kind,
            default: None,
            check: Check::Any,
            update: Update::ReadOnly,
            doc,
            ignored: None,
            hidden: false,
            synonyms: &[],
        }
    }

    /// With this default.
    pub const fn or(mut self, default: &'static str) -> Key {
        self.default = Some(default);
        self
    }

    /// With this range.
    pub const fn check(mut self, check: Check) -> Key {
        self.check = check;
        self
    }

    /// Changeable while running, per broker or for all.
    pub const fn cluster_wide(mut self) -> Key {
        self.update = Update::ClusterWide;
        self
    }

    /// Changeable while running, per broker only.
    pub const fn per_broker(mut self) -> Key {
        self.update = Update::PerBroker;
        self
    }

    /// Accepted, changes nothing, for this reason.
    pub const fn ignored(mut self, reason: &'static str) -> Key {
        self.ignored = Some(reason);
        self
    }

    /// Not listed.
    pub const fn hidden(mut self) -> Key {
        self.hidden = true;
        self
    }

    /// With these broker keys behind it.
    pub const fn synonyms(mut self, synonyms: &'static [(&'static str, Unit)]) -> Key {
        self.synonyms = synonyms;
        self
    }

    /// Its value is never shown.
    pub fn sensitive(&self) -> bool {
        self.kind == ConfigType::Password
    }

    /// The range in words, for an operator.
    pub fn range(&self) -> String {
        match self.check {
            Check::AtLeast(low) => format!("at least {low}"),
            Check::Between(low, high) => format!("{low} to {high}"),
            Check::BetweenOr(low, high, other) => format!("{low} to {high}, or {other}"),
            Check::Share(low, high) => format!("{low} to {high}"),
            Check::OneOf(words) | Check::OneOfIgnoringCase(words) => {
                format!("one of {}", words.join(", "))
            }
            Check::MembersOf(words) => format!("a list of {}", words.join(", ")),
            Check::NonEmpty => "a text that is not empty".into(),
            Check::ThrottledReplicas => "* or partition:broker,…".into(),
            Check::OffsetReset => "latest, earliest or by_duration:PnDTnHnMn.nS".into(),
            Check::Any => match self.kind {
                ConfigType::Boolean => "true or false".into(),
                ConfigType::Int => format!("{} to {}", i32::MIN, i32::MAX),
                ConfigType::Short => format!("{} to {}", i16::MIN, i16::MAX),
                ConfigType::Long => format!("{} to {}", i64::MIN, i64::MAX),
                ConfigType::Double => "a number".into(),
                ConfigType::List => "a list with commas".into(),
                ConfigType::Text | ConfigType::Class | ConfigType::Password => "a text".into(),
            },
        }
    }
}

/// A key that is true or false.
pub const fn boolean(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Boolean, doc)
}

/// A key that is a text.
pub const fn text(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Text, doc)
}

/// A key that is a 32-bit integer.
pub const fn int(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Int, doc)
}

/// A key that is a 16-bit integer.
pub const fn short(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Short, doc)
}

/// A key that is a 64-bit integer.
pub const fn long(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Long, doc)
}

/// A key that is a number with a fraction.
pub const fn double(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Double, doc)
}

/// A key that is a list of texts, separated by commas.
pub const fn list(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::List, doc)
}

/// A key that names a Java class.
pub const fn class(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Class, doc)
}

/// A key whose value is never shown.
pub const fn password(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, ConfigType::Password, doc)
}
