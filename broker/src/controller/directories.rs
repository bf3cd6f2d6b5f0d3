//! The data folder of each replica: where it is wanted, where it has arrived, where a copy is left.
//!
//! Pure; see `mod.rs`. A replica that exists moves as `docs/decisions/0014` says: the wish, the
//! switch and each end of them are one record of its partition. Who asks has looked at folders;
//! here only the image counts, which may have changed since.

use protocol::types::Uuid;

use crate::image::{Image, MetadataRecord, Partition};
use crate::limits::DIRECTORIES_MAX;

/// What is to change about one replica of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaChange {
    pub topic_id: Uuid,
    pub partition: i32,
    pub to: DirectoryChange,
}

/// See [`ReplicaChange`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DirectoryChange {
    /// A client wants it in this folder. With the one where it is a move ends.
    Wanted(Uuid),
    /// The copy in this folder is whole: it counts from here on.
    Arrived(Uuid),
    /// It cannot be moved to this folder.
    GivenUp(Uuid),
    /// This folder has no copy any more.
    Gone(Uuid),
}

/// The records of the changes that still make sense. `home` is the folder with the metadata log,
/// which partitions are in that name none.
pub fn decide_directories(
    image: &Image,
    home: Uuid,
    changes: &[ReplicaChange],
) -> Vec<MetadataRecord> {
    let mut records = Vec::new();
    for change in changes {
        let topic = image.topic_by_id(&change.topic_id);
        let Some(known) = topic.and_then(|topic| topic.partition(change.partition)) else {
            continue;
        };
        let mut partition = known.clone();
        apply(&mut partition, home, change.to);
        if partition != *known {
            let record = partition.to_record(change.topic_id, change.partition);
            records.push(MetadataRecord::Partition(record));
        }
    }
    records
}

fn apply(partition: &mut Partition, home: Uuid, change: DirectoryChange) {
    let present = if partition.directory.is_zero() { home } else { partition.directory };
    match change {
        DirectoryChange::Wanted(wanted) => {
            if wanted != partition.moving_to {
                leave(partition, partition.moving_to);
                partition.moving_to = if wanted == present { Uuid::ZERO } else { wanted };
            }
        }
        DirectoryChange::Arrived(at) => {
            // A copy of an earlier wish for the same folder is still to be removed there: what has
            // arrived was that one.
            let of_this_wish = at == partition.moving_to && !partition.left.contains(&at);
            if of_this_wish && !at.is_zero() {
                leave(partition, present);
                partition.directory = at;
                partition.moving_to = Uuid::ZERO;
            }
        }
        DirectoryChange::GivenUp(at) => {
            if at == partition.moving_to {
                leave(partition, at);
                partition.moving_to = Uuid::ZERO;
            }
        }
        DirectoryChange::Gone(from) => partition.left.retain(|folder| *folder != from),
    }
}

