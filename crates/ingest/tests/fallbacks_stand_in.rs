//! While a source is away its fallbacks stand in, the first that has something, and give way when it is back.

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use common::*;
use funnel_asf::MediaObject;
use funnel_channel::{Air, Channel, Start};
use funnel_ingest::{Fallback, Source, SourceSpec, Timing, spawn, spawn_timed};
use tempfile::TempDir;

/// A show of 20 s cut into two files of the same format, and a place where scripts are told what to do.
struct Props {
    folder: TempDir,
    first: PathBuf,
    second: PathBuf,
}

/// Size of the show's packets.
const PACKET: usize = 1444;
/// A key frame of the show's video begins in this packet.
const CUT: usize = 282;

impl Props {
    fn new() -> Self {
        let folder = TempDir::new().expect("a writable folder for temporary files");
        let bytes = fs::read(media("av-300k.wmv")).expect("in the repository");
        let (head, packets) = bytes.split_at(header_bytes(&bytes));
        let packets = &packets[..516 * PACKET];
        let cut = |name: &str, packets: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, [head, packets].concat()).expect("written");
            path
        };
        let first = cut("first.wmv", &packets[..CUT * PACKET]);
        let second = cut("second.wmv", &packets[CUT * PACKET..]);
        Self {
            folder,
            first,
            second,
        }
    }

    fn path(&self, name: &str) -> String {
        text(&self.folder.path().join(name))
    }

    /// Lets a script that waits for this go on.
    fn say(&self, name: &str) {
        fs::write(self.folder.path().join(name), "").expect("written");
    }

    /// Shell words that wait for it.
    fn told(&self, name: &str) -> String {
        format!("while [ ! -e {} ]; do sleep 0.02; done", self.path(name))
    }

    /// A source that sends a file at once and ends, and the second time waits until it is told to `return`.
    fn leaving(&self, file: &Path) -> Source {
        self.leaving_when("true", file, file)
    }

    /// The same with another file for the second time, which ends the first time after `until`.
    fn leaving_when(&self, until: &str, file: &Path, again: &Path) -> Source {
        let (file, again) = (text(file), text(again));
        let (ran, back) = (self.path("ran"), self.told("return"));
        shell(&format!(
            "if mkdir {ran}; then cat {file}; {until}; else {back}; cat {again}; exec sleep 1000; fi"
        ))
    }
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

/// Header Object and the head of the Data Object.
fn header_bytes(file: &[u8]) -> usize {
    let size = u64::from_le_bytes(file[16..24].try_into().expect("eight bytes"));
    usize::try_from(size).expect("a small header") + 50
}

/// Fallbacks come after a moment.
fn guarded(channel: &Arc<Channel>, source: Source, fallback: Vec<Fallback>) -> SourceSpec {
    SourceSpec {
        fallback,
        source_grace: Duration::from_millis(200),
        ..spec(channel, source)
    }
}

/// Where the objects of one show begin in those of another.
fn find(shown: &[&MediaObject], wanted: &[&MediaObject]) -> Option<usize> {
    (0..shown.len()).find(|at| {
        shown.len() >= at + wanted.len()
            && shown[*at..]
                .iter()
                .zip(wanted)
                .all(|(shown, wanted)| shown.data == wanted.data)
    })
}

fn video(viewer: &Viewer) -> Vec<&MediaObject> {
    viewer.by_stream().remove(&1).unwrap_or_default()
}

/// The video a file holds.
fn video_of(path: &Path) -> Vec<MediaObject> {
    let objects = objects_in(&fs::read(path).expect("written before"));
    objects.into_iter().filter(|it| it.stream == 1).collect()
}

