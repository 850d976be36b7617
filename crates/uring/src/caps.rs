//! What the kernel must offer, found out before anything is promised.
//!
//! [`Caps::probe`] makes a small ring, asks for its features and opcodes and registers what a [`crate::Ring`] registers. A
//! refusal becomes a [`Missing`]: one sentence with what is missing, the release that has it, the usual culprit and what to do.
//! Optional set-up flags switch themselves off: without DEFER_TASKRUN (Linux 6.1) the ring asks for COOP_TASKRUN.

use std::{fs, io};

use io_uring::{IoUring, Probe, opcode};
use thiserror::Error;

use crate::buffers::{self, BufferPool, Return};

/// The oldest Linux release that has everything a ring needs. Multishot receive and SINGLE_ISSUER decide it (both 6.0);
/// 6.1 adds DEFER_TASKRUN, which is used where it is there.
pub const RELEASE_NEEDED: &str = "6.0";

/// What this kernel offers beyond the minimum.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Caps {
    /// Completions are worked off only inside `io_uring_enter` (Linux 6.1). Without it: COOP_TASKRUN.
    pub defer_taskrun: bool,
}

impl Caps {
    /// Tries a ring as a shard would make it, with small tables, and throws it away.
    pub fn probe() -> Result<Caps, Missing> {
        let (ring, caps) = build(8, 16)?;
        check_features(&ring)?;
        check_operations(&ring)?;
        ring.submitter()
            .register_files_sparse(4)
            .map_err(|error| refused("a table of direct descriptors", &error))?;
        BufferPool::new(&ring, buffers::GROUP, 2, 4096, Return::AtOnce)
            .map_err(|error| refused("a ring of receive buffers", &error))?;
        Ok(caps)
    }
}

/// Why no ring can be made here. `Display` is one sentence an operator can act on.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Missing {
    /// `io_uring_setup` is not known (ENOSYS).
    #[error(
        "io_uring is missing: this kernel was built without CONFIG_IO_URING, is older than 5.1, or a sandbox such as gVisor stands \
         in its place; run funnel on Linux {RELEASE_NEEDED} or newer with CONFIG_IO_URING=y"
    )]
    Absent,
    /// `kernel.io_uring_disabled` is 1 or 2 (EPERM).
    #[error(
        "io_uring is switched off: kernel.io_uring_disabled is {value} ({}); `sysctl -w kernel.io_uring_disabled=0` allows it{}",
        if *.value == 1 { "only privileged processes may use it" } else { "nobody may use it" },
        if *.value == 1 { ", or put funnel's group into kernel.io_uring_group" } else { "" }
    )]
    SwitchedOff {
        /// The sysctl's value.
        value: i32,
    },
    /// Refused although the sysctl allows it (EPERM, EACCES).
    #[error(
        "io_uring is forbidden ({}): most likely the seccomp filter of a container (Docker's and Podman's default profiles block it) or a \
         security module; allow io_uring_setup, io_uring_enter and io_uring_register, for example with --security-opt seccomp=FILE",
        errno_name(*.errno)
    )]
    Forbidden {
        /// EPERM or EACCES.
        errno: i32,
    },
    /// No memory for the ring (ENOMEM).
    #[error(
        "io_uring got no memory (ENOMEM): the machine or the cgroup is out of it, or on a kernel before 5.12 the limit of locked memory \
         is too low; give funnel more memory, raise `ulimit -l` (LimitMEMLOCK= in systemd), or configure fewer workers"
    )]
    Memory,
    /// No descriptor for the ring (EMFILE, ENFILE).
    #[error(
        "io_uring got no descriptor ({}): the limit of open files is used up; raise `ulimit -n` (LimitNOFILE= in systemd)",
        errno_name(*.errno)
    )]
    Descriptors {
        /// EMFILE or ENFILE.
        errno: i32,
    },
    /// The kernel has io_uring but does not know what we ask of it.
    #[error(
        "this kernel's io_uring is too old: {what} is missing; run funnel on Linux {RELEASE_NEEDED} or newer (6.1 or newer is best)"
    )]
    TooOld {
        /// Features or operations, in words.
        what: String,
    },
    /// Anything else, with the errno.
    #[error("io_uring cannot be used: {what} failed with {}; run funnel on Linux {RELEASE_NEEDED} or newer", errno_name(*.errno))]
    Other {
        /// What was tried.
        what: String,
        /// The errno.
        errno: i32,
    },
}

/// Says why `io_uring_setup` failed with `errno`, given the value of `kernel.io_uring_disabled` (`None`: no such sysctl, before 6.6).
pub fn explain(errno: i32, sysctl: Option<i32>) -> Missing {
    match (errno, sysctl) {
        (libc::ENOSYS, _) => Missing::Absent,
        (libc::EPERM, Some(value)) if value > 0 => Missing::SwitchedOff { value },
        (libc::EPERM | libc::EACCES, _) => Missing::Forbidden { errno },
        (libc::ENOMEM, _) => Missing::Memory,
        (libc::EMFILE | libc::ENFILE, _) => Missing::Descriptors { errno },
        (libc::EINVAL, _) => Missing::TooOld {
            what: "the set-up flag SINGLE_ISSUER".into(),
        },
        _ => Missing::Other {
            what: "io_uring_setup".into(),
            errno,
        },
    }
}

