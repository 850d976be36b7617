//! A container that blocks io_uring gets a sentence, not an errno. The test runs itself again under a filter of its own.

use std::{env, io, os::unix::process::CommandExt, process::Command};

use funnel_uring::{Caps, Ring, RingConfig};

const IN_CHILD: &str = "FUNNEL_TEST_IN_FILTERED_CHILD";

/// Makes `io_uring_setup` fail with `errno` from now on, in this process and those it becomes.
fn block_io_uring_setup(errno: i32) -> io::Result<()> {
    let statement = |code: u32, jump_true: u8, jump_false: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: jump_true,
        jf: jump_false,
        k,
    };
    // The system call's number is the first word of `struct seccomp_data`.
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: prctl reads the filter during the call; it and the program are alive until then.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const filter,
            ) != 0
    };
    if refused {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Runs `in_the_child` in a process in which `io_uring_setup` fails with `errno`, and returns what that printed.
fn sentences_with(errno: i32) -> String {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", "in_the_child", "--nocapture"])
        .env(IN_CHILD, "1");
    // SAFETY: between fork and exec only prctl is called, which is async-signal-safe; nothing is allocated.
    unsafe { command.pre_exec(move || block_io_uring_setup(errno)) };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The child's part; in an ordinary run it checks that nothing is blocked.
#[test]
fn in_the_child() {
    if env::var_os(IN_CHILD).is_none() {
        Caps::probe().unwrap_or_else(|missing| panic!("{missing}"));
        return;
    }
    println!("PROBE: {}", Caps::probe().unwrap_err());
    println!("RING: {}", Ring::new(RingConfig::default()).err().unwrap());
}

#[test]
fn a_containers_filter_is_named() {
    let said = sentences_with(libc::EPERM);
    for line in ["PROBE", "RING"] {
        let line = said
            .lines()
            .find(|said| said.contains(&format!("{line}: ")))
            .unwrap_or_else(|| panic!("{said}"));
        assert!(
            line.contains("seccomp") && line.contains("--security-opt"),
            "{line}"
        );
    }
}

#[test]
fn a_kernel_without_io_uring_is_named() {
    let said = sentences_with(libc::ENOSYS);
    assert!(
        said.contains("CONFIG_IO_URING") && said.contains("Linux 6.0 or newer"),
        "{said}"
    );
}
