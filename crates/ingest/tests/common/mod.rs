//! Set-up for tests of sources: media, channels, a viewer that takes what is published apart.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod gate;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use funnel_asf::{Assembler, Deframer, Header, Item, MediaObject};
use funnel_channel::{Air, Channel, ChannelOptions, Epoch, Form, Reader, Start};
use funnel_ingest::{Source, SourceSpec};

/// Nothing here takes longer unless it is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A file of the test media.
pub fn media(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/media")).join(name)
}

/// The same as an argument for a shell.
pub fn media_arg(name: &str) -> String {
    media(name)
        .to_str()
        .expect("the repository's path is text")
        .to_owned()
}

/// A channel that can hold all that the test media have.
pub fn channel(name: &str, start: Start) -> Arc<Channel> {
    Channel::new(
        name,
        ChannelOptions {
            start,
            readers_max: 4,
        },
    )
}

pub fn spec(channel: &Arc<Channel>, source: Source) -> SourceSpec {
    SourceSpec {
        channel: Arc::clone(channel),
        source,
        fallback: Vec::new(),
        title: Some("A title".into()),
        author: None,
        log_seconds: 600,
        log_bytes_max: 64 << 20,
        source_grace: Duration::from_secs(60),
        file_id: [7; 16],
    }
}

pub fn file(name: &str, looped: bool, speed: f64) -> Source {
    Source::File {
        path: media(name),
        looped,
        speed,
    }
}

/// A command line for the shell.
pub fn shell(script: &str) -> Source {
    Source::Command {
        run: vec!["/bin/sh".into(), "-c".into(), script.into()],
    }
}

/// Waits until `look` finds something; `what` names it when it never comes.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never happened: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

pub fn wait_for_air(channel: &Channel, air: Air) {
    wait_for(&format!("{air:?} on {channel:?}"), || {
        (channel.snapshot().air == air).then_some(())
    });
}

/// Every air state from now on, in order.
pub fn air_history(channel: &Arc<Channel>) -> Arc<Mutex<Vec<Air>>> {
    let history = Arc::new(Mutex::new(Vec::new()));
    let (seen, watched) = (Arc::clone(&history), Arc::downgrade(channel));
    channel.on_change(Box::new(move || {
        let Some(channel) = watched.upgrade() else {
            return;
        };
        let air = channel.snapshot().air;
        let mut seen = seen.lock().expect("no panic inside");
        if seen.last() != Some(&air) {
            seen.push(air);
        }
    }));
    history
}

/// Reads one epoch from its oldest packet on.
pub struct Viewer {
    pub epoch: Arc<Epoch>,
    pub objects: Vec<MediaObject>,
    pub send_ms: Vec<u64>,
    pub first_is_clean: bool,
    /// When it had read something for the first time.
    pub first_at: Option<Instant>,
    reader: Reader,
    next: u64,
    assembler: Assembler,
}

impl Viewer {
    /// Joins epoch `number`, as soon as it is there.
    pub fn join(channel: &Channel, number: u64) -> Self {
        let epoch = wait_for(&format!("epoch {number} of {channel:?}"), || {
            channel
                .snapshot()
                .epoch
                .filter(|epoch| epoch.number >= number)
        });
        assert_eq!(epoch.number, number);
        let header = Header::parse(&epoch.header).expect("the announced header is valid");
        assert_eq!(header.packet_bytes(), epoch.packet_bytes);
        assert_eq!(header.stream_mask(), epoch.streams);
        assert!(header.is_broadcast() && epoch.bit_rate > 0);
        assert_eq!(header.description().title, "A title");
        let reader = epoch.log.reader().expect("a free place");
        let assembler = Assembler::new(&header);
        Self {
            epoch,
            objects: Vec::new(),
            send_ms: Vec::new(),
            first_is_clean: false,
            first_at: None,
            reader,
            next: 0,
            assembler,
        }
    }

    /// Takes what is there; whether the log has ended.
    pub fn read(&mut self) -> bool {
        let guard = self.reader.pin();
        assert!(
            guard.head() <= self.next,
            "the log holds everything these tests publish"
        );
        for seq in self.next..guard.tail() {
            let packet = guard.packet(seq).expect("pinned");
            let bytes = packet.bytes(Form::Full, false);
            assert_eq!(bytes.len(), self.epoch.packet_bytes as usize);
            self.assembler
                .packet(bytes, &mut self.objects)
                .expect("published packets are sound");
            self.first_is_clean |= seq == 0 && packet.clean_point();
            self.send_ms.push(packet.send_ms());
            self.first_at.get_or_insert_with(Instant::now);
        }
        self.next = guard.tail();
        guard.ended()
    }

    /// Reads until `enough`.
    pub fn read_until(&mut self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        wait_for(what, || {
            self.read();
            enough(self).then_some(())
        });
    }

    /// Reads to the end of the epoch.
    pub fn read_all(&mut self) {
        wait_for("the end of the log", || self.read().then_some(()));
    }

    /// Objects of which a part was missing.
    pub fn dropped(&self) -> u64 {
        self.assembler.dropped()
    }

    pub fn by_stream(&self) -> BTreeMap<u8, Vec<&MediaObject>> {
        by_stream(&self.objects)
    }
}

pub fn by_stream(objects: &[MediaObject]) -> BTreeMap<u8, Vec<&MediaObject>> {
    let mut streams: BTreeMap<u8, Vec<&MediaObject>> = BTreeMap::new();
    for object in objects {
        streams.entry(object.stream).or_default().push(object);
    }
    streams
}

/// Stream, time in ms and size of every object a file has, in the order of each stream, as ffprobe sees them.
pub fn expected(name: &str) -> BTreeMap<u8, Vec<(i64, usize)>> {
    let table = fs::read_to_string(media(&format!("expected/{name}.tsv")))
        .expect("the table is in the repository");
    let mut streams: BTreeMap<u8, Vec<(i64, usize)>> = BTreeMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [stream, time_ms, size, ..] = fields[..] else {
            panic!("odd line: {line}")
        };
        let object = (time_ms.parse().expect("ms"), size.parse().expect("bytes"));
        streams
            .entry(stream.parse().expect("a stream"))
            .or_default()
            .push(object);
    }
    streams
}

/// The objects of a file, taken apart without ingest.
pub fn objects_of(name: &str) -> Vec<MediaObject> {
    objects_in(&fs::read(media(name)).expect("the file is in the repository"))
}

/// The objects in a file's bytes.
pub fn objects_in(file: &[u8]) -> Vec<MediaObject> {
    let (mut deframer, mut assembler, mut objects) = (Deframer::new(), None, Vec::new());
    deframer.push(file);
    deframer.finish();
    while let Ok(Some(item)) = deframer.next() {
        match (item, &mut assembler) {
            (Item::Header(header), _) => assembler = Some(Assembler::new(&header)),
            (Item::Packet(packet), Some(assembler)) => drop(assembler.packet(packet, &mut objects)),
            _ => break,
        }
    }
    objects
}
