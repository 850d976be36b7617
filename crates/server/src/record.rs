//! `funnel record`: a channel into a file, or into several when its header changes on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use funnel_asf::Header;
use funnel_ingest::trust::Trust;
use funnel_session::HResult;
use funnel_session::client::{CloseReason, Event, Options, Stage};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::cli;
use crate::console::{complain, say};
use crate::failure::Failure;
use crate::feed::Feed;
use crate::recording::{RecordError, Recording};
use crate::signals::Interrupt;

/// Records until the duration is reached, the show is over, or a signal comes.
///
/// # Errors
/// Nothing was received, or less than was asked for; what was received is in the file all the same.
pub fn run(arguments: &cli::Record) -> Result<(), Failure> {
    if arguments.output.exists() && !arguments.overwrite {
        return Err(Failure::Usage(
            RecordError::Exists(arguments.output.clone()).to_string(),
        ));
    }
    let interrupt = Interrupt::listen().map_err(Failure::fault)?;
    let trust = arguments
        .ca
        .clone()
        .map_or(Trust::System, Trust::Authorities);
    let mut feed = Feed::open(
        &arguments.url,
        Options::default(),
        trust,
        &arguments.multicast,
    )?;
    let mut recorder = Recorder::new(arguments);
    let mut has_left = false;
    while feed.is_open() {
        feed.turn(PATIENCE, |event| recorder.take(event));
        recorder.show_progress();
        if !has_left && (recorder.is_done() || interrupt.came()) {
            recorder.was_interrupted = !recorder.is_done();
            recorder.wants_more = false;
            feed.leave();
            has_left = true;
        }
    }
    recorder.say(feed.summary());
    recorder.finish(|refused_at, reason| feed.explain(refused_at, reason))
}

/// A signal is noticed within this time.
const PATIENCE: Duration = Duration::from_millis(200);

/// Takes what the session tells.
struct Recorder<'a> {
    arguments: &'a cli::Record,
    recording: Option<Recording>,
    /// Files begun so far.
    files: u32,
    /// Files completed, and how much of the show is in them.
    kept: u32,
    kept_length: Duration,
    /// False once packets are only in the way.
    wants_more: bool,
    was_interrupted: bool,
    trouble: Option<String>,
    refused_at: Option<Stage>,
    end: Option<CloseReason>,
    progress: ProgressBar,
}

