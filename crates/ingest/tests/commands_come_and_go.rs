//! Commands as sources: what they write goes on air, they may end and return, and nothing of them is left behind.

mod common;

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use common::*;
use funnel_channel::{Air, Channel, Start};
use funnel_ingest::{Source, SourceSpec, Timing, spawn, spawn_timed};
use tempfile::TempDir;

fn scratch() -> (TempDir, String) {
    let folder = TempDir::new().expect("a writable folder for temporary files");
    let path = folder.path().to_str().expect("a plain path").to_owned();
    (folder, path)
}

fn cat(name: &str) -> Source {
    Source::Command {
        run: vec!["cat".into(), media_arg(name)],
    }
}

/// Whether a process runs; one that waits for its parent to notice its end does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim_start().is_empty() && !rest.trim_start().starts_with('Z'))
}

fn lines(path: &str) -> Vec<String> {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_restart_with_the_same_header_goes_on_in_the_same_epoch() {
    for name in ["metadata-unicode.wmv", "live-pipe.asf", "live-capture.asfh"] {
        let channel = channel(name, Start::Always);
        let history = air_history(&channel);
        let ingest = spawn(vec![spec(&channel, cat(name))]).expect("a ring");
        let mut viewer = Viewer::join(&channel, 1);
        let source = objects_of(name);
        viewer.read_until("a second run", |viewer| {
            viewer.objects.len() >= 2 * source.len()
        });
        assert_eq!(
            channel.snapshot().epoch.expect("announced").number,
            1,
            "{name}: nobody was disturbed"
        );
        assert!(viewer.send_ms.is_sorted(), "{name}: send times never fall");
        for (stream, objects) in by_stream(&source) {
            let seen = &viewer.by_stream()[&stream];
            let again = objects
                .iter()
                .cycle()
                .zip(seen)
                .all(|(file, seen)| file.data == seen.data);
            assert!(
                again,
                "{name}: stream {stream} carries the same bytes in both runs"
            );
            let seam = objects.len() - 1;
            let gap_ms = seen[seam + 1].time_ms - seen[seam].time_ms;
            assert!(
                (300..10_000).contains(&gap_ms),
                "{name}: the pause of half a second counts, was {gap_ms} ms"
            );
        }
        let history = history.lock().expect("no panic inside");
        assert!(
            history
                .windows(3)
                .any(|states| states == [Air::OnAir, Air::Gap, Air::OnAir]),
            "{history:?}"
        );
        drop(history);
        ingest.stop();
    }
}

#[test]
fn another_header_begins_another_epoch() {
    let (_folder, path) = scratch();
    let (one, other) = (media_arg("metadata-unicode.wmv"), media_arg("av-300k.wmv"));
    let script = format!("if mkdir {path}/ran; then cat {one}; else cat {other}; sleep 1000; fi");
    let channel = channel("changing", Start::Always);
    let ingest = spawn(vec![spec(&channel, shell(&script))]).expect("a ring");
    let mut first = Viewer::join(&channel, 1);
    first.read_all();
    assert_eq!(
        first.objects.len(),
        objects_of("metadata-unicode.wmv").len()
    );
    let mut second = Viewer::join(&channel, 2);
    second.read_until("the other file", |viewer| viewer.objects.len() >= 931);
    assert_ne!(first.epoch.header[..], second.epoch.header[..]);
    ingest.stop();
}

#[test]
fn both_muxers_of_ffmpeg_are_understood() {
    let run = |format: &str| -> Vec<String> {
        let line = format!(
            "ffmpeg -nostdin -v error -f lavfi -i testsrc2=s=160x120:r=25 -f lavfi -i sine=r=22050 -t 3 -c:v wmv2 -g 25 -b:v 100k \
             -c:a wmav2 -b:a 32k -packet_size 1400 -f {format} -"
        );
        line.split_whitespace().map(str::to_owned).collect()
    };
    let shows = ["asf", "asf_stream"].map(|format| (channel(format, Start::Always), run(format)));
    let specs = shows
        .iter()
        .map(|(channel, run)| spec(channel, Source::Command { run: run.clone() }))
        .collect();
    let ingest = spawn(specs).expect("a ring");
    for (channel, run) in &shows {
        let mut viewer = Viewer::join(channel, 1);
        let complete = |viewer: &Viewer| {
            let streams = viewer.by_stream();
            streams.get(&1).is_some_and(|video| video.len() >= 75)
                && streams.get(&2).is_some_and(|audio| audio.len() >= 60)
        };
        viewer.read_until(
            &format!("75 pictures of {run:?}; ffmpeg must be installed"),
            complete,
        );
        let streams = viewer.by_stream();
        assert_eq!(viewer.epoch.packet_bytes, 1400);
        assert!(
            streams[&1][0].key && streams[&2].iter().all(|audio| audio.key),
            "key bits are repaired"
        );
        assert!(viewer.first_is_clean && viewer.send_ms.is_sorted());
    }
    ingest.stop();
}

#[test]
fn a_command_that_falls_silent_is_away_then_lost_then_started_again() {
    let (_folder, path) = scratch();
    let file = media_arg("tiny-audio.asf");
    let channel = channel("silent", Start::Always);
    let history = air_history(&channel);
    // The second run is silent at first and then speaks: away, but neither lost nor started again.
    let script = format!(
        "echo run >> {path}/runs; if mkdir {path}/ran; then cat {file}; exec sleep 1000; \
         else head -c 20000 {file}; sleep 1; tail -c +20001 {file}; exec sleep 1000; fi"
    );
    let spec = SourceSpec {
        source_grace: Duration::from_millis(1500),
        ..spec(&channel, shell(&script))
    };
    let timing = Timing {
        silence: Duration::from_millis(400),
        ..Timing::default()
    };
    let ingest = spawn_timed(vec![spec], timing).expect("a ring");
    let wanted = [
        Air::OnAir,
        Air::Gap,
        Air::Lost,
        Air::OnAir,
        Air::Gap,
        Air::OnAir,
    ];
    wait_for("away, lost, back, away, back", || {
        let history = history.lock().expect("no panic inside");
        history
            .windows(wanted.len())
            .any(|states| states == wanted)
            .then_some(())
    });
    assert_eq!(lines(&format!("{path}/runs")).len(), 2);
    ingest.stop();
}

#[test]
fn a_long_absence_is_lost_and_a_return_is_on_air_again() {
    let channel = channel("absent", Start::Always);
    let history = air_history(&channel);
    let spec = SourceSpec {
        source_grace: Duration::from_millis(50),
        ..spec(&channel, cat("tiny-audio.asf"))
    };
    let ingest = spawn(vec![spec]).expect("a ring");
    let wanted = [Air::OnAir, Air::Gap, Air::Lost, Air::OnAir];
    wait_for("lost and found", || {
        let history = history.lock().expect("no panic inside");
        history
            .windows(4)
            .any(|states| states == wanted)
            .then_some(())
    });
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    ingest.stop();
}

#[test]
fn a_command_waits_for_its_first_viewer() {
    let (_folder, path) = scratch();
    let file = media_arg("av-300k.wmv");
    let waiting = channel("waiting", Start::FirstViewer);
    let other = channel("other", Start::Always);
    let script = format!("echo $$ >> {path}/runs; cat {file}; exec sleep 1000");
    let specs = vec![
        spec(&waiting, shell(&script)),
        spec(&other, cat("tiny-audio.asf")),
    ];
    let ingest = spawn(specs).expect("a ring");
    Viewer::join(&other, 1);
    assert!(
        !Path::new(&format!("{path}/runs")).exists(),
        "nothing runs before somebody asks"
    );

    waiting.ask_header();
    wait_for_air(&waiting, Air::Ready);
    let mut viewer = Viewer::join(&waiting, 1);
    assert!(!viewer.read());
    assert_eq!(
        viewer.send_ms.len(),
        0,
        "nothing is on air before somebody plays"
    );
    waiting.viewer_started();
    viewer.read_until("the end of the file", |viewer| {
        viewer
            .objects
            .last()
            .is_some_and(|last| last.time_ms > 19_500)
    });
    assert!(
        viewer.first_is_clean,
        "what was held back begins with a clean point"
    );
    wait_for_air(&waiting, Air::OnAir);
    assert_eq!(lines(&format!("{path}/runs")).len(), 1);
    ingest.stop();
}

#[test]
fn a_command_is_stopped_when_its_viewers_are_gone_and_returns_with_the_next() {
    let (_folder, path) = scratch();
    let file = media_arg("metadata-unicode.wmv");
    let channel = channel("on-demand", Start::FirstViewer);
    let script = format!("echo $$ >> {path}/runs; cat {file}; exec sleep 1000");
    let timing = Timing {
        idle: Duration::from_millis(1500),
        ..Timing::default()
    };
    let specs = vec![spec(&channel, shell(&script))];
    let ingest = spawn_timed(specs, timing).expect("a ring");
    channel.ask_header();
    let mut viewer = Viewer::join(&channel, 1);
    channel.viewer_started();
    viewer.read_until("some packets", |viewer| viewer.objects.len() > 10);
    channel.viewer_left();
    wait_for_air(&channel, Air::Ready);
    let pid = lines(&format!("{path}/runs")).pop().expect("it ran");
    assert!(!runs(&pid), "the command was ended");
    let mut next = Viewer::join(&channel, 2);
    assert!(
        !next.read() && next.send_ms.is_empty(),
        "the next viewer does not see old packets"
    );
    assert_eq!(next.epoch.header, viewer.epoch.header);
    channel.viewer_started();
    next.read_until("a new run", |viewer| viewer.objects.len() > 10);
    assert!(next.first_is_clean);
    assert_eq!(lines(&format!("{path}/runs")).len(), 2);
    ingest.stop();
}

#[test]
fn a_viewer_who_comes_while_the_command_is_being_stopped_is_served() {
    let (_folder, path) = scratch();
    let file = media_arg("metadata-unicode.wmv");
    let channel = channel("late", Start::FirstViewer);
    // Its end takes a second, as that of an encoder that flushes; the viewer comes within it.
    let script = format!(
        "trap 'echo >> {path}/ending; sleep 1; exit' TERM; cat {file}; while :; do sleep 0.05; done"
    );
    let timing = Timing {
        idle: Duration::from_millis(300),
        ..Timing::default()
    };
    let ingest = spawn_timed(vec![spec(&channel, shell(&script))], timing).expect("a ring");
    channel.viewer_started();
    Viewer::join(&channel, 1).read_until("some packets", |viewer| viewer.objects.len() > 10);
    channel.viewer_left();
    wait_for("the stopping", || {
        (!lines(&format!("{path}/ending")).is_empty()).then_some(())
    });
    channel.viewer_started();
    let mut next = Viewer::join(&channel, 2);
    next.read_until("a new run", |viewer| viewer.objects.len() > 10);
    ingest.stop();
}

#[test]
fn a_command_that_fails_at_once_is_not_started_by_every_request() {
    let (_folder, path) = scratch();
    let channel = channel("failing", Start::FirstViewer);
    let script = format!("echo run >> {path}/runs; exit 1");
    let ingest = spawn(vec![spec(&channel, shell(&script))]).expect("a ring");
    let began = Instant::now();
    // The waits grow from half a second: at 0, 0.5, 1.5 s.
    while began.elapsed() < Duration::from_millis(2500) {
        channel.ask_header();
        std::thread::sleep(Duration::from_millis(10));
    }
    let runs = lines(&format!("{path}/runs")).len();
    assert!((1..=3).contains(&runs), "{runs} runs");
    ingest.stop();
}

#[test]
fn garbage_is_not_endured_for_long() {
    let (_folder, path) = scratch();
    let file = media_arg("av-300k.wmv");
    let header = fs::read(media("av-300k.wmv")).expect("in the repository");
    let header_bytes = u64::from_le_bytes(header[16..24].try_into().expect("eight")) + 50;
    let script = format!(
        "echo run >> {path}/runs; head -c {} {file}; head -c 40000 /dev/zero; exec sleep 1000",
        header_bytes + 1444
    );
    let channel = channel("garbage", Start::Always);
    let ingest = spawn(vec![spec(&channel, shell(&script))]).expect("a ring");
    wait_for("a second run", || {
        (lines(&format!("{path}/runs")).len() >= 2).then_some(())
    });
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    ingest.stop();
}

#[test]
fn a_command_that_cannot_run_leaves_the_channel_waiting() {
    let missing = channel("missing", Start::Always);
    let text = channel("text", Start::Always);
    let other = channel("other", Start::Always);
    let specs = vec![
        spec(
            &missing,
            Source::Command {
                run: vec!["/no/such/program".into()],
            },
        ),
        spec(&text, shell("echo this is no media; exec sleep 1000")),
        spec(&other, cat("tiny-audio.asf")),
    ];
    let ingest = spawn(specs).expect("a ring");
    Viewer::join(&other, 1).read_until("the other channel", |viewer| viewer.objects.len() > 100);
    for channel in [missing, text] {
        assert_eq!(channel.snapshot().air, Air::Waiting);
        assert!(channel.snapshot().epoch.is_none());
    }
    ingest.stop();
}

/// Starts a script that names its processes in a file, and waits until it is on air.
fn on_air(
    script: &str,
    path: &str,
    count: usize,
) -> (Arc<Channel>, funnel_ingest::Ingest, Vec<String>) {
    let channel = channel("family", Start::Always);
    let ingest = spawn(vec![spec(&channel, shell(script))]).expect("a ring");
    wait_for_air(&channel, Air::OnAir);
    let pids = wait_for("the processes", || {
        let pids = lines(&format!("{path}/pids"));
        (pids.len() == count).then_some(pids)
    });
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?} run");
    (channel, ingest, pids)
}

