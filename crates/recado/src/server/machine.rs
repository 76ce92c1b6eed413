//! Which machine this is, as far as it tells.

/// Where systems keep the id that they drew when they were installed.
const FILES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The id of the machine; `None` where there is none, as in most containers. A host name would be no
/// help: a container gets a new one with each start.
pub(super) fn id() -> Option<String> {
    FILES.iter().find_map(|file| {
        let text = std::fs::read_to_string(file).ok()?;
        // Images that draw it at their first start say `uninitialized` until then.
        let id = text.trim();
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| id.to_owned())
    })
}
