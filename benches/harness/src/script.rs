use crate::{Job, Workload};

/// One step of a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Read(i64),
    Insert,
    Increment,
    Nothing,
    Rows,
    Body,
}

/// The steps of one task: the same for every peer, different for every task.
#[derive(Debug)]
pub(crate) struct Script {
    workload: Workload,
    rows: u64,
    state: u64,
}

impl Script {
    pub(crate) fn new(job: &Job, task: usize) -> Self {
        let state = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(task as u64 + 1);
        Self {
            workload: job.workload,
            rows: job.rows,
            state,
        }
    }

    pub(crate) fn next(&mut self) -> Step {
        match self.workload {
            Workload::Read | Workload::Open | Workload::Managers => self.read(),
            Workload::Insert => Step::Insert,
            Workload::Mix => match self.below(10) {
                0 => Step::Insert,
                _ => self.read(),
            },
            Workload::Increment => Step::Increment,
            Workload::Nothing | Workload::DropReads | Workload::DropInserts => Step::Nothing,
            Workload::Rows => Step::Rows,
            Workload::Body => Step::Body,
        }
    }

    fn read(&mut self) -> Step {
        Step::Read(self.below(self.rows) as i64 + 1)
    }

    /// xorshift64*, scaled: even enough for keys, and a few nanoseconds.
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let random = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D);
        ((u128::from(random) * u128::from(bound)) >> 64) as u64
    }
}
