//! Numbers for people: three digits, the unit that suits the size, thousands apart.

/// `12345` → `12,345`.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count that was computed with: `12,345`.
pub fn whole(number: f64) -> String {
    count(number.round().max(0.0) as u64)
}

/// A number of something: `1 viewer`, `2,000 viewers`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// CPU a viewer: `25.3 µs/s`, or `n/a`.
pub fn cpu(us_per_s: Option<f64>) -> String {
    us_per_s.map_or_else(|| "n/a".to_owned(), |us| format!("{} µs/s", trimmed(us, 1)))
}

/// Microseconds: `850 µs`, `12.3 ms`, `1.25 s`.
pub fn time(us: f64) -> String {
    scaled(us, &[(1.0, "µs"), (1e3, "ms"), (1e6, "s")])
}

/// Bits per second: `64 kb/s`, `3.02 Gb/s`.
pub fn rate(bits_per_s: f64) -> String {
    scaled(
        bits_per_s,
        &[(1.0, "b/s"), (1e3, "kb/s"), (1e6, "Mb/s"), (1e9, "Gb/s")],
    )
}

/// Bytes in powers of 1024: `3.12 KiB`, `210 MiB`.
pub fn bytes(bytes: f64) -> String {
    scaled(
        bytes,
        &[
            (1.0, "B"),
            (1024.0, "KiB"),
            (1_048_576.0, "MiB"),
            (1_073_741_824.0, "GiB"),
        ],
    )
}

/// A share of 0–1 as `5 %`, `99.95 %`; a share that is not all never reads `100 %`.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if share < 1.0 && percent > 99.995 {
        return "> 99.99 %".to_owned();
    }
    if share > 0.0 && percent < 0.005 {
        return "< 0.01 %".to_owned();
    }
    format!("{} %", trimmed(percent, 2))
}

/// A quantile below 1, with the digits that tell it from its neighbours: `37 %`, `99.2 %`, `99.9987 %`.
pub fn percentile(quantile: f64) -> String {
    let nines = -(1.0 - quantile).log10();
    let places = (nines - 0.5).max(0.0) as usize;
    format!("{:.places$} %", quantile * 100.0)
}

/// Seconds of a run: `30 s`, `2 min 5 s`, `1 h 0 min`.
pub fn span(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{} s", trimmed(seconds, 1));
    }
    let whole = seconds.round() as u64;
    match whole / 3600 {
        0 => format!("{} min {} s", whole / 60, whole % 60),
        hours => format!("{hours} h {} min", whole % 3600 / 60),
    }
}

/// Text of a peer on one line: nothing that a terminal would obey, at most 120 characters.
pub fn plain(text: &str) -> String {
    const CHARS_MAX: usize = 120;
    let mut out = String::new();
    for (position, c) in text.chars().enumerate() {
        if position == CHARS_MAX {
            out.push('…');
            break;
        }
        match is_obeyed(c) {
            true => out.extend(c.escape_unicode()),
            false => out.push(c),
        }
    }
    out
}

/// Control characters, and the invisible ones that turn the direction of writing.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `places` decimals, no zeros at the end.
pub fn trimmed(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// Three digits in the largest unit that is not larger than the number.
fn scaled(number: f64, units: &[(f64, &str)]) -> String {
    let (size, unit) = units
        .iter()
        .rev()
        // Half of the last digit early, lest 999.9 becomes "1000 µs".
        .find(|(size, _)| number.abs() >= size * 0.9995)
        .unwrap_or(&units[0]);
    let value = number / size;
    let places = match value.abs() {
        v if *size == 1.0 && v >= 10.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{} {unit}", trimmed(value, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let thousands: Vec<_> = [0, 999, 1_000, 123_456, 1_234_567].map(count).into();
        assert_eq!(thousands, ["0", "999", "1,000", "123,456", "1,234,567"]);
        assert_eq!(counted(1, "viewer", "viewers"), "1 viewer");
        let times: Vec<_> = [0.0, 1.0, 850.0, 999.9, 12_345.0, 1_250_000.0, 3.6e9]
            .map(time)
            .into();
        assert_eq!(
            times,
            [
                "0 µs", "1 µs", "850 µs", "1 ms", "12.3 ms", "1.25 s", "3600 s"
            ]
        );
        assert_eq!(rate(64_000.0), "64 kb/s");
        assert_eq!(rate(3.018e9), "3.02 Gb/s");
        assert_eq!(bytes(3_200.0), "3.12 KiB");
        assert_eq!(bytes(-512.0), "-512 B");
    }

    #[test]
    fn a_share_that_is_not_all_never_reads_as_all() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.999_999), "> 99.99 %");
        assert_eq!(percent(0.000_001), "< 0.01 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.051), "5.1 %");
    }

    #[test]
    fn percentiles_have_the_digits_they_need() {
        let told: Vec<_> = [0.0, 0.371, 0.96, 0.992, 0.99987].map(percentile).into();
        assert_eq!(told, ["0 %", "37 %", "96 %", "99.2 %", "99.987 %"]);
    }

    #[test]
    fn text_of_peers_cannot_command_a_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\nc\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}c\\u{202e}"
        );
        assert_eq!(plain(&"é".repeat(121)), format!("{}…", "é".repeat(120)));
    }

    #[test]
    fn long_runs_are_told_in_minutes_and_hours() {
        assert_eq!(span(30.0), "30 s");
        assert_eq!(span(125.0), "2 min 5 s");
        assert_eq!(span(3_600.0), "1 h 0 min");
    }
}
