//! How transactions end: EndTxn, time that is up, markers, and ids nobody uses any more.
//!
//! A decision is durable first; then each partition of the transaction gets its marker, as often as
//! it takes; then the end is recorded. A start finds decisions without ends and sends their markers
//! again: partitions take a marker twice. Source: KIP-98, KIP-890 and Kafka 4.3.1's answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::planted::{self, Bug};
use protocol::error_code::ErrorCode;

use super::api::{Action, Marker, MarkersToken, Producer, ReplyToken, TxnAnswer};
use super::producer::Named;
use super::records::TxnRecord;
use super::state::{
    Metadata, NO_PRODUCER_ID, PRODUCER_EPOCH_LAST, TopicPartition, TxnState, TxnVersion,
};
use super::timers::Timer;
use super::{
    Completing, NeedsProducerId, Pending, PreparedFor, Then, Transaction, TxnCoordinator, Work,
    limits,
};
use crate::time::Now;

/// What an EndTxn comes to.
enum End {
    /// Its answer was lost: here it is again.
    Done(Producer),
    /// Commit or abort.
    Decide,
}

impl TxnCoordinator {
    pub(super) fn end(
        &mut self,
        now: Now,
        id: &str,
        producer: Named,
        commit: bool,
        version: TxnVersion,
        reply: ReplyToken,
    ) -> Result<(), NeedsProducerId> {
        let judged = self.find(id).and_then(|(index, transaction)| {
            let end = if version.bumps_epoch() {
                judge_bumping(transaction, producer, commit)?
            } else {
                judge_plain(transaction, producer, commit)?
            };
            Ok((index, end, transaction.metadata.clone()))
        });
        let (index, metadata) = match judged {
            Err(error) => {
                self.reply(reply, TxnAnswer::Ended(Producer::refused(error)));
                return Ok(());
            }
            Ok((_, End::Done(producer), _)) => {
                self.reply(reply, TxnAnswer::Ended(producer));
                return Ok(());
            }
            Ok((index, End::Decide, metadata)) => (index, metadata),
        };
        let next = if version.bumps_epoch() && metadata.is_exhausted() {
            self.take_producer_id()?
        } else {
            NO_PRODUCER_ID
        };
        let step = metadata.prepared(commit, version, next, now.wall_ms);
        let to = if planted::is(Bug::EndAckedBeforeAppend) {
            let producer = Producer::granted(step.producer_id, step.producer_epoch);
            self.reply(reply, TxnAnswer::Ended(producer));
            PreparedFor::Timeout
        } else {
            PreparedFor::Client(reply)
        };
        let then = Then::Prepared { to };
        self.step(now, index, id, step, then);
        Ok(())
    }

    /// A decision is durable: its markers go out. Returns what its producer goes on with.
    pub(super) fn complete(&mut self, now: Now, index: i32, id: &Arc<str>) -> Producer {
        let markers = MarkersToken(self.next_markers);
        self.next_markers += 1;
        let partition = self.partitions.get_mut(&index).expect("its transactions go with it");
        let epoch = partition.epoch;
        let transaction = partition.transactions.get_mut(id).expect("it was just replayed");
        let metadata = &transaction.metadata;
        let missing = metadata.partitions.clone();
        let then = metadata.completed(now.wall_ms);
        let producer = Producer::granted(then.producer_id, then.producer_epoch);
        let marker = marker_of(metadata, epoch);
        let partitions: Vec<TopicPartition> = missing.iter().cloned().collect();
        let completing = Completing { markers, missing, failed: BTreeSet::new(), retry_set: false };
        transaction.pending = Some(Pending::Completing(completing));
        self.completing.insert(markers, (index, Arc::clone(id)));
        if partitions.is_empty() {
            self.step(now, index, id, then, Then::Completed);
        } else {
            self.actions.push_back(Action::SendMarkers { markers, marker, partitions });
        }
        producer
    }

    /// A marker is durable in a partition, or could not be made so.
    ///
    /// A partition that does not exist any more needs none. Every other failure is tried again.
    pub fn handle_marker(
        &mut self,
        now: Now,
        markers: MarkersToken,
        partition: TopicPartition,
        error: ErrorCode,
    ) {
        let Some((index, id)) = self.completing.get(&markers).cloned() else { return };
        let Some(completing) = self.completing_mut(index, &id) else { return };
        match error {
            // A partition that knows of a newer epoch of this producer, or of a newer coordinator,
            // has ended this transaction already.
            ErrorCode::None
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InvalidProducerEpoch
            | ErrorCode::TransactionCoordinatorFenced => {
                if !completing.missing.remove(&partition) || !completing.missing.is_empty() {
                    return;
                }
                self.record_end(now, index, &id);
            }
            _ => {
                completing.failed.insert(partition);
                self.set_retry(now, markers);
            }
        }
    }

