//! What a power loss leaves of a directory: what was synced, and whatever else the system had written by then.

#![allow(clippy::unwrap_used, clippy::missing_panics_doc)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Dice;

/// One change, as the shim records it.
#[derive(Debug, Clone)]
pub enum Change {
    /// A directory was made.
    Mkdir(PathBuf),
    /// A file was made.
    Create(PathBuf),
    /// Data was written at an offset.
    Write(PathBuf, usize, Arc<[u8]>),
    /// A file got this length.
    Truncate(PathBuf, usize),
    /// A file or directory was synced.
    Sync(PathBuf),
    /// A name was removed.
    Unlink(PathBuf),
    /// A file got another name.
    Rename(PathBuf, PathBuf),
    /// A file got one name more.
    Link(PathBuf, PathBuf),
    /// The program said this.
    Say(String),
}

/// Reads what the shim has recorded.
#[must_use]
pub fn read_record(record: &Path) -> Vec<Change> {
    let bytes = fs::read(record).unwrap();
    let mut rest = bytes.as_slice();
    let mut changes = Vec::new();
    while !rest.is_empty() {
        changes.push(read_change(&mut rest));
    }
    changes
}

fn read_change(rest: &mut &[u8]) -> Change {
    let line = take_line(rest);
    let (what, operand) = line.split_once(' ').unwrap();
    let path = PathBuf::from(operand);
    match what {
        "mkdir" => Change::Mkdir(path),
        "create" => Change::Create(path),
        "sync" => Change::Sync(path),
        "unlink" => Change::Unlink(path),
        "rename" => Change::Rename(path, take_line(rest).into()),
        "link" => Change::Link(path, take_line(rest).into()),
        "truncate" => {
            let (length, path) = operand.split_once(' ').unwrap();
            Change::Truncate(path.into(), length.parse().unwrap())
        }
        "write" => {
            let mut words = operand.splitn(3, ' ');
            let mut number = || words.next().unwrap().parse().unwrap();
            let (length, offset) = (number(), number());
            let data = take(rest, length).into();
            Change::Write(words.next().unwrap().into(), offset, data)
        }
        "say" => {
            let text = take(rest, operand.parse().unwrap()).to_vec();
            Change::Say(String::from_utf8(text).unwrap())
        }
        _ => unreachable!("{line}"),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(length);
    *rest = left;
    taken
}

fn take_line(rest: &mut &[u8]) -> String {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap();
    let line = String::from_utf8(take(rest, end).to_vec()).unwrap();
    take(rest, 1);
    line
}

/// A file system that knows what of it is durable.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

#[derive(Debug, Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(usize, Arc<[u8]>),
    Truncate(usize),
}

/// The part of a file that a disk writes whole or not at all.
const SECTOR: usize = 512;

impl Disk {
    /// A directory that has been there for long.
    #[must_use]
    pub fn of(directory: &Path) -> Self {
        let mut disk = Self::default();
        disk.add(directory);
        disk.durable = disk.names.clone();
        disk
    }

    fn add(&mut self, path: &Path) {
        if path.is_dir() {
            self.names.insert(path.to_owned(), Node::Directory);
            for entry in fs::read_dir(path).unwrap() {
                self.add(&entry.unwrap().path());
            }
            return;
        }
        let file = self.new_file(path);
        file.durable = fs::read(path).unwrap();
    }

    fn new_file(&mut self, path: &Path) -> &mut File {
        let node = Node::File(self.files.len());
        self.names.insert(path.to_owned(), node);
        self.files.push(File::default());
        self.files.last_mut().unwrap()
    }

    /// Does what was done.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Mkdir(path) => {
                self.names.insert(path.clone(), Node::Directory);
            }
            Change::Create(path) => {
                self.new_file(path);
            }
            Change::Write(path, offset, data) => {
                self.change(path, Pending::Write(*offset, Arc::clone(data)));
            }
            Change::Truncate(path, length) => self.change(path, Pending::Truncate(*length)),
            Change::Sync(path) => self.sync(path),
            Change::Unlink(path) => {
                self.names.remove(path);
            }
            Change::Rename(from, to) => {
                let node = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), node);
            }
            Change::Link(from, to) => {
                self.names.insert(to.clone(), self.names[from]);
            }
            Change::Say(_) => {}
        }
    }

    /// A file without a name (a temporary one) leaves nothing behind.
    fn change(&mut self, path: &Path, pending: Pending) {
        if let Some(Node::File(file)) = self.names.get(path) {
            self.files[*file].pending.push(pending);
        }
    }

    fn sync(&mut self, path: &Path) {
        match self.names.get(path) {
            Some(Node::File(file)) => {
                let file = &mut self.files[*file];
                for pending in std::mem::take(&mut file.pending) {
                    perform(&mut file.durable, &pending);
                }
            }
            Some(Node::Directory) => {
                let is_inside = |name: &Path| name.parent() == Some(path);
                self.durable.retain(|name, _| !is_inside(name));
                let inside = self.names.iter().filter(|(name, _)| is_inside(name));
                self.durable
                    .extend(inside.map(|(name, node)| (name.clone(), *node)));
            }
            None => {}
        }
    }

    /// What is there after a power loss: only what was synced, or (with dice) some of the rest too, in any order.
    #[must_use]
    pub fn after_power_loss(&self, dice: &mut Option<Dice>) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
        let mut lucky = || dice.as_mut().is_some_and(|dice| dice.one_in(2));
        let all: BTreeSet<_> = self.names.keys().chain(self.durable.keys()).collect();
        let mut image = BTreeMap::new();
        for name in all {
            let names = if lucky() { &self.names } else { &self.durable };
            let Some(node) = names.get(name) else {
                continue;
            };
            let contents = match node {
                Node::Directory => None,
                Node::File(file) => Some(self.files[*file].after_power_loss(&mut lucky)),
            };
            image.insert(name.clone(), contents);
        }
        // What is in a directory that is lost is lost too.
        let whole = image.clone();
        let root = self.durable.keys().next().cloned();
        image.retain(|name, _| {
            Some(name) == root.as_ref()
                || name
                    .ancestors()
                    .skip(1)
                    .take_while(|ancestor| Some(*ancestor) != root.as_deref())
                    .all(|ancestor| whole.contains_key(ancestor))
        });
        image
    }
}

impl File {
    fn after_power_loss(&self, lucky: &mut impl FnMut() -> bool) -> Vec<u8> {
        let mut contents = self.durable.clone();
        for pending in &self.pending {
            let Pending::Write(offset, data) = pending else {
                if lucky() {
                    perform(&mut contents, pending);
                }
                continue;
            };
            for (index, sector) in data.chunks(SECTOR).enumerate() {
                if lucky() {
                    let part = Pending::Write(offset + index * SECTOR, sector.into());
                    perform(&mut contents, &part);
                }
            }
        }
        contents
    }
}

fn perform(contents: &mut Vec<u8>, pending: &Pending) {
    match pending {
        Pending::Truncate(length) => contents.resize(*length, 0),
        Pending::Write(offset, data) => {
            let end = offset + data.len();
            if contents.len() < end {
                contents.resize(end, 0);
            }
            contents[*offset..end].copy_from_slice(data);
        }
    }
}