#[test]
fn a_file_of_the_same_format_stands_in_and_nobody_is_disturbed() {
    let props = Props::new();
    let channel = channel("live", Start::Always);
    let history = air_history(&channel);
    let fallback = vec![Fallback::File(props.second.clone())];
    let specs = vec![guarded(&channel, props.leaving(&props.first), fallback)];
    let ingest = spawn(specs).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    let (first, second) = (video_of(&props.first), video_of(&props.second));
    let first: Vec<_> = first.iter().collect();
    let second: Vec<_> = second.iter().take(20).collect();
    viewer.read_until("the fallback", |viewer| {
        find(&video(viewer), &second).is_some()
    });
    props.say("return");
    viewer.read_until("the source again", |viewer| {
        find(&video(viewer)[first.len()..], &first).is_some()
    });
    assert_eq!(channel.snapshot().epoch.expect("announced").number, 1);
    assert!(viewer.send_ms.is_sorted(), "send times never fall");
    let shown = video(&viewer);
    assert_eq!(find(&shown, &second), Some(first.len()));
    let back = first.len() + find(&shown[first.len()..], &first).expect("seen above");
    for seam in [first.len(), back] {
        assert!(shown[seam].key, "what follows can be decoded");
        let gap_ms = shown[seam].time_ms - shown[seam - 1].time_ms;
        assert!((0..3000).contains(&gap_ms), "the seam is {gap_ms} ms long");
        assert_eq!(
            shown[seam].number,
            shown[seam - 1].number.wrapping_add(1) & 0xFF,
            "object numbers run on"
        );
    }
    let history = history.lock().expect("no panic inside").clone();
    assert_eq!(history, [Air::Waiting, Air::OnAir, Air::Gap, Air::OnAir]);
    ingest.stop();
}

#[test]
fn a_file_stands_in_at_its_own_pace() {
    let channel = channel("paced", Start::Always);
    let fallback = vec![Fallback::File(media("av-300k.wmv"))];
    let ingest = spawn(vec![guarded(&channel, shell("exec sleep 1000"), fallback)]);
    let mut viewer = Viewer::join(&channel, 1);
    viewer.read_until("two seconds of it", |viewer| {
        viewer.send_ms.last().is_some_and(|last| *last > 2000)
    });
    let began = viewer.first_at.expect("it has read");
    let took = began.elapsed();
    assert!(
        (1700..2600).contains(&took.as_millis()),
        "two seconds took {took:?}"
    );
    ingest.expect("a ring").stop();
}

#[test]
fn another_format_is_another_epoch_there_and_back() {
    let props = Props::new();
    let channel = channel("mixed", Start::Always);
    let fallback = vec![Fallback::File(media("metadata-unicode.wmv"))];
    let specs = vec![guarded(&channel, props.leaving(&props.first), fallback)];
    let ingest = spawn(specs).expect("a ring");
    let mut first = Viewer::join(&channel, 1);
    first.read_all();
    let mut second = Viewer::join(&channel, 2);
    second.read_until("the fallback", |viewer| viewer.objects.len() > 10);
    assert!(second.first_is_clean);
    props.say("return");
    second.read_all();
    let mut third = Viewer::join(&channel, 3);
    third.read_until("the source again", |viewer| viewer.objects.len() > 100);
    assert_eq!(third.epoch.packet_bytes, first.epoch.packet_bytes);
    ingest.stop();
}

#[test]
fn without_a_source_from_the_beginning_the_fallback_is_on_air() {
    let channel = channel("never", Start::Always);
    let missing = Source::Command {
        run: vec!["/no/such/program".into()],
    };
    let fallback = vec![Fallback::File(media("tiny-audio.asf"))];
    let ingest = spawn(vec![guarded(&channel, missing, fallback)]).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    viewer.read_until("the fallback", |viewer| viewer.objects.len() > 10);
    assert_eq!(channel.snapshot().air, Air::OnAir);
    ingest.stop();
}

