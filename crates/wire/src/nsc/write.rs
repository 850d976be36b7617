//! The canonical form of an announcement (§7): the order of the grammar, `name=value` without blanks, every string encoded,
//! the empty ones too, since some readers stop at whatever is neither `0x…` nor `02…`.

use crate::nsc::block::Block;
use crate::nsc::text::Text;
use crate::nsc::{Announcement, Extra, Key, Section, VERSION};

impl Announcement {
    /// Appends the file. ASCII, unless an unknown property was not.
    pub fn encode(&self, out: &mut String) {
        section(&Section::Address, out);
        for (key, name) in Key::ALL {
            self.property(key, name, out);
        }
        self.extras_of(&Section::Address, out);
        section(&Section::Formats, out);
        for (index, format) in self.formats.iter().enumerate() {
            let number = index + 1;
            property(&format!("Format{number}"), out, |out| {
                Block::encode(format.id().get().into(), format.header(), out)
            });
            property(&format!("Description{number}"), out, |out| {
                Text::encode(format.description().map(Text::as_str), out)
            });
        }
        self.extras_of(&Section::Formats, out);
        let mut current = &Section::Formats;
        for extra in &self.extras {
            if let Section::Other(_) = extra.section {
                if *current != extra.section {
                    current = &extra.section;
                    section(current, out);
                }
                plain(extra, out);
            }
        }
    }

    fn property(&self, key: Key, name: &str, out: &mut String) {
        let address;
        let string = match key {
            Key::Name => self.name.as_ref().map(Text::as_str),
            Key::Version => Some(VERSION),
            Key::Adapter => {
                address = self.adapter.map(|address| address.to_string());
                address.as_deref()
            }
            Key::Group => {
                address = Some(self.group.to_string());
                address.as_deref()
            }
            Key::LogUrl => self.log_url.as_ref().map(Text::as_str),
            Key::UnicastUrl => self.unicast_url.as_ref().map(Text::as_str),
            Key::Port => return integer(name, Some(self.port.get().into()), out),
            Key::TimeToLive => return integer(name, self.time_to_live.map(u32::from), out),
            Key::SpanMax => return integer(name, self.span_max.map(u32::from), out),
            Key::AllowSplitting => return integer(name, self.allow_splitting.map(u32::from), out),
            Key::AllowCaching => return integer(name, self.allow_caching.map(u32::from), out),
            Key::CacheExpiration => return integer(name, self.cache_expiration_s, out),
            Key::NetworkBuffer => return integer(name, self.network_buffer_ms, out),
        };
        property(name, out, |out| Text::encode(string, out));
    }

    fn extras_of(&self, section: &Section, out: &mut String) {
        for extra in &self.extras {
            if extra.section == *section {
                plain(extra, out);
            }
        }
    }
}

fn section(section: &Section, out: &mut String) {
    out.push('[');
    out.push_str(section.name());
    out.push_str("]\r\n");
}

fn property(name: &str, out: &mut String, value: impl FnOnce(&mut String)) {
    out.push_str(name);
    out.push('=');
    value(out);
    out.push_str("\r\n");
}

fn integer(name: &str, value: Option<u32>, out: &mut String) {
    if let Some(value) = value {
        property(name, out, |out| out.push_str(&format!("0x{value:08X}")));
    }
}

fn plain(extra: &Extra, out: &mut String) {
    property(&extra.name, out, |out| out.push_str(&extra.value));
}