    fn record_end(&mut self, now: Now, index: i32, id: &Arc<str>) {
        let transaction = self.transaction_mut(index, id).expect("it is completing");
        let step = transaction.metadata.completed(now.wall_ms);
        self.step(now, index, id, step, Then::Completed);
    }

    fn completing_mut(&mut self, index: i32, id: &str) -> Option<&mut Completing> {
        match &mut self.transaction_mut(index, id)?.pending {
            Some(Pending::Completing(completing)) => Some(completing),
            Some(Pending::Append | Pending::Additions(_)) | None => None,
        }
    }

    fn set_retry(&mut self, now: Now, markers: MarkersToken) {
        let Some((index, id)) = self.completing.get(&markers).cloned() else { return };
        let Some(completing) = self.completing_mut(index, &id) else { return };
        if !std::mem::replace(&mut completing.retry_set, true) {
            self.timers.set(now.mono_ns, limits::RETRY_MS, Timer::Retry { markers });
        }
    }

    pub(super) fn retry(&mut self, now: Now, markers: MarkersToken) {
        let Some((index, id)) = self.completing.get(&markers).cloned() else { return };
        let epoch = self.partitions.get(&index).map_or(0, |partition| partition.epoch);
        let Some(completing) = self.completing_mut(index, &id) else { return };
        completing.retry_set = false;
        let failed = std::mem::take(&mut completing.failed);
        if completing.missing.is_empty() {
            self.record_end(now, index, &id);
            return;
        }
        if failed.is_empty() {
            return;
        }
        self.probe.markers_retried += failed.len() as u64;
        let transaction = self.transaction_mut(index, &id).expect("it is completing");
        let marker = marker_of(&transaction.metadata, epoch);
        let partitions = failed.into_iter().collect();
        self.actions.push_back(Action::SendMarkers { markers, marker, partitions });
    }

    /// The end is recorded, or could not be: then it is tried again.
    pub(super) fn completion_done(
        &mut self,
        now: Now,
        index: i32,
        id: &Arc<str>,
        result: Result<(), ErrorCode>,
    ) {
        let Some(completing) = self.completing_mut(index, id) else { return };
        let markers = completing.markers;
        if result.is_err() {
            self.set_retry(now, markers);
            return;
        }
        self.completing.remove(&markers);
        let Some(transaction) = self.transaction_mut(index, id) else { return };
        transaction.pending = None;
        if transaction.metadata.state == TxnState::CompleteCommit {
            self.probe.committed += 1;
        } else {
            self.probe.aborted += 1;
        }
    }

    /// Aborts what has been ongoing for longer than its producer said it would take.
    pub(super) fn abort_timed_out(&mut self, now: Now) {
        let due: Vec<Arc<str>> = self
            .deadlines
            .iter()
            .take_while(|(deadline_ns, _, _)| *deadline_ns <= now.mono_ns)
            .map(|(_, _, id)| Arc::clone(id))
            .collect();
        for id in due {
            self.run(now, Work::Timeout { id });
        }
        if !self.deadlines.is_empty() {
            self.timers.set(now.mono_ns, self.config.timeout_check_ms, Timer::Timeouts);
        }
    }

    pub(super) fn abort_one_timed_out(
        &mut self,
        now: Now,
        id: &str,
    ) -> Result<(), NeedsProducerId> {
        let Ok((index, transaction)) = self.find(id) else { return Ok(()) };
        let over = transaction.deadline_ns.is_some_and(|deadline| deadline <= now.mono_ns);
        if !over || planted::is(Bug::TimeoutNeverAborts) {
            return Ok(());
        }
        let metadata = transaction.metadata.clone();
        match self.transaction_mut(index, id).and_then(|one| one.pending.as_mut()) {
            None => {}
            // Records that add partitions overlap: a client that adds without pause leaves no
            // moment without one, and no sweep would ever find it.
            Some(Pending::Additions(additions)) => {
                additions.timed_out = true;
                return Ok(());
            }
            // A step on its way may be the end; if it is not, the next sweep sees.
            Some(Pending::Append | Pending::Completing(_)) => return Ok(()),
        }
        let step = self.fenced(&metadata, now)?;
        self.step(now, index, id, step, Then::Prepared { to: PreparedFor::Timeout });
        Ok(())
    }

