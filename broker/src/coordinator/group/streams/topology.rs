//! A topology against the topics that there are: how many tasks each part has, which internal
//! topics have to be made, and what is wrong.
//!
//! Pure. A repartition topic gets as many partitions as the largest input of whoever writes it, a
//! changelog as many as its subtopology has tasks; topics that are read together must agree. Called
//! by `heartbeat` whenever the topology or the topics changed. Source: KIP-1071 and what Kafka 4.3
//! answers.

use std::collections::{BTreeMap, BTreeSet};

use protocol::error_code::ErrorCode;
use protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};

use super::status;
use crate::coordinator::group::api::TopicLookup;
use crate::coordinator::group::consumer::Refusal;
use crate::coordinator::streams_records::{SubtopologyValue, TopicValue, TopologyValue};

/// Topics that a text names at most.
const NAMED_MAX: usize = 3;

/// Why a topology cannot run yet: a status code and what Kafka says about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Problem {
    pub(super) code: i8,
    pub(super) detail: String,
}

/// A topic that the application keeps for itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct InternalTopic {
    pub(super) partitions: i32,
    /// 0: the broker's default.
    pub(super) replication_factor: i16,
    pub(super) configs: BTreeMap<String, String>,
}

/// A part of the topology whose topics are known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Subtopology {
    /// One task for each partition of its largest input.
    pub(super) tasks_count: i32,
    pub(super) source_topics: BTreeSet<String>,
    pub(super) repartition_sources: BTreeMap<String, InternalTopic>,
    pub(super) repartition_sinks: BTreeSet<String>,
    pub(super) changelogs: BTreeMap<String, InternalTopic>,
}

impl Subtopology {
    /// Whether its tasks have state that can be copied.
    pub(super) fn is_stateful(&self) -> bool {
        !self.changelogs.is_empty()
    }
}

/// What became of a topology.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Configured {
    /// By id; `None` when the numbers of partitions could not be decided.
    pub(super) subtopologies: Option<BTreeMap<String, Subtopology>>,
    /// Internal topics that do not exist, by name.
    pub(super) to_create: Vec<CreatableTopic>,
    pub(super) problem: Option<Problem>,
}

impl Configured {
    /// Whether tasks can be assigned.
    pub(super) fn is_ready(&self) -> bool {
        self.problem.is_none()
    }
}

/// What stops the configuration: the topology waits, or the request is wrong.
enum Stop {
    Waits(Problem),
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn wrongly_partitioned(detail: String) -> Stop {
    Stop::Waits(Problem { code: status::INCORRECTLY_PARTITIONED_TOPICS, detail })
}

fn invalid(message: String) -> Stop {
    Refusal::new(ErrorCode::StreamsInvalidTopology, message).into()
}

/// What Kafka answers where its own code throws.
fn unexpected() -> Stop {
    Stop::Refused(super::heartbeat::unexpected())
}

/// Looks at the topics of a topology.
///
/// # Errors
/// When the topology contradicts itself: the request that brought it is refused.
pub(super) fn configure(
    topology: &TopologyValue,
    topics: &dyn TopicLookup,
) -> Result<Configured, Refusal> {
    let configurator = Configurator { topology, topics, decided: BTreeMap::new() };
    match configurator.run() {
        Ok(configured) => Ok(configured),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Waits(problem)) => {
            Ok(Configured { subtopologies: None, to_create: Vec::new(), problem: Some(problem) })
        }
    }
}

/// Every topic that a topology reads, writes or keeps state in and that somebody has to make.
pub(super) fn required_topics(topology: &TopologyValue) -> BTreeSet<&str> {
    topology
        .subtopologies
        .iter()
        .flat_map(|subtopology| {
            let sources = subtopology.source_topics.iter();
            let internal = subtopology
                .repartition_source_topics
                .iter()
                .chain(&subtopology.state_changelog_topics)
                .map(|topic| &topic.name);
            sources.chain(internal).map(String::as_str)
        })
        .collect()
}

struct Configurator<'a> {
    topology: &'a TopologyValue,
    topics: &'a dyn TopicLookup,
    /// Numbers of partitions of internal topics.
    decided: BTreeMap<String, i32>,
}