impl<'a> Recorder<'a> {
    fn new(arguments: &'a cli::Record) -> Self {
        Self {
            arguments,
            recording: None,
            files: 0,
            kept: 0,
            kept_length: Duration::ZERO,
            wants_more: true,
            was_interrupted: false,
            trouble: None,
            refused_at: None,
            end: None,
            progress: progress(arguments.duration),
        }
    }

    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Header(bytes) => self.begin(bytes),
            Event::Packet {
                location, bytes, ..
            } => self.add(location, bytes),
            Event::StreamChange(_) => self.progress.suspend(|| {
                complain("the channel changes its header: what follows goes into another file")
            }),
            Event::End(hr) if hr != HResult::S_OK => {
                self.trouble(format!("the server ended the show: {hr}"))
            }
            Event::Refused { stage, .. } => self.refused_at = Some(stage),
            Event::Redirect(elsewhere) => self.trouble(format!("the channel is at {elsewhere}")),
            Event::Close(reason) => self.end = Some(reason),
            _ => {}
        }
    }

    fn begin(&mut self, bytes: &[u8]) {
        self.complete();
        if !self.wants_more {
            return;
        }
        self.files += 1;
        let path = numbered(&self.arguments.output, self.files);
        let begun = match Header::parse(bytes) {
            Ok(header) => Recording::create(&path, header, self.arguments.overwrite)
                .map_err(|error| error.to_string()),
            Err(error) => Err(format!("the channel's header is damaged: {error}")),
        };
        match begun {
            Ok(recording) => self.recording = Some(recording),
            Err(trouble) => self.stop(trouble),
        }
    }

    fn add(&mut self, location: u32, bytes: &[u8]) {
        let Some(recording) = self.recording.as_mut().filter(|_| self.wants_more) else {
            return;
        };
        if let Err(error) = recording.add(location, bytes) {
            self.stop(error.to_string());
        } else if self
            .arguments
            .duration
            .is_some_and(|duration| self.length() >= duration)
        {
            self.wants_more = false;
        }
    }

    /// Nothing more can be recorded.
    fn stop(&mut self, trouble: String) {
        self.wants_more = false;
        self.trouble(trouble);
    }

    fn trouble(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    fn is_done(&self) -> bool {
        !self.wants_more
    }

    /// How much of the show there is in all files.
    fn length(&self) -> Duration {
        self.kept_length
            + self
                .recording
                .as_ref()
                .map_or(Duration::ZERO, Recording::length)
    }

    /// Completes the current file and says what is in it.
    fn complete(&mut self) {
        let Some(recording) = self.recording.take() else {
            return;
        };
        let (totals, length) = (recording.totals(), recording.length());
        let summary = format!("{}: {}", recording.path().display(), summary(&recording));
        match recording.finish() {
            Ok(true) => {
                self.kept += 1;
                self.kept_length += length;
                self.progress.suspend(|| say(&format!("{summary}\n")));
                if totals.gaps > 0 || totals.damaged > 0 {
                    let words = format!(
                        "warning: {} packets are missing in {} gaps, {} were damaged",
                        totals.missing, totals.gaps, totals.damaged
                    );
                    self.progress.suspend(|| complain(&words));
                }
            }
            Ok(false) => {}
            Err(error) => self.stop(error.to_string()),
        }
    }

    fn show_progress(&self) {
        let Some(recording) = &self.recording else {
            return;
        };
        self.progress
            .set_position(u64::try_from(self.length().as_millis()).unwrap_or(u64::MAX));
        self.progress.set_message(summary(recording));
    }

    /// What the network lost, and what came of it.
    fn say(&self, summary: Option<String>) {
        if let Some(words) = summary {
            self.progress.suspend(|| say(&format!("{words}\n")));
        }
    }

    fn finish(
        mut self,
        explain: impl FnOnce(Option<Stage>, &CloseReason) -> String,
    ) -> Result<(), Failure> {
        self.complete();
        self.progress.finish_and_clear();
        let url = &self.arguments.url;
        let kept = if self.kept > 0 {
            "; what was received until then is kept"
        } else {
            "; nothing was recorded"
        };
        if let Some(trouble) = self.trouble {
            return Err(Failure::Fault(format!("{trouble}{kept}")));
        }
        match self.end {
            Some(reason)
                if reason != CloseReason::Finished && !self.was_interrupted && self.wants_more =>
            {
                Err(Failure::Fault(format!(
                    "{}{kept}",
                    explain(self.refused_at, &reason)
                )))
            }
            _ if self.kept == 0 => Err(Failure::Fault(format!(
                "{url}: nothing was received, so there is no file"
            ))),
            _ => Ok(()),
        }
    }
}

/// Seconds, size, packets, gaps.
fn summary(recording: &Recording) -> String {
    let totals = recording.totals();
    let seconds = recording.length().as_secs_f32();
    let size = HumanBytes(totals.bytes);
    let gaps = match totals.gaps {
        0 => "no gaps".to_owned(),
        1 => "1 gap".to_owned(),
        gaps => format!("{gaps} gaps"),
    };
    format!("{seconds:.1} s, {size}, {} packets, {gaps}", totals.packets)
}

/// On a terminal only; elsewhere it draws nothing.
fn progress(duration: Option<Duration>) -> ProgressBar {
    let bar = match duration {
        Some(duration) => ProgressBar::new(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)),
        None => ProgressBar::new_spinner(),
    };
    let template = if duration.is_some() {
        "{bar:30} {percent:>3} %  {msg}"
    } else {
        "{spinner} {msg}"
    };
    bar.with_style(
        ProgressStyle::with_template(template).expect("a constant that the test below tries"),
    )
}

