//! The GUIDs a server meets in ASF (`docs/protocol/asf.md` §2), in the byte order of the wire.

use std::fmt;

/// A GUID as stored: the first three groups little-endian, the last eight bytes in order.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Guid([u8; 16]);

impl Guid {
    /// From the canonical groups; the last two (`d`) as one number: `…-A6D9-00AA0062CE6C` is `0xA6D9_00AA_0062_CE6C`.
    pub const fn new(a: u32, b: u16, c: u16, d: u64) -> Self {
        let (a, b, c, d) = (
            a.to_le_bytes(),
            b.to_le_bytes(),
            c.to_le_bytes(),
            d.to_be_bytes(),
        );
        Self([
            a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5],
            d[6], d[7],
        ])
    }

    /// From the sixteen bytes of the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The sixteen bytes of the wire.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.0;
        write!(
            f,
            "{:02X}{:02X}{:02X}{:02X}-{:02X}{:02X}-",
            b[3], b[2], b[1], b[0], b[5], b[4]
        )?;
        write!(f, "{:02X}{:02X}-{:02X}{:02X}-", b[7], b[6], b[8], b[9])?;
        b[10..].iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Header Object.
pub const HEADER: Guid = Guid::new(0x75B2_2630, 0x668E, 0x11CF, 0xA6D9_00AA_0062_CE6C);
/// Data Object.
pub const DATA: Guid = Guid::new(0x75B2_2636, 0x668E, 0x11CF, 0xA6D9_00AA_0062_CE6C);
/// Simple Index Object.
pub const SIMPLE_INDEX: Guid = Guid::new(0x3300_0890, 0xE5B1, 0x11CF, 0x89F4_00A0_C903_49CB);
/// Index Object.
pub const INDEX: Guid = Guid::new(0xD6E2_29D3, 0x35DA, 0x11D1, 0x9034_00A0_C903_49BE);
/// Media Object Index Object.
pub const MEDIA_OBJECT_INDEX: Guid = Guid::new(0xFEB1_03F8, 0x12AD, 0x4C64, 0x840F_2A1D_2F7A_D48C);
/// Timecode Index Object.
pub const TIMECODE_INDEX: Guid = Guid::new(0x3CB7_3FD0, 0x0C4A, 0x4803, 0x953D_EDF7_B622_8F0C);
/// File Properties.
pub const FILE_PROPERTIES: Guid = Guid::new(0x8CAB_DCA1, 0xA947, 0x11CF, 0x8EE4_00C0_0C20_5365);
/// Stream Properties.
pub const STREAM_PROPERTIES: Guid = Guid::new(0xB7DC_0791, 0xA9B7, 0x11CF, 0x8EE6_00C0_0C20_5365);
/// Header Extension.
pub const HEADER_EXTENSION: Guid = Guid::new(0x5FBF_03B5, 0xA92E, 0x11CF, 0x8EE3_00C0_0C20_5365);
/// Codec List.
pub const CODEC_LIST: Guid = Guid::new(0x86D1_5240, 0x311D, 0x11D0, 0xA3A4_00A0_C903_48F6);
/// Script Command.
pub const SCRIPT_COMMAND: Guid = Guid::new(0x1EFB_1A30, 0x0B62, 0x11D0, 0xA39B_00A0_C903_48F6);
/// Marker.
pub const MARKER: Guid = Guid::new(0xF487_CD01, 0xA951, 0x11CF, 0x8EE6_00C0_0C20_5365);
/// Bitrate Mutual Exclusion.
pub const BITRATE_MUTUAL_EXCLUSION: Guid =
    Guid::new(0xD6E2_29DC, 0x35DA, 0x11D1, 0x9034_00A0_C903_49BE);
/// Content Description.
pub const CONTENT_DESCRIPTION: Guid = Guid::new(0x75B2_2633, 0x668E, 0x11CF, 0xA6D9_00AA_0062_CE6C);
/// Extended Content Description.
pub const EXTENDED_CONTENT_DESCRIPTION: Guid =
    Guid::new(0xD2D0_A440, 0xE307, 0x11D2, 0x97F0_00A0_C95E_A850);
/// Stream Bitrate Properties.
pub const STREAM_BITRATE_PROPERTIES: Guid =
    Guid::new(0x7BF8_75CE, 0x468D, 0x11D1, 0x8D82_0060_97C9_A2B2);
/// Content Branding.
pub const CONTENT_BRANDING: Guid = Guid::new(0x2211_B3FA, 0xBD23, 0x11D2, 0xB4B7_00A0_C955_FC6E);
/// Content Encryption.
pub const CONTENT_ENCRYPTION: Guid = Guid::new(0x2211_B3FB, 0xBD23, 0x11D2, 0xB4B7_00A0_C955_FC6E);
/// Extended Content Encryption.
pub const EXTENDED_CONTENT_ENCRYPTION: Guid =
    Guid::new(0x298A_E614, 0x2622, 0x4C17, 0xB935_DAE0_7EE9_289C);