    /// Lets ids go that nobody used for long.
    pub(super) fn expire(&mut self, now: Now, index: i32) {
        let Some(partition) = self.partitions.get_mut(&index) else { return };
        let expired_before_ms = now.wall_ms.saturating_sub(self.config.expiration_ms);
        let mut expired = Vec::new();
        for (id, transaction) in &mut partition.transactions {
            let metadata = &transaction.metadata;
            if transaction.pending.is_none()
                && metadata.state.is_idle()
                && metadata.updated_ms <= expired_before_ms
            {
                transaction.pending = Some(Pending::Append);
                expired.push(TxnRecord { id: Arc::clone(id), metadata: None });
            }
        }
        while !expired.is_empty() {
            let rest = expired.split_off(expired.len().min(limits::EXPIRED_PER_APPEND_MAX));
            self.append(now, index, std::mem::replace(&mut expired, rest), Then::Expired);
        }
        self.set_expiry_timer(now, index);
    }

    pub(super) fn set_expiry_timer(&mut self, now: Now, partition: i32) {
        let interval_ms = self.config.expiration_check_ms.max(1);
        self.timers.set(now.mono_ns, interval_ms, Timer::Expiry { partition });
    }
}

/// The marker that a decision writes into each of its partitions.
fn marker_of(metadata: &Metadata, coordinator_epoch: i32) -> Marker {
    Marker {
        producer_id: metadata.producer_id,
        producer_epoch: metadata.producer_epoch,
        coordinator_epoch,
        commit: metadata.state == TxnState::PrepareCommit,
        version: metadata.version,
    }
}

/// EndTxn of a client whose epoch stays: versions below 5.
fn judge_plain(
    transaction: &Transaction,
    (id, epoch): Named,
    commit: bool,
) -> Result<End, ErrorCode> {
    let metadata = &transaction.metadata;
    if metadata.producer_id != id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if metadata.producer_epoch != epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    if transaction.pending.is_some() {
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let done = Ok(End::Done(Producer::granted(metadata.producer_id, metadata.producer_epoch)));
    match (metadata.state, commit) {
        (TxnState::Ongoing, _) => Ok(End::Decide),
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => done,
        (TxnState::PrepareCommit, true) | (TxnState::PrepareAbort, false) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (TxnState::CompleteCommit | TxnState::PrepareCommit, false)
        | (TxnState::CompleteAbort | TxnState::PrepareAbort, true)
        | (TxnState::Empty, _) => Err(ErrorCode::InvalidTxnState),
    }
}

/// EndTxn of a client whose epoch rises with every end (KIP-890): the epoch tells a retry from the
/// end of the next transaction.
fn judge_bumping(
    transaction: &Transaction,
    (id, epoch): Named,
    commit: bool,
) -> Result<End, ErrorCode> {
    let metadata = &transaction.metadata;
    if transaction.pending.is_some() {
        // Before all else: the producer may already use what this step is about to give it.
        return Err(ErrorCode::ConcurrentTransactions);
    }
    let bumped = epoch.checked_add(1) == Some(metadata.producer_epoch);
    let rotated = metadata.previous_producer_id == id
        && epoch == PRODUCER_EPOCH_LAST
        && metadata.producer_epoch == 0;
    if metadata.producer_id != id && !rotated {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    let same = epoch == metadata.producer_epoch;
    let valid = match metadata.state {
        TxnState::Empty | TxnState::Ongoing => same,
        TxnState::PrepareCommit | TxnState::PrepareAbort => bumped,
        TxnState::CompleteCommit | TxnState::CompleteAbort => bumped || rotated || same,
    };
    if !valid {
        return Err(ErrorCode::ProducerFenced);
    }
    let is_retry = bumped || rotated;
    let done = Ok(End::Done(Producer::granted(metadata.producer_id, metadata.producer_epoch)));
    match (metadata.state, commit) {
        (TxnState::Ongoing, _) => Ok(End::Decide),
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if is_retry => done,
        // An abort without a transaction still gives the next epoch.
        (TxnState::Empty | TxnState::CompleteAbort, false) => Ok(End::Decide),
        (TxnState::CompleteCommit, false) if !is_retry => Ok(End::Decide),
        (TxnState::PrepareCommit, true) | (TxnState::PrepareAbort, false) => {
            Err(ErrorCode::ConcurrentTransactions)
        }
        (TxnState::CompleteCommit | TxnState::PrepareCommit, _)
        | (TxnState::CompleteAbort | TxnState::PrepareAbort | TxnState::Empty, true) => {
            Err(ErrorCode::InvalidTxnState)
        }
    }
}
