use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use harness::Result;

use crate::samples::printed_by;

/// What a program did on one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) instructions: u64,
    /// Instructions that keep other processors from a cache line meanwhile. Known for x86 only.
    pub(super) locked: u64,
    pub(super) allocations: u64,
}

const ALLOCATORS: [&str; 5] = [
    "aligned_alloc",
    "calloc",
    "malloc",
    "posix_memalign",
    "realloc",
];

/// The addresses of the locked instructions of each program and library, as objdump shows them.
#[derive(Debug, Default)]
pub(super) struct Disassembly(HashMap<String, HashSet<u64>>);

impl Disassembly {
    fn locked(&mut self, object: &str) -> Result<&HashSet<u64>> {
        if !self.0.contains_key(object) {
            let locked = match Path::new(object).exists() {
                true => locked_in(&printed_by(
                    Command::new("objdump")
                        .args(["--disassemble", "--no-show-raw-insn"])
                        .arg(object),
                )?),
                false => HashSet::new(),
            };
            self.0.insert(object.to_owned(), locked);
        }
        Ok(&self.0[object])
    }
}

fn locked_in(disassembly: &str) -> HashSet<u64> {
    let address = |line: &str| {
        let (address, instruction) = line.trim_start().split_once(":\t")?;
        // An exchange with memory locks without being asked to.
        let exchanges = instruction.starts_with("xchg") && instruction.contains('(');
        let is_locked = exchanges || instruction.starts_with("lock ");
        is_locked
            .then(|| u64::from_str_radix(address, 16).ok())
            .flatten()
    };
    disassembly.lines().filter_map(address).collect()
}

/// The counts in a file of callgrind, which was asked for every instruction and for no compression.
pub(super) fn counts(file: &Path, disassembly: &mut Disassembly) -> Result<Counts> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let mut counts = Counts::default();
    let (mut function, mut called) = ("", "");
    let mut locked = &HashSet::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(object) = line.strip_prefix("ob=") {
            locked = disassembly.locked(object)?;
        } else if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if let Some(name) = line.strip_prefix("cfn=") {
            called = name;
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let count: u64 = first(calls).parse()?;
            if ALLOCATORS.contains(&called) && !ALLOCATORS.contains(&function) {
                counts.allocations += count;
            }
            // What was called has counted its own instructions.
            lines.next();
        } else if line.starts_with("0x") {
            let mut words = line.split_whitespace();
            let address = words.next().and_then(|word| word.strip_prefix("0x"));
            let address = u64::from_str_radix(address.unwrap_or_default(), 16)?;
            let count: u64 = words.nth(1).unwrap_or("0").parse()?;
            counts.instructions += count;
            if locked.contains(&address) {
                counts.locked += count;
            }
        }
    }
    Ok(counts)
}

fn first(words: &str) -> &str {
    words.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locked_instructions_are_found() {
        let text = "
0000000000001000 <f>:
    1000:\tlock cmpxchg %esi,(%rdi)
    1004:\txchg   %ax,%ax
    1006:\txchg   %al,0x8(%rdi)
    1009:\tmov    (%rdi),%eax
";
        assert_eq!(locked_in(text), HashSet::from([0x1000, 0x1006]));
    }

    #[test]
    fn each_instruction_and_each_call_of_an_allocator_counts_once() -> Result<()> {
        let directory = std::env::temp_dir().join(format!("callgrind-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        let file = directory.join("out-01");
        let text = "positions: instr line
events: Ir

ob=/a
fn=work
0x1000 0 3
cob=/b
cfn=malloc
calls=2 0x9000
0x1004 0 50
0x1006 0 4

ob=/b
fn=malloc
0x9000 0 20
cfn=calloc
calls=1 0x9100
0x9004 0 30
";
        fs::write(&file, text)?;
        let mut disassembly = Disassembly(HashMap::from([
            ("/a".to_owned(), HashSet::from([0x1006, 0x9000])),
            ("/b".to_owned(), HashSet::new()),
        ]));
        let counts = counts(&file, &mut disassembly)?;
        fs::remove_dir_all(&directory)?;
        let expected = Counts {
            instructions: 27,
            locked: 4,
            allocations: 2,
        };
        assert_eq!(counts, expected);
        Ok(())
    }
}