/// Digital Signature.
pub const DIGITAL_SIGNATURE: Guid = Guid::new(0x2211_B3FC, 0xBD23, 0x11D2, 0xB4B7_00A0_C955_FC6E);
/// Padding.
pub const PADDING: Guid = Guid::new(0x1806_D474, 0xCADF, 0x4509, 0xA4BA_9AAB_CB96_AAE8);
/// Extended Stream Properties.
pub const EXTENDED_STREAM_PROPERTIES: Guid =
    Guid::new(0x14E6_A5CB, 0xC672, 0x4332, 0x8399_A969_5206_5B5A);
/// Advanced Mutual Exclusion.
pub const ADVANCED_MUTUAL_EXCLUSION: Guid =
    Guid::new(0xA086_49CF, 0x4775, 0x4670, 0x8A16_6E35_3575_66CD);
/// Metadata.
pub const METADATA: Guid = Guid::new(0xC5F8_CBEA, 0x5BAF, 0x4877, 0x8467_AA8C_44FA_4CCA);
/// Metadata Library.
pub const METADATA_LIBRARY: Guid = Guid::new(0x4423_1C94, 0x9498, 0x49D1, 0xA141_1D13_4E45_7054);
/// Index Parameters.
pub const INDEX_PARAMETERS: Guid = Guid::new(0xD6E2_29DF, 0x35DA, 0x11D1, 0x9034_00A0_C903_49BE);
/// Media Object Index Parameters.
pub const MEDIA_OBJECT_INDEX_PARAMETERS: Guid =
    Guid::new(0x6B20_3BAD, 0x3F11, 0x48E4, 0xACA8_D761_3DE2_CFA7);
/// Timecode Index Parameters.
pub const TIMECODE_INDEX_PARAMETERS: Guid =
    Guid::new(0xF55E_496D, 0x9797, 0x4B5D, 0x8C8B_604D_FE9B_FB24);
/// Advanced Content Encryption.
pub const ADVANCED_CONTENT_ENCRYPTION: Guid =
    Guid::new(0x4305_8533, 0x6981, 0x49E6, 0x9B74_AD12_CB86_D58C);
/// Index Placeholder (not in the specification).
pub const INDEX_PLACEHOLDER: Guid = Guid::new(0xD9AA_DE20, 0x7C17, 0x4F9C, 0xBC28_8555_DD98_E2A2);
/// Audio Media.
pub const AUDIO_MEDIA: Guid = Guid::new(0xF869_9E40, 0x5B4D, 0x11CF, 0xA8FD_0080_5F5C_442B);
/// Video Media.
pub const VIDEO_MEDIA: Guid = Guid::new(0xBC19_EFC0, 0x5B4D, 0x11CF, 0xA8FD_0080_5F5C_442B);
/// Command Media (script stream).
pub const COMMAND_MEDIA: Guid = Guid::new(0x59DA_CFC0, 0x59E6, 0x11D0, 0xA3AC_00A0_C903_48F6);
/// No Error Correction.
pub const NO_ERROR_CORRECTION: Guid = Guid::new(0x20FB_5700, 0x5B55, 0x11CF, 0xA8FD_0080_5F5C_442B);
/// Mutex Bitrate.
pub const MUTEX_BITRATE: Guid = Guid::new(0xD6E2_2A01, 0x35DA, 0x11D1, 0x9034_00A0_C903_49BE);
/// Reserved 1, in Header Extension.
pub const RESERVED_1: Guid = Guid::new(0xABD3_D211, 0xA9BA, 0x11CF, 0x8EE6_00C0_0C20_5365);
/// Output Clean Point (1).
pub const OUTPUT_CLEAN_POINT: Guid = Guid::new(0xF72A_3C6F, 0x6EB4, 0x4EBC, 0xB192_09AD_9759_E828);
/// Extended Content Encryption, alternative.
pub const EXTENDED_CONTENT_ENCRYPTION_2: Guid =
    Guid::new(0xFF88_9EF1, 0xADEE, 0x40DA, 0x9E71_9870_4BB9_28CE);

/// Objects that stand at top level: one of these at a packet boundary means that the packets are over (§6.5).
pub(crate) const TOP_LEVEL: [Guid; 6] = [
    HEADER,
    DATA,
    SIMPLE_INDEX,
    INDEX,
    MEDIA_OBJECT_INDEX,
    TIMECODE_INDEX,
];

#[cfg(test)]
mod tests {
    use hex_literal::hex;

    use super::*;

    #[test]
    fn stored_bytes_and_text_follow_the_table() {
        assert_eq!(HEADER.as_bytes(), &hex!("3026B2758E66CF11A6D900AA0062CE6C"));
        assert_eq!(
            SIMPLE_INDEX.as_bytes(),
            &hex!("90080033B1E5CF1189F400A0C90349CB")
        );
        assert_eq!(HEADER.to_string(), "75B22630-668E-11CF-A6D9-00AA0062CE6C");
    }
}
