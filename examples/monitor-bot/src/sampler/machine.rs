//! This machine, as sysinfo sees it.

use std::collections::BTreeMap;
use std::time::Instant;

use sysinfo::{
    Components, Disk, DiskRefreshKind, Disks, MINIMUM_CPU_UPDATE_INTERVAL, Networks, Process,
    ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System,
};

use super::{self as sampler, Reading, Sampler};
use crate::error::Error;
use crate::metric::{Kind, Metric, bytes};

/// This machine; what it lacks (swap, sensors) is left out of its readings.
#[derive(Debug)]
pub struct Machine {
    system: System,
    disks: Option<Disks>,
    networks: Option<Networks>,
    components: Option<Components>,
    host: String,
    network_read: Instant,
}

/// What this machine is called.
pub fn host_name() -> String {
    System::host_name().unwrap_or_else(|_| "this machine".to_owned())
}

impl Machine {
    /// Takes a moment, for the load of a processor needs two looks.
    pub fn new() -> Result<Self, Error> {
        let mut system =
            System::new().map_err(|error| refused!("This machine cannot be measured: {error}."))?;
        system.refresh_cpu_usage();
        std::thread::sleep(MINIMUM_CPU_UPDATE_INTERVAL);
        let name = host_name();
        let os = System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.to_owned());
        Ok(Self {
            system,
            disks: Disks::new().ok(),
            networks: Networks::new_with_refreshed_list().ok(),
            components: Components::new().ok(),
            host: format!("{name} · {os}"),
            network_read: Instant::now(),
        })
    }
}

impl Sampler for Machine {
    fn read(&mut self, at: i64, watched: &[String]) -> Reading {
        let mut reading = Reading {
            at,
            host: self.host.clone(),
            samples: Vec::new(),
        };
        self.processor(&mut reading);
        self.memory(&mut reading);
        self.disks(&mut reading);
        self.network(&mut reading);
        self.temperatures(&mut reading);
        if let Ok(uptime) = System::uptime() {
            reading.add(Metric::whole(Kind::Uptime), uptime as f64, "");
        }
        self.watched(&mut reading, watched);
        reading
    }

    fn processes(&mut self) -> Vec<sampler::Process> {
        self.refresh_processes();
        std::thread::sleep(MINIMUM_CPU_UPDATE_INTERVAL);
        self.refresh_processes();
        let all = self.system.processes().values();
        all.map(|process| sampler::Process {
            id: process.pid().as_u32(),
            name: process.name().to_string_lossy().into_owned(),
            cpu: process.cpu_usage().into(),
            memory: process.memory() as f64,
        })
        .collect()
    }
}

impl Machine {
    fn refresh_processes(&mut self) {
        // Linux has threads among the processes, each with the memory of all.
        let wanted = ProcessRefreshKind::nothing().without_tasks();
        let wanted = wanted.with_cpu().with_memory();
        self.system
            .refresh_processes_specifics(ProcessesToUpdate::All, true, wanted);
    }

    fn processor(&mut self, reading: &mut Reading) {
        self.system.refresh_cpu_usage();
        let cores = self.system.cpus();
        let (total, note) = (
            self.system.global_cpu_usage(),
            format!("{} cores", cores.len()),
        );
        reading.add(Metric::whole(Kind::Cpu), total.into(), note);
        for (number, core) in cores.iter().enumerate() {
            let metric = Metric::part(Kind::Cpu, number.to_string());
            reading.add(metric, core.usage().into(), "");
        }
        if let Ok(load) = System::load_average() {
            reading.add(Metric::whole(Kind::Load), load.one, "");
            reading.add(Metric::part(Kind::Load, "5"), load.five, "");
            reading.add(Metric::part(Kind::Load, "15"), load.fifteen, "");
        }
    }

    fn memory(&mut self, reading: &mut Reading) {
        self.system.refresh_memory();
        let total = self.system.total_memory();
        let used = total.saturating_sub(self.system.available_memory());
        share(reading, Metric::whole(Kind::Memory), used, total);
        let (used, total) = (self.system.used_swap(), self.system.total_swap());
        share(reading, Metric::whole(Kind::Swap), used, total);
    }

    fn disks(&mut self, reading: &mut Reading) {
        let Some(disks) = &mut self.disks else { return };
        disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        // One device may be mounted in many places, as in a container: its shortest mount point stands for it.
        let mut devices = BTreeMap::new();
        for disk in disks.iter().filter(|disk| disk.total_space() > 0) {
            let device = (disk.name().to_os_string(), disk.total_space());
            let shortest: &mut &Disk = devices.entry(device).or_insert(disk);
            if disk.mount_point().as_os_str().len() < shortest.mount_point().as_os_str().len() {
                *shortest = disk;
            }
        }
        let by_mount = |disk: &Disk| {
            (
                disk.mount_point().to_string_lossy().into_owned(),
                space(disk),
            )
        };
        let found: BTreeMap<_, _> = devices.into_values().map(by_mount).collect();
        let shares = found.values().map(|(used, all)| percent(*used, *all));
        if let Some(fullest) = shares.reduce(f64::max) {
            reading.add(Metric::whole(Kind::Disk), fullest, "the fullest");
        }
        for (mount, (used, all)) in found {
            share(reading, Metric::part(Kind::Disk, mount), used, all);
        }
    }

