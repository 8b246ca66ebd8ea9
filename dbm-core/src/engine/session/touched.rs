//! Which tables a session has read or written, for live reads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Access, Session};
use crate::engine::db::Db;
use crate::engine::statement::Work;
use crate::engine::touched::Touched;
use crate::live::{Collector, LiveReads};
use crate::sync::lock;
use crate::tables::Tables;

impl Session {
    pub(crate) fn live(&self) -> &Arc<LiveReads> {
        self.conn.live()
    }

    /// It reads for a live read.
    pub(crate) fn set_collector(&self, collector: Arc<Collector>) {
        let _ = self.rare().collector.set(collector);
    }

    fn collector(&self) -> Option<&Arc<Collector>> {
        self.rare.get()?.collector.get()
    }

    /// A call of a live read has failed, or was dropped: it is not known what it would have read.
    pub(crate) fn reads_anything(&self) {
        if let Some(collector) = self.collector() {
            collector.add(&Tables::All);
        }
    }

    pub(super) fn track(&self, db: &mut Db) {
        let on = self.live().is_active();
        db.track(on);
        if on {
            self.tracks.store(true, Ordering::Relaxed);
        }
    }

    /// Records what has just run. `changed` is SQLite's count of the rows that it wrote.
    pub(super) fn note_touched<T>(
        &self,
        db: &mut Db,
        work: &Work<'_, T>,
        read_only: bool,
        changed: u64,
    ) {
        let touched = if let Some(sql) = work.sql() {
            db.touched(sql)
        } else {
            // A closure may do anything. What it has prepared tells nothing about the next statement.
            let _ = db.guard.take_seen();
            None
        };
        if let Some(collector) = self.collector() {
            collector.add(
                touched
                    .as_ref()
                    .map_or(&Tables::All, |touched| &touched.reads),
            );
        }
        if self.access != Access::Write || read_only || !self.tracks.load(Ordering::Relaxed) {
            return;
        }
        let touched = touched.unwrap_or_else(|| Arc::new(Touched::EVERYTHING));
        let writes_rows = matches!(touched.writes, Tables::These(_));
        if touched.writes.is_empty() || (writes_rows && changed == 0) {
            return;
        }
        let mut written = lock(&self.rare().written);
        if written
            .last()
            .is_none_or(|last| !Arc::ptr_eq(last, &touched))
        {
            written.push(touched);
        }
    }

    /// How much is recorded: the mark to which a savepoint goes back.
    pub(crate) fn written(&self) -> usize {
        self.rare.get().map_or(0, |rare| lock(&rare.written).len())
    }

    /// What was written after `mark` is undone.
    pub(crate) fn forget_written(&self, mark: usize) {
        if let Some(rare) = self.rare.get() {
            lock(&rare.written).truncate(mark);
        }
    }

    /// Whether all that the call has written is recorded. What ran before there were live reads is not.
    pub(crate) fn records(&self) -> bool {
        self.tracks.load(Ordering::Relaxed) && self.live().is_active()
    }

    /// All that is recorded.
    pub(super) fn take_written(&self) -> Tables {
        let mut tables = Tables::default();
        if let Some(rare) = self.rare.get() {
            for touched in lock(&rare.written).drain(..) {
                tables.add_all_of(&touched.writes);
            }
        }
        tables
    }
}
