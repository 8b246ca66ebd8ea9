use harness::{Durability, Result, Workload};
use serde::{Deserialize, Serialize};

/// What is asked of a peer in one measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) workload: Workload,
    pub(crate) tasks: usize,
    pub(crate) durability: Durability,
    pub(crate) rows: u64,
    /// How much slower every fsync is made, in microseconds; none: the shim is not loaded.
    pub(crate) fsync_us: Option<u64>,
}

/// What `--workloads` can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Columns(&'static str),
    Tasks,
    Rows,
    Fsync,
    Growth,
}

pub(crate) const GROUPS: [Group; 12] = [
    Group::Columns("a"),
    Group::Columns("b"),
    Group::Columns("c"),
    Group::Columns("d"),
    Group::Columns("e"),
    Group::Columns("f"),
    Group::Columns("g"),
    Group::Columns("empty"),
    Group::Tasks,
    Group::Rows,
    Group::Fsync,
    Group::Growth,
];

/// A column of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// What `--workloads` calls it; N and F are the durability.
    pub(crate) name: &'static str,
    /// What the head of a table calls it, without the durability.
    pub(crate) meaning: &'static str,
    pub(crate) title: &'static str,
    pub(crate) setting: Setting,
}

const MANY: usize = 64;
const ROWS: u64 = 100_000;

const fn column(
    name: &'static str,
    meaning: &'static str,
    title: &'static str,
    workload: Workload,
    tasks: usize,
    durability: Durability,
) -> Column {
    Column {
        name,
        meaning,
        title,
        setting: Setting {
            workload,
            tasks,
            durability,
            rows: ROWS,
            fsync_us: None,
        },
    }
}

pub(crate) const COLUMNS: [Column; 12] = {
    use Durability::{Full, Normal};
    use Workload::{Increment, Insert, Mix, Nothing, Open, Read};
    [
        column("a", "1 reader", "point read, 1 task", Read, 1, Full),
        column("b", "64 readers", "point read, 64 tasks", Read, MANY, Full),
        column(
            "c N",
            "1 writer",
            "insert, 1 task, NORMAL",
            Insert,
            1,
            Normal,
        ),
        column("c F", "1 writer", "insert, 1 task, FULL", Insert, 1, Full),
        column(
            "d N",
            "64 writers",
            "insert, 64 tasks, NORMAL",
            Insert,
            MANY,
            Normal,
        ),
        column(
            "d F",
            "64 writers",
            "insert, 64 tasks, FULL",
            Insert,
            MANY,
            Full,
        ),
        column(
            "e N",
            "90 % reads",
            "90 % reads, 64 tasks, NORMAL",
            Mix,
            MANY,
            Normal,
        ),
        column(
            "e F",
            "90 % reads",
            "90 % reads, 64 tasks, FULL",
            Mix,
            MANY,
            Full,
        ),
        column(
            "f N",
            "one hot row",
            "hot row, 64 tasks, NORMAL",
            Increment,
            MANY,
            Normal,
        ),
        column(
            "f F",
            "one hot row",
            "hot row, 64 tasks, FULL",
            Increment,
            MANY,
            Full,
        ),
        column("g", "open", "open → first query", Open, 1, Full),
        column("empty", "empty call", "empty body", Nothing, 1, Full),
    ]
};

pub(crate) const TASKS: [usize; 6] = [1, 4, 16, 64, 256, 1024];
pub(crate) const TABLE_SIZES: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];
pub(crate) const FSYNC_DELAYS_US: [u64; 4] = [0, 1_000, 5_000, 20_000];

pub(crate) fn reads(tasks: usize, rows: u64) -> Setting {
    Setting {
        workload: Workload::Read,
        tasks,
        durability: Durability::Full,
        rows,
        fsync_us: None,
    }
}

pub(crate) fn inserts(tasks: usize, fsync_us: Option<u64>) -> Setting {
    Setting {
        workload: Workload::Insert,
        tasks,
        durability: Durability::Full,
        rows: ROWS,
        fsync_us,
    }
}

pub(crate) fn reads_by_tasks() -> Vec<Setting> {
    TASKS.map(|tasks| reads(tasks, ROWS)).to_vec()
}

pub(crate) fn inserts_by_tasks() -> Vec<Setting> {
    TASKS.map(|tasks| inserts(tasks, None)).to_vec()
}

pub(crate) fn reads_by_rows() -> Vec<Setting> {
    TABLE_SIZES.map(|rows| reads(1, rows)).to_vec()
}

pub(crate) fn inserts_by_fsync() -> Vec<Setting> {
    FSYNC_DELAYS_US
        .map(|delay| inserts(MANY, Some(delay)))
        .to_vec()
}

impl Column {
    /// The head of the column where both durabilities are shown.
    pub(crate) fn head(&self) -> String {
        let Self { name, meaning, .. } = self;
        match name.split_once(' ') {
            Some((_, durability)) => format!("{meaning}, {durability}"),
            None => (*meaning).to_owned(),
        }
    }
}

/// What else grows, once each: by the number of calls, rows or databases.
pub(crate) fn grown() -> [Setting; 5] {
    use Workload::{Body, DropInserts, DropReads, Managers, Rows};
    let of = |workload, tasks, rows| Setting {
        workload,
        tasks,
        ..reads(tasks, rows)
    };
    [
        of(DropReads, 80_000, 1_000),
        of(DropInserts, 80_000, 1_000),
        of(Managers, 1_000, 1_000),
        of(Rows, 1, ROWS),
        of(Body, 1, ROWS),
    ]
}

impl Group {
    pub(crate) fn is_growth(self) -> bool {
        !matches!(self, Self::Columns(_))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Columns(name) => name,
            Self::Tasks => "tasks",
            Self::Rows => "rows",
            Self::Fsync => "fsync",
            Self::Growth => "growth",
        }
    }

    fn settings(self) -> Vec<Setting> {
        match self {
            Self::Columns(name) => COLUMNS
                .iter()
                .filter(|column| column.name.split(' ').next() == Some(name))
                .map(|column| column.setting)
                .collect(),
            Self::Tasks => [reads_by_tasks(), inserts_by_tasks()].concat(),
            Self::Rows => reads_by_rows(),
            Self::Fsync => inserts_by_fsync(),
            Self::Growth => grown().to_vec(),
        }
    }
}

pub(crate) fn group(name: &str) -> Result<Group> {
    let names = || GROUPS.map(Group::name).join(", ");
    GROUPS
        .into_iter()
        .find(|group| group.name() == name)
        .ok_or_else(|| format!("no workload {name:?}; there are {}", names()).into())
}

/// Every setting of the groups, once each.
pub(crate) fn settings(groups: &[Group]) -> Vec<Setting> {
    let mut all: Vec<Setting> = Vec::new();
    for setting in groups.iter().flat_map(|group| group.settings()) {
        if !all.contains(&setting) {
            all.push(setting);
        }
    }
    all
}
