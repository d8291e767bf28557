//! A gateway's process and everything it forks.

use std::fs::{File, read_to_string};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::http::AnyError;

/// Lines of a log that are shown.
const LINES: usize = 12;

/// A running gateway. Dropping it kills its whole process group.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` in a process group of its own, what it prints going to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Process, AnyError> {
        let file = File::create(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let child = command.spawn().map_err(|error| {
            format!("cannot start {}: {error}", command.get_program().to_string_lossy())
        })?;
        Ok(Process { child, log: log.to_owned() })
    }

    /// Sends a signal to the process that was started, not to those it forked.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), AnyError> {
        Ok(kill_process(self.pid(), signal)?)
    }

    /// The processes that it forked and that live.
    pub(crate) fn children(&self) -> Vec<Pid> {
        let pid = self.child.id();
        let listed = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let numbers = listed.split_whitespace().filter_map(|number| number.parse().ok());
        numbers.filter_map(Pid::from_raw).collect()
    }

    /// Its exit status, if it has ended already.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// All that it has printed so far.
    pub(crate) fn log(&self) -> String {
        read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has printed so far: the last lines.
    pub(crate) fn printed(&self) -> String {
        let text = self.log();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }

    /// Asks it to end; kills what is left after `grace`.
    pub(crate) async fn stop(mut self, grace: Duration) {
        let _ = self.signal(Signal::TERM);
        let _ = tokio::time::timeout(grace, async {
            while self.ended().is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process_group(self.pid(), Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs a command to its end; what it printed becomes the error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<String, AnyError> {
    let shown = format!("{command:?}");
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    match output.status.success() {
        true => Ok(printed),
        false => Err(format!("{shown}: {}\n{printed}", output.status).into()),
    }
}