impl Configurator<'_> {
    fn run(mut self) -> Result<Configured, Stop> {
        let topology = self.topology;
        if topology.epoch < 0 {
            return Err(unexpected());
        }
        let ids = topology.subtopologies.iter().map(|subtopology| &subtopology.subtopology_id);
        if ids.collect::<BTreeSet<_>>().len() != topology.subtopologies.len() {
            return Err(unexpected());
        }
        let mut together = Vec::new();
        for subtopology in &topology.subtopologies {
            together.extend(copartitioned(subtopology).ok_or_else(unexpected)?);
        }
        self.check_sources()?;
        self.decide_repartition_topics()?;
        for group in &together {
            self.enforce(group)?;
        }
        self.decide_changelogs()?;
        let mut subtopologies = BTreeMap::new();
        for subtopology in &topology.subtopologies {
            let configured = self.subtopology(subtopology)?;
            subtopologies.insert(subtopology.subtopology_id.clone(), configured);
        }
        let to_create = self.missing(&subtopologies)?;
        let problem = (!to_create.is_empty()).then(|| Problem {
            code: status::MISSING_INTERNAL_TOPICS,
            detail: format!(
                "Internal topics are missing: {}",
                summary(to_create.iter().map(|topic| topic.name.as_str()))
            ),
        });
        Ok(Configured { subtopologies: Some(subtopologies), to_create, problem })
    }

    /// The partitions that a topic has or is to have.
    fn count(&self, topic: &str) -> Option<i32> {
        match self.topics.partitions_count(topic) {
            0 => self.decided.get(topic).copied(),
            count => Some(count),
        }
    }

    fn check_sources(&self) -> Result<(), Stop> {
        let sources = self.topology.subtopologies.iter().flat_map(|s| &s.source_topics);
        let missing: BTreeSet<&str> = sources
            .map(String::as_str)
            .filter(|topic| self.topics.partitions_count(topic) == 0)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let detail = format!("Source topics {} are missing.", summary(missing.into_iter()));
        Err(Stop::Waits(Problem { code: status::MISSING_SOURCE_TOPICS, detail }))
    }

    fn decide_repartition_topics(&mut self) -> Result<(), Stop> {
        let topology = self.topology;
        let internal = topology.subtopologies.iter().flat_map(|s| &s.repartition_source_topics);
        let mut counts: BTreeMap<String, i32> = internal
            .filter(|topic| topic.partitions != 0)
            .map(|topic| (topic.name.clone(), topic.partitions))
            .collect();
        loop {
            let mut is_incomplete = false;
            let mut is_stuck = true;
            for subtopology in &topology.subtopologies {
                for sink in &subtopology.repartition_sink_topics {
                    if counts.contains_key(sink) {
                        continue;
                    }
                    match self.largest_input(subtopology, &counts) {
                        Some(count) => {
                            counts.insert(sink.clone(), count);
                            is_stuck = false;
                        }
                        None => is_incomplete = true,
                    }
                }
            }
            if !is_incomplete {
                break;
            }
            if is_stuck {
                return Err(invalid(
                    "Failed to compute number of partitions for all repartition topics. There may \
                     be loops in the topology that cannot be resolved."
                        .to_owned(),
                ));
            }
        }
        let mut sources = topology.subtopologies.iter().flat_map(|s| &s.repartition_source_topics);
        if sources.any(|topic| !counts.contains_key(&topic.name)) {
            return Err(invalid(
                "Failed to compute number of partitions for all repartition topics, because a \
                 repartition source topic is never used as a sink topic."
                    .to_owned(),
            ));
        }
        self.decided = counts;
        Ok(())
    }

    fn largest_input(
        &self,
        subtopology: &SubtopologyValue,
        counts: &BTreeMap<String, i32>,
    ) -> Option<i32> {
        let internal = subtopology.repartition_source_topics.iter();
        let internal = internal.filter_map(|topic| counts.get(&topic.name).copied());
        let external = subtopology.source_topics.iter().filter_map(|topic| self.count(topic));
        internal.chain(external).max()
    }

    /// Topics that are read together have the same number of partitions; internal ones that are
    /// free to have any get it.
    fn enforce(&mut self, group: &BTreeSet<&str>) -> Result<(), Stop> {
        let all = || self.topology.subtopologies.iter().flat_map(|s| &s.repartition_source_topics);
        let fixed: BTreeSet<&str> =
            all().filter(|topic| topic.partitions != 0).map(|topic| topic.name.as_str()).collect();
        let internal: BTreeSet<&str> = all().map(|topic| topic.name.as_str()).collect();
        let mut inner = BTreeMap::new();
        let mut outer = BTreeMap::new();
        for topic in group {
            let count = self.count(topic).ok_or_else(unexpected)?;
            let side = if internal.contains(topic) { &mut inner } else { &mut outer };
            side.insert(*topic, count);
        }
        let Some(first) = inner.values().chain(outer.values()).next() else { return Ok(()) };
        let wanted = if outer.is_empty() {
            if fixed.is_empty() {
                inner.values().copied().max().unwrap_or(*first)
            } else {
                let counts: Option<Vec<i32>> =
                    fixed.iter().map(|topic| self.count(topic)).collect();
                let counts = counts.ok_or_else(unexpected)?;
                if counts.iter().any(|count| *count != counts[0]) {
                    return Err(disagree(&inner));
                }
                counts[0]
            }
        } else {
            let wanted = outer.values().copied().next().unwrap_or(*first);
            if outer.values().any(|count| *count != wanted) {
                return Err(disagree(&outer));
            }
            wanted
        };
        for (topic, count) in inner {
            if fixed.contains(topic) && count != wanted {
                return Err(wrongly_partitioned(format!(
                    "Number of partitions [{count}] of repartition topic [{topic}] doesn't match \
                     number of partitions [{wanted}] of the source topic."
                )));
            }
            self.decided.insert(topic.to_owned(), wanted);
        }
        Ok(())
    }

    fn decide_changelogs(&mut self) -> Result<(), Stop> {
        for subtopology in &self.topology.subtopologies {
            let count = self.tasks_count(subtopology)?;
            for topic in &subtopology.state_changelog_topics {
                self.decided.insert(topic.name.clone(), count);
            }
        }
        Ok(())
    }

    fn tasks_count(&self, subtopology: &SubtopologyValue) -> Result<i32, Stop> {
        let internal = subtopology.repartition_source_topics.iter().map(|topic| &topic.name);
        let mut most = None;
        for topic in subtopology.source_topics.iter().chain(internal) {
            most = most.max(Some(self.count(topic).ok_or_else(unexpected)?));
        }
        most.ok_or_else(|| {
            invalid(format!(
                "No source topics found for subtopology {}",
                subtopology.subtopology_id
            ))
        })
    }

    fn subtopology(&self, value: &SubtopologyValue) -> Result<Subtopology, Stop> {
        let internal = |topics: &[TopicValue]| {
            let all = topics.iter().map(|topic| {
                let given = Some(topic.partitions).filter(|count| *count != 0);
                let count = given.or_else(|| self.decided.get(&topic.name).copied());
                let configs: BTreeMap<String, String> = topic
                    .topic_configs
                    .iter()
                    .map(|config| (config.key.clone(), config.value.clone()))
                    .collect();
                // Kafka cannot make a map of a key that is there twice.
                if configs.len() != topic.topic_configs.len() {
                    return Err(unexpected());
                }
                let internal = InternalTopic {
                    partitions: count.ok_or_else(unexpected)?,
                    replication_factor: topic.replication_factor,
                    configs,
                };
                Ok((topic.name.clone(), internal))
            });
            all.collect::<Result<BTreeMap<_, _>, Stop>>()
        };
        Ok(Subtopology {
            tasks_count: self.tasks_count(value)?,
            source_topics: value.source_topics.iter().cloned().collect(),
            repartition_sources: internal(&value.repartition_source_topics)?,
            repartition_sinks: value.repartition_sink_topics.iter().cloned().collect(),
            changelogs: internal(&value.state_changelog_topics)?,
        })
    }

    /// Internal topics that do not exist; those that do must have the partitions decided.
    fn missing(
        &self,
        subtopologies: &BTreeMap<String, Subtopology>,
    ) -> Result<Vec<CreatableTopic>, Stop> {
        let all: BTreeMap<&String, &InternalTopic> = subtopologies
            .values()
            .flat_map(|s| s.repartition_sources.iter().chain(&s.changelogs))
            .collect();
        let mut missing = Vec::new();
        for (name, topic) in all {
            match self.topics.partitions_count(name) {
                0 => missing.push(creatable(name, topic)),
                found if found == topic.partitions => {}
                found => {
                    return Err(wrongly_partitioned(format!(
                        "Existing topic {name} has different number of partitions: expected {}, \
                         found {found}",
                        topic.partitions
                    )));
                }
            }
        }
        Ok(missing)
    }
}