/// The second file of `show.asf` is `show-2.asf`.
fn numbered(path: &Path, number: u32) -> PathBuf {
    if number <= 1 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::explain;

    #[test]
    fn later_files_are_numbered_before_the_extension() {
        assert_eq!(
            numbered(Path::new("a.b/show.asf"), 1),
            Path::new("a.b/show.asf")
        );
        assert_eq!(
            numbered(Path::new("a.b/show.asf"), 2),
            Path::new("a.b/show-2.asf")
        );
        assert_eq!(numbered(Path::new("show"), 3), Path::new("show-3"));
    }

    #[test]
    fn both_progress_templates_are_sound() {
        progress(None);
        progress(Some(Duration::from_secs(1)));
    }

    fn recorder_with<'a>(
        arguments: &'a cli::Record,
        events: impl FnOnce(&mut Recorder<'a>),
    ) -> Result<(), Failure> {
        let mut recorder = Recorder::new(arguments);
        events(&mut recorder);
        finish(recorder)
    }

    fn finish(recorder: Recorder<'_>) -> Result<(), Failure> {
        let url = "mms://studio/show".parse().expect("a URL");
        recorder.finish(|refused_at, reason| explain(&url, refused_at, reason))
    }

    fn show() -> (Vec<u8>, Vec<Vec<u8>>) {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../testdata/media/av-300k.wmv"
        );
        let bytes = std::fs::read(path).expect("test media");
        let header = Header::parse(&bytes).expect("a sound header");
        let packets = bytes[header.bytes().len()..]
            .chunks_exact(header.packet_bytes() as usize)
            .take(100);
        (
            header.bytes().to_vec(),
            packets.map(<[u8]>::to_vec).collect(),
        )
    }

    fn play(recorder: &mut Recorder<'_>, header: &[u8], packets: &[Vec<u8>]) {
        recorder.take(Event::Header(header));
        for (location, bytes) in (0..).zip(packets) {
            recorder.take(Event::Packet {
                location,
                sequence: location,
                bytes,
            });
        }
    }

    fn arguments(folder: &Path, duration: Option<Duration>) -> cli::Record {
        let url = "mms://studio/show".parse().expect("a URL");
        cli::Record {
            url,
            ca: None,
            multicast: cli::Multicast::default(),
            output: folder.join("show.asf"),
            duration,
            overwrite: false,
        }
    }

    #[test]
    fn a_stream_change_begins_a_second_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (header, packets) = show();
        let arguments = arguments(folder.path(), None);
        let result = recorder_with(&arguments, |recorder| {
            play(recorder, &header, &packets);
            recorder.take(Event::StreamChange(
                funnel_session::client::FileInfo::default(),
            ));
            play(recorder, &header, &packets[..50]);
            recorder.take(Event::End(HResult::S_OK));
            recorder.take(Event::Close(CloseReason::Finished));
        });
        assert!(result.is_ok(), "{result:?}");
        for (name, count) in [("show.asf", 100), ("show-2.asf", 50)] {
            let bytes = std::fs::read(folder.path().join(name)).expect("a file");
            assert_eq!(
                Header::parse(&bytes).expect("sound").packets_count(),
                count,
                "{name}"
            );
        }
    }

    #[test]
    fn the_duration_is_that_of_the_show() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (header, packets) = show();
        let arguments = arguments(folder.path(), Some(Duration::from_secs(1)));
        let mut recorder = Recorder::new(&arguments);
        play(&mut recorder, &header, &packets);
        assert!(recorder.is_done());
        assert!(
            (1.0..1.5).contains(&recorder.length().as_secs_f32()),
            "{:?}",
            recorder.length()
        );
        recorder.take(Event::Close(CloseReason::Finished));
        finish(recorder).expect("as asked");
    }

    #[test]
    fn a_lost_connection_keeps_the_file_and_fails() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (header, packets) = show();
        let arguments = arguments(folder.path(), None);
        let result = recorder_with(&arguments, |recorder| {
            play(recorder, &header, &packets);
            recorder.take(Event::Close(CloseReason::ConnectionLost));
        });
        let Err(Failure::Fault(sentence)) = result else {
            panic!("{result:?}");
        };
        assert!(
            sentence.contains("without a word") && sentence.ends_with("is kept"),
            "{sentence}"
        );
        assert!(folder.path().join("show.asf").exists());
    }

    #[test]
    fn a_refusal_leaves_no_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let arguments = arguments(folder.path(), None);
        let result = recorder_with(&arguments, |recorder| {
            recorder.take(Event::Refused {
                stage: Stage::OpenFile,
                hr: HResult::NS_E_FILE_NOT_FOUND,
            });
            recorder.take(Event::Close(CloseReason::Refused(
                HResult::NS_E_FILE_NOT_FOUND,
            )));
        });
        let Err(Failure::Fault(sentence)) = result else {
            panic!("{result:?}");
        };
        assert!(sentence.contains("NS_E_FILE_NOT_FOUND"), "{sentence}");
        assert_eq!(
            std::fs::read_dir(folder.path()).expect("a folder").count(),
            0
        );
    }
}