/// Makes a ring with the best flags this kernel takes.
pub(crate) fn build(sq_entries: u32, cq_entries: u32) -> Result<(IoUring, Caps), Missing> {
    let attempt = |defer_taskrun: bool| {
        let mut builder = IoUring::builder();
        builder
            .setup_clamp()
            .setup_cqsize(cq_entries)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_taskrun_flag();
        if defer_taskrun {
            builder.setup_defer_taskrun();
        } else {
            builder.setup_coop_taskrun();
        }
        builder
            .dontfork()
            .build(sq_entries)
            .map(|ring| (ring, Caps { defer_taskrun }))
    };
    attempt(true)
        .or_else(|error| {
            if error.raw_os_error() == Some(libc::EINVAL) {
                attempt(false)
            } else {
                Err(error)
            }
        })
        .map_err(|error| explain(errno_of(&error), io_uring_disabled()))
}

/// Errno of an error that came from the kernel; 0 if it did not.
pub(crate) fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn check_features(ring: &IoUring) -> Result<(), Missing> {
    let params = ring.params();
    let features = [
        (params.is_feature_nodrop(), "NODROP (Linux 5.5)"),
        (params.is_feature_submit_stable(), "SUBMIT_STABLE (5.5)"),
        (params.is_feature_fast_poll(), "FAST_POLL (5.7)"),
        (params.is_feature_ext_arg(), "EXT_ARG (5.11)"),
        (params.is_feature_skip_cqe_on_success(), "CQE_SKIP (5.17)"),
    ];
    lacking("feature", &features)
}

fn check_operations(ring: &IoUring) -> Result<(), Missing> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| refused("asking for the operations", &error))?;
    let operations = [
        (opcode::Accept::CODE, "ACCEPT (Linux 5.5)"),
        (opcode::Connect::CODE, "CONNECT (5.5)"),
        (opcode::FilesUpdate::CODE, "FILES_UPDATE (5.6)"),
        (opcode::RecvMulti::CODE, "RECV (5.6)"),
        (opcode::SendMsg::CODE, "SENDMSG (5.3)"),
        (opcode::RecvMsgMulti::CODE, "RECVMSG (5.3)"),
        (opcode::PollAdd::CODE, "POLL_ADD (5.1)"),
        (opcode::AsyncCancel::CODE, "ASYNC_CANCEL (5.5)"),
        (opcode::Shutdown::CODE, "SHUTDOWN (5.11)"),
        (opcode::Close::CODE, "CLOSE (5.6)"),
    ];
    lacking(
        "operation",
        &operations.map(|(code, name)| (probe.is_supported(code), name)),
    )
}

fn lacking(kind: &str, wanted: &[(bool, &str)]) -> Result<(), Missing> {
    let names: Vec<&str> = wanted
        .iter()
        .filter(|(there, _)| !there)
        .map(|&(_, name)| name)
        .collect();
    if names.is_empty() {
        Ok(())
    } else {
        Err(Missing::TooOld {
            what: format!("{kind} {}", names.join(", ")),
        })
    }
}

fn refused(what: &str, error: &io::Error) -> Missing {
    match errno_of(error) {
        libc::EINVAL => Missing::TooOld { what: what.into() },
        libc::EPERM | libc::EACCES | libc::ENOMEM | libc::EMFILE | libc::ENFILE => {
            explain(errno_of(error), io_uring_disabled())
        }
        errno => Missing::Other {
            what: what.into(),
            errno,
        },
    }
}

fn io_uring_disabled() -> Option<i32> {
    fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn errno_name(errno: i32) -> String {
    match errno {
        libc::EPERM => "EPERM".into(),
        libc::EACCES => "EACCES".into(),
        libc::EMFILE => "EMFILE".into(),
        libc::ENFILE => "ENFILE".into(),
        _ => io::Error::from_raw_os_error(errno).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_errno_of_setup_gets_its_sentence() {
        let cases = [
            (libc::ENOSYS, None, "CONFIG_IO_URING"),
            (libc::EPERM, Some(1), "kernel.io_uring_group"),
            (libc::EPERM, Some(2), "nobody may use it"),
            (libc::EPERM, Some(0), "seccomp"),
            (libc::EPERM, None, "seccomp"),
            (libc::EACCES, Some(0), "EACCES"),
            (libc::ENOMEM, Some(0), "ulimit -l"),
            (libc::EMFILE, None, "ulimit -n"),
            (libc::EINVAL, None, "SINGLE_ISSUER"),
            (libc::EIO, None, "Input/output error"),
        ];
        for (errno, sysctl, words) in cases {
            let sentence = explain(errno, sysctl).to_string();
            assert!(
                sentence.contains(words),
                "errno {errno}, sysctl {sysctl:?}: {sentence}"
            );
            assert!(
                !sentence.contains('\n') && !sentence.contains("  "),
                "one sentence: {sentence:?}"
            );
        }
    }

    #[test]
    fn sysctl_two_does_not_offer_the_group_that_would_not_help() {
        assert!(
            !explain(libc::EPERM, Some(2))
                .to_string()
                .contains("io_uring_group")
        );
    }

    #[test]
    fn all_lacking_operations_are_named_at_once() {
        let missing = lacking(
            "operation",
            &[
                (false, "SHUTDOWN (5.11)"),
                (true, "ACCEPT"),
                (false, "CLOSE (5.6)"),
            ],
        )
        .unwrap_err();
        let sentence = missing.to_string();
        assert!(
            sentence.contains("operation SHUTDOWN (5.11), CLOSE (5.6) is missing"),
            "{sentence}"
        );
        assert!(sentence.contains(RELEASE_NEEDED));
    }

    #[test]
    fn this_kernel_offers_what_is_needed() {
        Caps::probe().unwrap_or_else(|missing| panic!("{missing}"));
    }
}
