//! Which machine this is, as far as it tells.

use std::path::Path;

/// Where systems keep the id that they drew when they were installed.
const FILES: [&str; 2] = ["etc/machine-id", "var/lib/dbus/machine-id"];

/// Files that runtimes of containers leave in them.
const OF_CONTAINERS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// Parts of the names of groups in which runtimes put their containers, where they are visible.
const GROUPS: [&str; 5] = ["docker", "kubepods", "containerd", "libpod", "lxc"];

/// The id of the machine; `None` where there is none, and in containers: there it is an image's or a
/// container's own, and changes with each upgrade. A host name would be no help either: a
/// container gets a new one with each start.
pub(super) fn id() -> Option<String> {
    id_below(Path::new("/"))
}

fn id_below(root: &Path) -> Option<String> {
    if is_container(root) {
        return None;
    }
    FILES.iter().find_map(|file| {
        let text = std::fs::read_to_string(root.join(file)).ok()?;
        // Images that draw it at their first start say `uninitialized` until then.
        let id = text.trim();
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
    })
}

/// Whether this looks like a container. The environment of the first process is readable for the
/// process itself, which is the first one in most containers, and for root.
fn is_container(root: &Path) -> bool {
    let left = OF_CONTAINERS.iter().any(|file| root.join(file).exists());
    let read = |file: &str| std::fs::read(root.join(file)).unwrap_or_default();
    let told = read("proc/1/environ")
        .split(|byte| *byte == 0)
        .any(|variable| variable.starts_with(b"container=") && variable.len() > 10);
    let groups = read("proc/1/cgroup");
    let groups = String::from_utf8_lossy(&groups);
    // Their root is laid over an image.
    let mounts = read("proc/self/mountinfo");
    let layered = String::from_utf8_lossy(&mounts).lines().any(|mount| {
        let (place, kind) = mount.split_once(" - ").unwrap_or_default();
        place.split(' ').nth(4) == Some("/") && kind.starts_with("overlay ")
    });
    left || told || layered || GROUPS.iter().any(|part| groups.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_machine_has_an_id_and_a_container_only_that_of_an_image() {
        for (file, content, expected) in [
            ("etc/hostname", "here", true),
            ("proc/1/environ", "container=\0PATH=/bin", true),
            ("proc/1/cgroup", "0::/init.scope\n", true),
            (".dockerenv", "", false),
            ("run/.containerenv", "", false),
            (
                "proc/self/mountinfo",
                "36 25 0:3 / / rw - overlay overlay rw\n",
                false,
            ),
            (
                "proc/self/mountinfo",
                "9 1 8:1 / / rw shared:1 - ext4 /dev/sda1 rw\n36 9 0:3 / /mnt rw - overlay x rw\n",
                true,
            ),
            ("proc/1/environ", "PATH=/bin\0container=podman\0", false),
            ("proc/1/cgroup", "0::/kubepods/pod1/2\n", false),
        ] {
            let root = tempfile::tempdir().unwrap();
            let write = |file: &str, content: &str| {
                let path = root.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            };
            assert_eq!(id_below(root.path()), None);
            write("etc/machine-id", &format!("{ID}\n"));
            write(file, content);
            let found = id_below(root.path());
            assert_eq!(found.as_deref(), expected.then_some(ID), "{file} {content}");
        }
    }
}
