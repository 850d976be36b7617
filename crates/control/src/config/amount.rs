//! Amounts with a unit, as operators write them: `"2 Gb/s"`, `"64 MiB"`. Plain integers stay plain: bit/s, or bytes.

/// Bits per second: `b/s`, `kb/s`, `Mb/s`, `Gb/s`, `Tb/s`, also with `bit/s`; steps of 1000.
pub(super) fn bits_per_second(text: &str) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[
        ("b/s", 1),
        ("bit/s", 1),
        ("kb/s", 1_000),
        ("kbit/s", 1_000),
        ("Mb/s", 1_000_000),
        ("Mbit/s", 1_000_000),
        ("Gb/s", 1_000_000_000),
        ("Gbit/s", 1_000_000_000),
        ("Tb/s", 1_000_000_000_000),
        ("Tbit/s", 1_000_000_000_000),
    ];
    amount(text, UNITS)
}

/// Bytes: `kB`, `MB`, `GB` in steps of 1000; `KiB`, `MiB`, `GiB` in steps of 1024; `B`.
pub(super) fn bytes(text: &str) -> Option<u64> {
    const UNITS: &[(&str, u64)] = &[
        ("B", 1),
        ("kB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    amount(text, UNITS)
}

/// Case matters (`Mb` is not `mb`), the space before the unit does not. Rounded to whole units of the result.
fn amount(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let number_end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(*factor);
    }
    let product = number.parse::<f64>().ok()? * (*factor as f64);
    // Above 2^53 a decimal fraction would not be exact any more; nobody writes "9007199.3 Gb/s".
    (product <= 9_007_199_254_740_992.0).then_some(product.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_bit_rates() {
        assert_eq!(bits_per_second("2 Gb/s"), Some(2_000_000_000));
        assert_eq!(bits_per_second("2.5Mb/s"), Some(2_500_000));
        assert_eq!(bits_per_second(" 300 kbit/s "), Some(300_000));
        assert_eq!(bits_per_second("0 b/s"), Some(0));
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(bytes("64 MiB"), Some(64 << 20));
        assert_eq!(bytes("1.5 kB"), Some(1_500));
    }

    #[test]
    fn refuses_what_is_not_an_amount() {
        for text in [
            "",
            "2",
            "Gb/s",
            "2 gb/s",
            "-2 Gb/s",
            "1.2.3 Gb/s",
            "99999999999999999999 b/s",
            "2 Gb/s extra",
            "18446744073709551615 kb/s",
        ] {
            assert_eq!(bits_per_second(text), None, "{text:?}");
        }
    }
}
