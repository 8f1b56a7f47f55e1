//! What the figures were measured on.

use std::fs;
use std::path::Path;

use crate::threads::cores;

/// Prints what a reader has to know about the machine, and about the disk of `dir` if one is used.
pub fn disclose(dir: Option<&Path>) {
    for (name, value) in describe(dir) {
        eprintln!("{name:>11}: {value}");
    }
}

/// What [`disclose`] prints: names and values.
#[must_use]
pub fn describe(dir: Option<&Path>) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut line = |name: &str, value: String| lines.push((name.to_owned(), value));
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    line("cpu", format!("{cpu}, {} hardware threads usable", cores()));
    line("governor", first("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    let release = first("/proc/sys/kernel/osrelease");
    line("kernel", format!("{} {release}", first("/proc/sys/kernel/ostype")));
    line("huge pages", first("/sys/kernel/mm/transparent_hugepage/enabled"));
    line("load", first("/proc/loadavg"));
    if let Some(mount) = dir.and_then(Mount::of) {
        let Mount { point, kind, options, device } = &mount;
        line("filesystem", format!("{kind} on {point} ({options})"));
        let disk = format!("/sys/dev/block/{device}");
        // The queue of a partition is its disk's.
        let queue = [format!("{disk}/queue"), format!("{disk}/../queue")]
            .into_iter()
            .find(|queue| Path::new(queue).is_dir());
        if let Some(queue) = queue {
            let names = ["scheduler", "write_cache", "fua", "rotational", "logical_block_size"];
            let values = names.map(|name| format!("{name} {}", first(&format!("{queue}/{name}"))));
            line("disk", values.join(", "));
        }
    }
    lines
}

/// CPU time that everybody but this process has used since boot, in ticks of 10 ms over all cores;
/// `None` where the system does not tell. The kernel's own threads count as somebody else.
#[must_use]
pub fn foreign_ticks() -> Option<u64> {
    let all = first("/proc/stat");
    // cpu user nice system idle iowait irq softirq
    let all: Vec<u64> =
        all.split_whitespace().skip(1).map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy: u64 = all.get(..3)?.iter().sum();
    let own = first("/proc/self/stat");
    // Fields 14 and 15, counted behind the name, which may hold spaces.
    let own = own.rsplit_once(')')?.1;
    let own: Option<u64> =
        own.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().ok()).sum();
    Some(busy.saturating_sub(own?))
}

/// The first line of a file, or "unknown".
fn first(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().map_or_else(|| "unknown".to_owned(), |line| line.trim().to_owned())
}

/// The value of the first line `name : value` of a file.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What a directory is on.
pub(crate) struct Mount {
    point: String,
    kind: String,
    options: String,
    /// Major and minor number, with a colon.
    pub(crate) device: String,
}

impl Mount {
    /// The mount that `dir` lies in: the longest mount point that is a prefix of it.
    pub(crate) fn of(dir: &Path) -> Option<Self> {
        let dir = dir.canonicalize().ok()?;
        let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mounts = table.lines().filter_map(Self::parse);
        // Of two mounts on one point the later one hides the earlier, and `max_by_key` keeps it.
        mounts.filter(|mount| dir.starts_with(&mount.point)).max_by_key(|mount| mount.point.len())
    }

    /// One line of `mountinfo`: `id parent major:minor root point options [tag]* - type source
    /// super-options`.
    fn parse(line: &str) -> Option<Self> {
        let (mount, device) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let device: Vec<&str> = device.split(' ').collect();
        Some(Self {
            point: (*mount.get(4)?).to_owned(),
            kind: (*device.first()?).to_owned(),
            options: format!("{};{}", mount.get(5)?, device.get(2)?),
            device: (*mount.get(2)?).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_line_with_optional_tags_is_understood() {
        let line = "29 1 254:0 / /data rw,relatime shared:1 - ext4 /dev/vda rw,discard";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.point.as_str(), mount.kind.as_str()), ("/data", "ext4"));
        assert_eq!(mount.options, "rw,relatime;rw,discard");
        assert_eq!(mount.device, "254:0");
        assert!(Mount::parse("29 1 254:0 / /data").is_none());
    }
}