/// A copy may be in the folder until somebody has seen to it.
fn leave(partition: &mut Partition, folder: Uuid) {
    if folder.is_zero() || partition.left.contains(&folder) {
        return;
    }
    if partition.left.len() >= DIRECTORIES_MAX {
        // Folders that never came back: should this one, it stops the start (decision 0012).
        partition.left.remove(0);
    }
    partition.left.push(folder);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::assignment::partition_record;
    use crate::image::record::TopicRecord;

    const HOME: Uuid = Uuid::from_u64s(0, 1);
    const B: Uuid = Uuid::from_u64s(0, 2);
    const C: Uuid = Uuid::from_u64s(0, 3);
    const TOPIC: Uuid = Uuid::from_u64s(9, 9);

    struct Rig(Image);

    impl Rig {
        fn new() -> Self {
            let mut image = Image::new();
            let topic = TopicRecord { name: "t".into(), topic_id: TOPIC, created_ms: 0 };
            image.replay(&MetadataRecord::Topic(topic)).expect("it is new");
            let record = partition_record(TOPIC, 0, vec![1]);
            image.replay(&MetadataRecord::Partition(record)).expect("it is next");
            Self(image)
        }

        /// Directory, wish and what is left after a change, through the record's bytes.
        fn change(&mut self, to: DirectoryChange) -> (Uuid, Uuid, Vec<Uuid>) {
            let change = ReplicaChange { topic_id: TOPIC, partition: 0, to };
            for record in decide_directories(&self.0, HOME, &[change]) {
                let mut bytes = Vec::new();
                record.encode(&mut bytes).expect("it is small");
                let read = MetadataRecord::decode(&bytes).expect("it was just written");
                assert_eq!(read, record);
                self.0.replay(&read).expect("it fits");
            }
            let topic = self.0.topic_by_id(&TOPIC).expect("it is there");
            let partition = topic.partition(0).expect("it is there");
            (partition.directory, partition.moving_to, partition.left.to_vec())
        }
    }

    #[test]
    fn a_move_is_a_wish_a_switch_and_a_folder_that_is_left() {
        let mut rig = Rig::new();
        assert_eq!(rig.change(DirectoryChange::Wanted(B)), (Uuid::ZERO, B, vec![]));
        assert_eq!(rig.change(DirectoryChange::Wanted(B)), (Uuid::ZERO, B, vec![]));
        assert_eq!(rig.change(DirectoryChange::Arrived(B)), (B, Uuid::ZERO, vec![HOME]));
        assert_eq!(rig.change(DirectoryChange::Gone(HOME)), (B, Uuid::ZERO, vec![]));
        assert_eq!(rig.change(DirectoryChange::Wanted(HOME)), (B, HOME, vec![]));
        assert_eq!(rig.change(DirectoryChange::Arrived(HOME)), (HOME, Uuid::ZERO, vec![B]));
    }

    #[test]
    fn the_present_folder_ends_a_move_and_another_replaces_it() {
        let mut rig = Rig::new();
        rig.change(DirectoryChange::Wanted(B));
        assert_eq!(rig.change(DirectoryChange::Wanted(C)), (Uuid::ZERO, C, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Wanted(HOME)), (Uuid::ZERO, Uuid::ZERO, vec![B, C]));
        assert_eq!(rig.change(DirectoryChange::Arrived(C)), (Uuid::ZERO, Uuid::ZERO, vec![B, C]));
    }

    #[test]
    fn a_copy_of_an_earlier_wish_for_the_same_folder_never_counts() {
        let mut rig = Rig::new();
        rig.change(DirectoryChange::Wanted(B));
        rig.change(DirectoryChange::Wanted(HOME));
        assert_eq!(rig.change(DirectoryChange::Wanted(B)), (Uuid::ZERO, B, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Arrived(B)), (Uuid::ZERO, B, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Gone(B)), (Uuid::ZERO, B, vec![]));
        assert_eq!(rig.change(DirectoryChange::Arrived(B)), (B, Uuid::ZERO, vec![HOME]));
    }

    #[test]
    fn nothing_arrives_that_nobody_wants() {
        let mut rig = Rig::new();
        rig.change(DirectoryChange::Wanted(B));
        rig.change(DirectoryChange::Arrived(B));
        let placed = (B, Uuid::ZERO, vec![HOME]);
        for change in [DirectoryChange::Arrived(Uuid::ZERO), DirectoryChange::Arrived(C)] {
            assert_eq!(rig.change(change), placed);
        }
    }

    #[test]
    fn a_move_that_is_given_up_leaves_its_target_and_an_old_word_changes_nothing() {
        let mut rig = Rig::new();
        rig.change(DirectoryChange::Wanted(B));
        assert_eq!(rig.change(DirectoryChange::GivenUp(C)), (Uuid::ZERO, B, vec![]));
        assert_eq!(rig.change(DirectoryChange::GivenUp(B)), (Uuid::ZERO, Uuid::ZERO, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Gone(C)), (Uuid::ZERO, Uuid::ZERO, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Wanted(B)), (Uuid::ZERO, B, vec![B]));
        assert_eq!(rig.change(DirectoryChange::Gone(B)), (Uuid::ZERO, B, vec![]));
    }
}