#[test]
fn the_first_fallback_that_has_something_stands_in() {
    let props = Props::new();
    let (live, backup) = (
        channel("live", Start::Always),
        channel("backup", Start::Always),
    );
    // The backup shows the first half, is silent until told to return, and then shows it again. The slate is the second half.
    let file = text(&props.first);
    let script = format!(
        "cat {file}; while [ ! -e {} ]; do sleep 0.02; tail -c +{} {file}; done; {}; cat {file}; exec sleep 1000",
        props.path("leave"),
        header_bytes(&fs::read(&props.first).expect("written")) + 1,
        props.told("back"),
    );
    let fallback = vec![
        Fallback::Channel(Arc::clone(&backup)),
        Fallback::File(props.second.clone()),
    ];
    let specs = vec![
        guarded(&live, props.leaving(&props.first), fallback),
        spec(&backup, shell(&script)),
    ];
    let timing = Timing {
        silence: Duration::from_millis(300),
        ..Timing::default()
    };
    let ingest = spawn_timed(specs, timing).expect("a ring");
    let mut viewer = Viewer::join(&live, 1);
    let count = video_of(&props.first).len();
    viewer.read_until("the backup", |viewer| video(viewer).len() > count + 20);
    let shown = video(&viewer);
    assert!(
        shown[count].key,
        "it was joined where its viewers may begin"
    );
    let second = video_of(&props.second);
    let second: Vec<_> = second.iter().take(10).collect();
    assert_eq!(find(&shown, &second), None);
    props.say("leave");
    viewer.read_until("the slate", |viewer| {
        find(&video(viewer), &second).is_some()
    });
    wait_for_air(&backup, Air::Gap);
    props.say("back");
    wait_for_air(&backup, Air::OnAir);
    let so_far = video(&viewer).len();
    let first = video_of(&props.first);
    let newest: Vec<_> = first[first.len() - 10..].iter().collect();
    viewer.read_until("the backup again", |viewer| {
        find(&video(viewer)[so_far..], &newest).is_some()
    });
    assert!(viewer.send_ms.is_sorted(), "send times never fall");
    assert_eq!(live.snapshot().epoch.expect("announced").number, 1);
    ingest.stop();
}

#[test]
fn a_source_that_returns_in_the_middle_of_a_picture_waits_for_the_next_key_frame() {
    let props = Props::new();
    let bytes = fs::read(&props.first).expect("written");
    let head = header_bytes(&bytes);
    // Its second run begins between key frames, as an encoder's does whose connection was cut. The next one shares its packet with the
    // end of the picture before.
    let late = props.folder.path().join("late.wmv");
    fs::write(
        &late,
        [&bytes[..head], &bytes[head + 150 * PACKET..]].concat(),
    )
    .expect("written");
    let source = props.leaving_when("true", &props.first, &late);
    // The backup sends all it has at once: it gives way with its last picture whole.
    let (channel, backup) = (
        channel("late", Start::Always),
        channel("backup", Start::Always),
    );
    let fallback = vec![Fallback::Channel(Arc::clone(&backup))];
    let whole = shell(&format!("cat {}; exec sleep 1000", text(&props.second)));
    let specs = vec![spec(&backup, whole), guarded(&channel, source, fallback)];
    let ingest = spawn(specs).expect("a ring");
    let mut viewer = Viewer::join(&channel, 1);
    let source = video_of(&props.first);
    viewer.read_until("the fallback", |viewer| {
        video(viewer).len() >= source.len() + 50
    });
    props.say("return");
    let next_key = 150;
    assert!(source[next_key].key && !source[next_key - 1].key);
    let rest: Vec<_> = source[next_key..].iter().collect();
    viewer.read_until("the rest of the source", |viewer| {
        find(&video(viewer)[source.len()..], &rest).is_some()
    });
    let shown = video(&viewer);
    let back = source.len() + find(&shown[source.len()..], &rest).expect("seen above");
    assert_eq!(shown.len(), back + rest.len());
    let slate = video_of(&props.second);
    assert!(
        slate.iter().any(|it| it.data == shown[back - 1].data),
        "before it the fallback was on air, with nothing in between"
    );
    assert_eq!(viewer.dropped(), 0, "every picture is whole");
    ingest.stop();
}