    fn network(&mut self, reading: &mut Reading) {
        let Some(networks) = &mut self.networks else {
            return;
        };
        networks.refresh(true);
        let seconds = self.network_read.elapsed().as_secs_f64().max(0.001);
        self.network_read = Instant::now();
        let rate = |bytes: u64| bytes as f64 / seconds;
        let interfaces: BTreeMap<_, _> = networks
            .iter()
            .filter(|(name, data)| {
                *name != "lo" && data.total_received() + data.total_transmitted() > 0
            })
            .map(|(name, data)| {
                let rates = [rate(data.received()), rate(data.transmitted())];
                (name.to_string_lossy().into_owned(), rates)
            })
            .collect();
        for (way, kind) in [Kind::Rx, Kind::Tx].into_iter().enumerate() {
            let whole = interfaces.values().map(|rates| rates[way]).sum();
            reading.add(Metric::whole(kind), whole, "");
            for (name, rates) in &interfaces {
                reading.add(Metric::part(kind, name), rates[way], "");
            }
        }
    }

    fn temperatures(&mut self, reading: &mut Reading) {
        let Some(components) = &mut self.components else {
            return;
        };
        components.refresh(true);
        // Of several with one name, the hottest.
        let mut sensors = BTreeMap::new();
        for sensor in components.iter() {
            if let Some(degrees) = sensor.temperature().map(f64::from) {
                let hottest = sensors.entry(sensor.label()).or_insert(degrees);
                *hottest = hottest.max(degrees);
            }
        }
        let of_processor = sensors
            .iter()
            .filter(|(label, _)| measures_processor(label));
        let processor = of_processor.map(|(_, degrees)| *degrees);
        if let Some(hottest) = processor.reduce(f64::max) {
            reading.add(Metric::whole(Kind::Temperature), hottest, "the processor");
        }
        for (label, degrees) in sensors {
            reading.add(Metric::part(Kind::Temperature, label), degrees, "");
        }
    }

    fn watched(&mut self, reading: &mut Reading, watched: &[String]) {
        if watched.is_empty() {
            return;
        }
        self.refresh_processes();
        for name in watched {
            let found: Vec<_> = self
                .system
                .processes()
                .values()
                .filter(|process| is_called(process, name))
                .collect();
            let note = match found.len() {
                0 | 1 => String::new(),
                several => format!("{several} processes"),
            };
            let runs = f64::from(u8::from(!found.is_empty()));
            reading.add(Metric::part(Kind::Process, name), runs, note);
            if !found.is_empty() {
                let cpu = found.iter().map(|process| f64::from(process.cpu_usage()));
                let memory = found.iter().map(|process| process.memory() as f64);
                reading.add(Metric::part(Kind::ProcessCpu, name), cpu.sum(), "");
                reading.add(Metric::part(Kind::ProcessMemory, name), memory.sum(), "");
            }
        }
    }
}

/// Whether a living process has this name, of which Linux keeps only the first 15 bytes.
fn is_called(process: &Process, name: &str) -> bool {
    const KEPT: usize = 15;
    let bytes = process.name().as_encoded_bytes();
    let same =
        bytes == name.as_bytes() || (bytes.len() == KEPT && name.as_bytes().starts_with(bytes));
    same && !matches!(
        process.status(),
        ProcessStatus::Zombie | ProcessStatus::Dead
    )
}

/// The bytes of a disk that are used, and all that can be: without those that only root may use, as `df` counts.
fn space(disk: &Disk) -> (u64, u64) {
    // Apple's file systems reserve nothing, and their statvfs counts in too few bits.
    #[cfg(all(unix, not(target_vendor = "apple")))]
    if let Ok(blocks) = rustix::fs::statvfs(disk.mount_point()) {
        let used = blocks.f_blocks.saturating_sub(blocks.f_bfree);
        let all = used.saturating_add(blocks.f_bavail);
        let bytes = |count: u64| count.saturating_mul(blocks.f_frsize);
        return (bytes(used), bytes(all));
    }
    let all = disk.total_space();
    (all.saturating_sub(disk.available_space()), all)
}

/// Adds a share in percent, where there is a whole to have a share of.
fn share(reading: &mut Reading, metric: Metric, used: u64, all: u64) {
    if all > 0 {
        let note = format!("{} of {}", bytes(used as f64), bytes(all as f64));
        reading.add(metric, percent(used, all), note);
    }
}

fn percent(used: u64, all: u64) -> f64 {
    used as f64 * 100.0 / all as f64
}

fn measures_processor(label: &str) -> bool {
    let label = label.to_ascii_lowercase();
    ["cpu", "core", "tctl", "tdie", "package", "soc"]
        .iter()
        .any(|word| label.contains(word))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_no_process() {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || stopped.recv());
        let mut machine = Machine::new().unwrap();
        let all = machine.processes();
        let ids: Vec<_> = all.iter().map(|process| process.id).collect();
        assert!(ids.contains(&std::process::id()));
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let task: u32 = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
            assert!(task == std::process::id() || !ids.contains(&task));
        }
        drop(stop);
        thread.join().unwrap().unwrap_err();
    }

    #[test]
    fn a_disk_is_as_full_as_df_says() {
        let reading = Machine::new().unwrap().read(0, &[]);
        let disks = reading.samples.iter().filter_map(|sample| {
            let mount = sample.metric.part.as_ref()?;
            (sample.metric.kind == Kind::Disk).then_some((mount, sample.value))
        });
        for (mount, percent) in disks {
            let output = std::process::Command::new("df")
                .args(["-P", mount])
                .output();
            let table = String::from_utf8(output.unwrap().stdout).unwrap();
            let full = table.lines().nth(1).unwrap().split_whitespace().nth(4);
            let full: f64 = full.unwrap().trim_end_matches('%').parse().unwrap();
            // It rounds up; and others may write meanwhile.
            assert!((full - percent).abs() < 2.0, "{mount}: {percent}, {table}");
        }
    }
}
