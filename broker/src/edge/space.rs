//! How large the disk of a folder is, and how much of it this process may still fill.
//!
//! Asked by a shard's thread about once a second, for DescribeLogDirs; a local file
//! system answers from memory.
#![expect(unsafe_code, reason = "statvfs has no safe counterpart in the standard library")]

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Bytes in all, and bytes that are free for an ordinary user. `None`: the system does not say.
pub(super) fn of(folder: &Path) -> Option<(u64, u64)> {
    let path = CString::new(folder.as_os_str().as_bytes()).ok()?;
    let mut answer = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends with a zero byte and `answer` has room for what is written; both outlive
    // the call, which keeps neither address.
    let done = unsafe { libc::statvfs(path.as_ptr(), answer.as_mut_ptr()) };
    if done != 0 {
        return None;
    }
    // SAFETY: the call said that it filled it.
    let answer = unsafe { answer.assume_init() };
    let total = answer.f_blocks.checked_mul(answer.f_frsize)?;
    let usable = answer.f_bavail.checked_mul(answer.f_frsize)?;
    Some((total, usable))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn a_folder_that_is_there_has_a_size_and_one_that_is_not_has_none() {
        let (total, usable) = super::of(&std::env::temp_dir()).expect("the disk has a size");
        assert!(total > 0 && usable <= total, "{usable} of {total}");
        assert_eq!(super::of(Path::new("/no/such/folder")), None);
    }
}