#[test]
fn a_fallback_that_waits_for_viewers_runs_while_it_stands_in() {
    let props = Props::new();
    let (live, backup) = (
        channel("live", Start::Always),
        channel("backup", Start::FirstViewer),
    );
    let script = format!(
        "echo run >> {}; cat {}; exec sleep 1000",
        props.path("runs"),
        text(&props.second)
    );
    let source = props.leaving_when(&props.told("leave"), &props.first, &props.first);
    let fallback = vec![Fallback::Channel(Arc::clone(&backup))];
    let specs = vec![
        guarded(&live, source, fallback),
        spec(&backup, shell(&script)),
    ];
    let timing = Timing {
        idle: Duration::from_millis(200),
        ..Timing::default()
    };
    let ingest = spawn_timed(specs, timing).expect("a ring");
    wait_for_air(&live, Air::OnAir);
    assert!(!Path::new(&props.path("runs")).exists(), "nobody needs it");
    props.say("leave");
    let mut viewer = Viewer::join(&live, 1);
    let count = video_of(&props.first).len();
    viewer.read_until("the backup", |viewer| video(viewer).len() > count + 20);
    assert_eq!(backup.demand().viewers, 1);
    props.say("return");
    wait_for("the end of its show", || {
        (backup.demand().viewers == 0).then_some(())
    });
    wait_for_air(&backup, Air::Ready);
    ingest.stop();
}

#[test]
fn a_source_that_waits_for_viewers_has_a_fallback_while_they_watch() {
    let props = Props::new();
    let channel = channel("on-demand", Start::FirstViewer);
    // It sends a little, so that it is ready, and then nothing more.
    let size = header_bytes(&fs::read(&props.first).expect("written")) + 100 * PACKET;
    let source = shell(&format!(
        "head -c {size} {}; exec sleep 1000",
        text(&props.first)
    ));
    let fallback = vec![Fallback::File(props.second.clone())];
    let timing = Timing {
        silence: Duration::from_millis(300),
        idle: Duration::from_millis(300),
    };
    let specs = vec![guarded(&channel, source, fallback)];
    let ingest = spawn_timed(specs, timing).expect("a ring");
    std::thread::sleep(Duration::from_millis(700));
    assert_eq!(
        channel.snapshot().air,
        Air::Waiting,
        "nobody has asked for it"
    );
    channel.ask_header();
    wait_for_air(&channel, Air::Ready);
    channel.viewer_started();
    let mut viewer = Viewer::join(&channel, 1);
    let second = video_of(&props.second);
    let second: Vec<_> = second.iter().take(10).collect();
    viewer.read_until("some of the fallback", |viewer| {
        find(&video(viewer), &second).is_some()
    });
    channel.viewer_left();
    wait_for_air(&channel, Air::Ready);
    ingest.stop();
}

#[test]
fn without_anything_to_show_the_source_is_lost_until_there_is() {
    let props = Props::new();
    let channel = channel("lost", Start::Always);
    let history = air_history(&channel);
    let other = common::channel("other", Start::Always);
    let fallback = vec![
        Fallback::File(props.folder.path().join("gone.wmv")),
        Fallback::Channel(Arc::clone(&other)),
    ];
    let later = format!(
        "{}; cat {}; exec sleep 1000",
        props.told("later"),
        text(&props.second)
    );
    let specs = vec![
        guarded(&channel, props.leaving(&props.first), fallback),
        spec(&other, shell(&later)),
    ];
    let ingest = spawn(specs).expect("a ring");
    wait_for_air(&channel, Air::Lost);
    props.say("later");
    wait_for_air(&channel, Air::OnAir);
    let history = history.lock().expect("no panic inside").clone();
    let wanted = [Air::Waiting, Air::OnAir, Air::Gap, Air::Lost, Air::OnAir];
    assert_eq!(history, wanted);
    ingest.stop();
}