fn disagree(counts: &BTreeMap<&str, i32>) -> Stop {
    let counts: Vec<String> = counts.iter().map(|(topic, n)| format!("{topic}={n}")).collect();
    wrongly_partitioned(format!(
        "Following topics do not have the same number of partitions: [{{{}}}]",
        counts.join(", ")
    ))
}

/// The topics that a subtopology reads together; `None` when it names places it does not have.
fn copartitioned(subtopology: &SubtopologyValue) -> Option<Vec<BTreeSet<&str>>> {
    let place = |at: &i16| usize::try_from(*at).ok();
    let groups = subtopology.copartition_groups.iter().map(|group| {
        let sources = group
            .source_topics
            .iter()
            .map(|at| subtopology.source_topics.get(place(at)?).map(String::as_str));
        let internal = group.repartition_source_topics.iter().map(|at| {
            let topic = subtopology.repartition_source_topics.get(place(at)?);
            topic.map(|topic| topic.name.as_str())
        });
        sources.chain(internal).collect()
    });
    groups.collect()
}

fn creatable(name: &str, topic: &InternalTopic) -> CreatableTopic {
    let configs = topic.configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: name.clone(),
        value: Some(value.clone()),
    });
    CreatableTopic {
        name: name.to_owned(),
        num_partitions: topic.partitions,
        replication_factor: if topic.replication_factor == 0 {
            -1
        } else {
            topic.replication_factor
        },
        configs: configs.collect(),
        ..CreatableTopic::default()
    }
}

fn summary<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED_MAX);
    let named: Vec<&str> = names.take(NAMED_MAX).collect();
    let mut text = named.join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} additional topics"));
    }
    text
}
