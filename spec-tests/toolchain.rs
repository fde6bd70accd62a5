//! What `dev/toolchain.sh` tells whoever cannot install packages. Debian's commands are small stand-ins.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

/// A machine with Debian's commands, on which nothing is installed and nobody is root.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        let machine = Self(tempfile::tempdir().expect("a folder"));
        for tool in ["sh", "sed", "sort", "head", "cut", "env"] {
            let path = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
            let path = path.iter().find(|path| path.exists()).expect("every system has it");
            symlink(path, machine.0.path().join(tool)).expect("linked");
        }
        machine.command("id", "echo 1000");
        machine.command("dpkg-query", "exit 1");
        machine.command("apt-cache", "[ \"$1\" = show ] || echo '  Candidate: 9.99.0+dfsg-1'");
        machine.command("apt-get", "echo \"apt-get $*\"");
        machine
    }

    fn command(&self, name: &str, script: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("may be run");
    }

    /// What a function of the script says, and whether it went on.
    fn run(&self, call: &str) -> (String, bool) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
        let output = Command::new(self.0.path().join("sh"))
            .args(["-euc", &format!(". dev/toolchain.sh; {call}")])
            .current_dir(root)
            .env_clear()
            .env("PATH", self.0.path())
            .env("HOME", self.0.path())
            .env("DEPESCHE_ROOT", root)
            .env("https_proxy", "http://proxy:3128")
            .output()
            .expect("a shell");
        (String::from_utf8_lossy(&output.stderr).into_owned(), output.status.success())
    }
}

const BY_HAND: &str = "\n    apt-get update && apt-get install -y --no-install-recommends ";

#[test]
fn who_cannot_become_root_is_shown_all_that_is_missing_at_once() {
    let machine = Machine::new();
    let (said, went_on) = machine.run("need_build");
    let all = "ca-certificates build-essential pkg-config libclang1-14 libclang-common-14-dev rustc-web cargo-web\n";
    assert!(!went_on && said.ends_with(&format!("{BY_HAND}{all}")), "{said}");
    let (said, went_on) = machine.run("need_rust clippy");
    assert!(!went_on && said.ends_with(&format!("{BY_HAND}rustc-web cargo-web rust-web-clippy\n")), "{said}");
}

#[test]
fn sudo_gets_the_proxy() {
    let machine = Machine::new();
    machine.command("sudo", "echo \"sudo $*\"");
    let (said, went_on) = machine.run("need_packages pkg-config");
    assert!(went_on, "{said}");
    for line in [" -o DPkg::Lock::Timeout=300 update", " install -y --no-install-recommends --no-remove pkg-config"] {
        assert!(said.lines().any(|said| said.ends_with(line)), "{said}");
    }
    assert!(said.starts_with("sudo env https_proxy=http://proxy:3128 env "), "{said}");
}

#[test]
fn a_conflict_with_an_older_rust_ends_in_advice() {
    let machine = Machine::new();
    machine.command("sudo", "case $* in *install*) exit 100;; esac");
    let (said, went_on) = machine.run("need_rust");
    assert!(!went_on && said.contains("apt-get remove rustc cargo") && said.contains("https://sh.rustup.rs"), "{said}");
}
