//! Where the nodes are: on loopback, or each in a network namespace of its own that can be cut off.

use std::process::Command;

use crate::Result;

/// How many nodes there are.
pub(crate) const NODES: usize = 3;

/// The network between the nodes, etcd and this process.
pub(crate) enum Network {
    /// All on one machine.
    Loopback,
    /// A bridge, with a cable to each node.
    Namespaces {
        /// Distinguishes runs at the same time.
        run: u32,
    },
}

impl Network {
    pub(crate) fn loopback() -> Self {
        Self::Loopback
    }

    pub(crate) fn namespaces() -> Result<Self> {
        let network = Self::Namespaces {
            run: std::process::id() % 10_000,
        };
        let bridge = network.bridge();
        ip(&format!("link add {bridge} type bridge"))?;
        ip(&format!(
            "addr add {}/24 dev {bridge}",
            network.own_address()
        ))?;
        // etcd has an address of its own, so that it can be out of reach while this process is not.
        ip(&format!(
            "addr add {}/24 dev {bridge}",
            network.etcd_address()
        ))?;
        ip(&format!("link set {bridge} up"))?;
        for node in 0..NODES {
            let (space, cable) = (network.space(node), network.cable(node));
            ip(&format!("netns add {space}"))?;
            ip(&format!(
                "link add {cable} type veth peer name eth0 netns {space}"
            ))?;
            ip(&format!("link set {cable} master {bridge} up"))?;
            ip(&format!(
                "-n {space} addr add {}/24 dev eth0",
                network.address(node)
            ))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(network)
    }

    fn run(&self) -> u32 {
        match self {
            Self::Loopback => 0,
            Self::Namespaces { run } => *run,
        }
    }

    fn bridge(&self) -> String {
        format!("dbm{}", self.run())
    }

    fn space(&self, node: usize) -> String {
        format!("dbm{}-{node}", self.run())
    }

    fn cable(&self, node: usize) -> String {
        format!("dbm{}-{node}", self.run())
    }

    pub(crate) fn address(&self, node: usize) -> String {
        match self {
            Self::Loopback => format!("127.77.0.{}", node + 1),
            Self::Namespaces { .. } => format!("10.77.0.{}", node + 1),
        }
    }

    fn own_address(&self) -> String {
        match self {
            Self::Loopback => "127.77.0.100".to_owned(),
            Self::Namespaces { .. } => "10.77.0.100".to_owned(),
        }
    }

    pub(crate) fn etcd_address(&self) -> String {
        match self {
            Self::Loopback => "127.77.0.101".to_owned(),
            Self::Namespaces { .. } => "10.77.0.101".to_owned(),
        }
    }

    /// The words in front of a program that make it run where this node is.
    pub(crate) fn entry(&self, node: usize) -> Vec<String> {
        match self {
            Self::Loopback => Vec::new(),
            Self::Namespaces { .. } => {
                let words = ["ip", "netns", "exec"].map(ToOwned::to_owned);
                words.into_iter().chain([self.space(node)]).collect()
            }
        }
    }

    /// Nobody hears the node any more.
    pub(crate) fn unplug(&self, node: usize) -> Result<()> {
        ip(&format!("link set {} down", self.cable(node)))
    }

    /// The other nodes and etcd do not hear it any more; the calls do.
    pub(crate) fn cut_off(&self, node: usize) -> Result<()> {
        for address in self.others(node) {
            ip(&format!(
                "-n {} route add blackhole {address}/32",
                self.space(node)
            ))?;
        }
        Ok(())
    }

    /// Takes back what has been done to it.
    pub(crate) fn heal(&self, node: usize) -> Result<()> {
        ip(&format!("link set {} up", self.cable(node)))?;
        for address in self.others(node) {
            // It is there only if the node was cut off from the others alone.
            let _ = ip(&format!(
                "-n {} route del blackhole {address}/32",
                self.space(node)
            ));
        }
        Ok(())
    }

    fn others(&self, node: usize) -> impl Iterator<Item = String> {
        (0..NODES)
            .filter(move |other| *other != node)
            .map(|other| self.address(other))
            .chain([self.etcd_address()])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Self::Namespaces { .. } = self {
            for node in 0..NODES {
                let _ = ip(&format!("netns del {}", self.space(node)));
            }
            let _ = ip(&format!("link del {}", self.bridge()));
        }
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip").args(arguments.split(' ')).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "ip {arguments}: {}",
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
