//! The sticky assignor of streams groups, the only one that Kafka 4.3 has: who works on which task.
//!
//! Pure: members with their processes and what they had, subtopologies with their numbers of tasks,
//! to a new target. Tasks stay where they are as long as nobody has more than a fair share, go to
//! where a copy of their state is, or else to the process with the least work for its members.
//! Copies never share a process with each other or with the task itself. Orders that Kafka leaves
//! to a hash map are those of ids here, so that the same group gives the same answer. Called by
//! `target`. Source: KIP-1071 and Kafka 4.3's behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::member::{TaskSet, Tasks};

/// A member as the assignor sees it.
pub(super) struct Worker<'a> {
    pub(super) id: Arc<str>,
    pub(super) process: Arc<str>,
    /// What it had in the target before.
    pub(super) before: Option<&'a Tasks>,
}

/// A subtopology as the assignor sees it.
#[derive(Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) subtopology: &'a str,
    pub(super) tasks_count: i32,
    pub(super) is_stateful: bool,
}

type Task<'a> = (&'a str, i32);

/// Everybody's tasks.
pub(super) fn assign(
    members: &[Worker<'_>],
    work: &[Work<'_>],
    standby_replicas: u32,
) -> BTreeMap<Arc<str>, Tasks> {
    let mut table = Table::new(members, work, standby_replicas as usize);
    let tasks = |only_stateful: bool| -> Vec<Task<'_>> {
        let wanted = work.iter().filter(|work| work.is_stateful || !only_stateful);
        wanted.flat_map(|work| (0..work.tasks_count).map(|at| (work.subtopology, at))).collect()
    };
    if !members.is_empty() {
        table.assign_active(tasks(false));
        if standby_replicas > 0 {
            table.assign_standby(tasks(true), standby_replicas as usize);
        }
    }
    let nothing = members.iter().map(|member| (member.id.clone(), Tasks::default()));
    let mut assigned: BTreeMap<Arc<str>, Tasks> = nothing.collect();
    for process in table.processes.into_values() {
        for (of_kind, is_active) in [(process.active, true), (process.standby, false)] {
            for (member, (subtopology, partition)) in of_kind {
                let tasks = assigned.get_mut(&member).expect("only members get tasks");
                let set: &mut TaskSet =
                    if is_active { &mut tasks.active } else { &mut tasks.standby };
                set.entry(subtopology.to_owned()).or_default().insert(partition);
            }
        }
    }
    assigned
}

/// The members of one process and what they got so far.
#[derive(Default)]
struct Process<'a> {
    /// Tasks of each member.
    counts: BTreeMap<Arc<str>, usize>,
    tasks_count: usize,
    tasks: BTreeSet<Task<'a>>,
    active: Vec<(Arc<str>, Task<'a>)>,
    standby: Vec<(Arc<str>, Task<'a>)>,
}

impl<'a> Process<'a> {
    /// Tasks per member, in an order of bits: it is never negative.
    fn load(&self) -> u64 {
        (self.tasks_count as f64 / self.counts.len() as f64).to_bits()
    }

    /// How many tasks the member then has.
    fn add(&mut self, member: &Arc<str>, task: Task<'a>, is_active: bool) -> usize {
        self.tasks_count += 1;
        self.tasks.insert(task);
        let of_kind = if is_active { &mut self.active } else { &mut self.standby };
        of_kind.push((member.clone(), task));
        let count = self.counts.get_mut(member).expect("a task goes to a member of the process");
        *count += 1;
        *count
    }

    fn least_loaded(&self) -> Arc<str> {
        let least = self.counts.iter().min_by_key(|(_, count)| **count);
        least.expect("a process has a member").0.clone()
    }
}

/// A share that members may fill: who has filled it takes its tasks out of what the others share.
struct Quota {
    tasks: usize,
    members: usize,
    per_member: usize,
}

impl Quota {
    fn new(tasks: usize, members: usize) -> Self {
        Self { tasks, members, per_member: tasks.div_ceil(members.max(1)) }
    }

    fn reached(&mut self, count: usize) {
        if count == self.per_member {
            let members = self.members.saturating_sub(1);
            let tasks = self.tasks.saturating_sub(count);
            let per_member = if members == 0 { 0 } else { tasks.div_ceil(members) };
            *self = Self { tasks, members, per_member };
        }
    }
}

type Place = (Arc<str>, Arc<str>);

struct Table<'a> {
    processes: BTreeMap<Arc<str>, Process<'a>>,
    /// Process and member that had a task.
    active_before: BTreeMap<Task<'a>, Place>,
    /// Processes and members that had a copy of a task's state.
    standby_before: BTreeMap<Task<'a>, Vec<Place>>,
    active: Quota,
    total: Quota,
}

impl<'a> Table<'a> {
    fn new(members: &[Worker<'a>], work: &[Work<'a>], standby_replicas: usize) -> Self {
        let mut processes: BTreeMap<Arc<str>, Process<'a>> = BTreeMap::new();
        let mut active_before = BTreeMap::new();
        let mut standby_before: BTreeMap<Task<'a>, Vec<Place>> = BTreeMap::new();
        for member in members {
            let process = processes.entry(member.process.clone()).or_default();
            process.counts.insert(member.id.clone(), 0);
            let place = (member.process.clone(), member.id.clone());
            let Some(before) = member.before else { continue };
            for task in each(&before.active) {
                active_before.insert(task, place.clone());
            }
            for task in each(&before.standby) {
                standby_before.entry(task).or_default().push(place.clone());
            }
        }
        let count = |work: &Work<'_>| usize::try_from(work.tasks_count).unwrap_or(0);
        let active: usize = work.iter().map(count).sum();
        let copies: usize = work.iter().filter(|w| w.is_stateful).map(count).sum();
        Self {
            processes,
            active_before,
            standby_before,
            active: Quota::new(active, members.len()),
            total: Quota::new(active + copies * standby_replicas, members.len()),
        }
    }

    fn add(&mut self, (process, member): &Place, task: Task<'a>, is_active: bool) {
        let process = self.processes.get_mut(process).expect("places are of known processes");
        let count = process.add(member, task, is_active);
        if is_active {
            self.active.reached(count);
        }
        self.total.reached(count);
    }

    fn count(&self, (process, member): &Place) -> usize {
        self.processes[process].counts[member]
    }

    fn assign_active(&mut self, mut tasks: Vec<Task<'a>>) {
        // The same partitions of different subtopologies belong together.
        tasks.sort_by_key(|(subtopology, partition)| (*partition, *subtopology));
        tasks.retain(|task| {
            let Some(place) = self.active_before.get(task).cloned() else { return true };
            self.add_within_quota(&place, *task)
        });
        tasks.retain(|task| {
            let places = self.standby_before.get(task).cloned().unwrap_or_default();
            let Some(place) = self.least_loaded_of(&places, None) else { return true };
            self.add_within_quota(&place, *task)
        });
        tasks.sort_unstable();
        let mut by_load: BTreeSet<(u64, Arc<str>)> = self.by_load();
        for task in tasks {
            let (_, process) = by_load.pop_first().expect("there is a member, so a process");
            let member = self.processes[&process].least_loaded();
            self.add(&(process.clone(), member), task, true);
            by_load.insert((self.processes[&process].load(), process));
        }
    }

    /// Whether the task is still to be assigned.
    fn add_within_quota(&mut self, place: &Place, task: Task<'a>) -> bool {
        let has_room = self.count(place) < self.active.per_member;
        if has_room {
            self.add(place, task, true);
        }
        !has_room
    }

    fn by_load(&self) -> BTreeSet<(u64, Arc<str>)> {
        self.processes.iter().map(|(id, process)| (process.load(), id.clone())).collect()
    }

    /// Of those who had a copy, who has the least to do; for a copy only where the task is not.
    fn least_loaded_of(&self, places: &[Place], copy_of: Option<Task<'a>>) -> Option<Place> {
        let is_free = |process: &Process<'a>| copy_of.is_none_or(|t| !process.tasks.contains(&t));
        let load = |place: &Place| {
            let process = &self.processes[&place.0];
            (f64::from_bits(process.load()), process.counts[&place.1])
        };
        let first = places.first()?;
        let (mut best, mut least) = (first, load(first));
        for place in &places[1..] {
            let (process_load, member_load) = load(place);
            if process_load < least.0 && is_free(&self.processes[&place.0]) && member_load < least.1
            {
                (best, least) = (place, (process_load, member_load));
            }
        }
        // As in Kafka it is the first one's process that has to be free.
        is_free(&self.processes[&first.0]).then(|| best.clone())
    }

    fn assign_standby(&mut self, mut tasks: Vec<Task<'a>>, replicas: usize) {
        tasks.sort_by_key(|(subtopology, partition)| (*partition, *subtopology));
        tasks.reverse();
        let mut rest: Vec<(Task<'a>, usize)> = Vec::new();
        for task in tasks {
            for copy in 0..replicas {
                if !self.assign_copy_back(task) {
                    rest.push((task, replicas - copy));
                    break;
                }
            }
        }
        rest.sort_by(|one, other| other.0.cmp(&one.0));
        let mut by_load = self.by_load();
        for (task, count) in rest {
            for _ in 0..count {
                let free = by_load
                    .iter()
                    .find(|(_, process)| !self.processes[process].tasks.contains(&task));
                // With too few processes there are fewer copies.
                let Some(found) = free.cloned() else { break };
                by_load.remove(&found);
                let process = found.1;
                let member = self.processes[&process].least_loaded();
                self.add(&(process.clone(), member), task, false);
                by_load.insert((self.processes[&process].load(), process));
            }
        }
    }

    /// Puts a copy where the task or a copy of it was, if there is room.
    fn assign_copy_back(&mut self, task: Task<'a>) -> bool {
        if let Some(place) = self.active_before.get(&task).cloned()
            && !self.processes[&place.0].tasks.contains(&task)
            && self.count(&place) < self.total.per_member
        {
            self.add(&place, task, false);
            return true;
        }
        let places = self.standby_before.get(&task).cloned().unwrap_or_default();
        if let Some(place) = self.least_loaded_of(&places, Some(task))
            && !self.processes[&place.0].tasks.contains(&task)
            && self.count(&place) < self.total.per_member
        {
            self.add(&place, task, false);
            return true;
        }
        false
    }
}

fn each(tasks: &TaskSet) -> impl Iterator<Item = Task<'_>> {
    tasks.iter().flat_map(|(subtopology, partitions)| {
        partitions.iter().map(move |partition| (subtopology.as_str(), *partition))
    })
}