#[test]
fn stopping_ends_the_whole_family() {
    let (_folder, path) = scratch();
    let file = media_arg("tiny-audio.asf");
    // The grandchild ignores a polite request, and has let go of the pipe.
    let script = format!(
        "echo $$ >> {path}/pids; (trap '' TERM; exec >/dev/null; sh -c 'echo $$ >> {path}/pids; while :; do sleep 1; done') & \
         cat {file}; wait"
    );
    let (channel, ingest, pids) = on_air(&script, &path, 2);
    let began = Instant::now();
    ingest.stop();
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "stopping took {:?}",
        began.elapsed()
    );
    wait_for("the end of both", || {
        pids.iter().all(|pid| !runs(pid)).then_some(())
    });
    assert!(channel.snapshot().epoch.expect("announced").log.ended());
}

#[test]
fn a_process_that_ran_away_with_the_pipe_does_not_hold_up_stopping() {
    let (_folder, path) = scratch();
    let file = media_arg("tiny-audio.asf");
    let script = format!("setsid sh -c 'echo $$ >> {path}/pids; exec sleep 15' & cat {file}; wait");
    let (_channel, ingest, pids) = on_air(&script, &path, 1);
    let began = Instant::now();
    ingest.stop();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "stopping took {took:?}");
    assert!(
        runs(&pids[0]),
        "it is in a session of its own, so it is still there, with the pipe"
    );
    let ended = std::process::Command::new("kill").arg(&pids[0]).status();
    assert!(ended.is_ok_and(|status| status.success()));
}
