//! Where things are: the workspace's root, its target folder, what provisioning may write.

use std::env;
use std::path::{Path, PathBuf};

/// Folders of this checkout. Nothing is written outside `target`.
#[derive(Debug)]
pub struct Workspace {
    /// The checkout.
    pub root: PathBuf,
    /// Cargo's target folder.
    pub target: PathBuf,
}

impl Workspace {
    /// Found from the manifest of this crate, so that any working directory will do.
    pub fn find() -> Workspace {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().unwrap_or(Path::new(".")).to_path_buf();
        let target =
            env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
        Workspace { root, target }
    }

    /// Clients, tools and jars.
    pub fn provision(&self) -> PathBuf {
        self.target.join("provision")
    }

    /// Logs and data folders of the last run.
    pub fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// Whether a missing part is a failure.
    pub fn is_ci() -> bool {
        env::var("CI").is_ok_and(|value| value == "true" || value == "1")
    }
}
