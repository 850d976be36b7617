//! Numbers with units as people type them: `30s`, `1000/s`, `300kb/s`, `5%`.

use std::time::Duration;

/// `1.5s`, `200ms`, `2m`, `1h`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (value, unit) = split(text)?;
    let factor = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => {
            return Err(format!(
                "unknown unit '{unit}': a time is written 30s, 200ms, 2m or 1h"
            ));
        }
    };
    let seconds = value * factor;
    if seconds > DURATION_SECONDS_MAX {
        return Err("longer than a day".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A time in which something can be measured: 1 s or longer.
pub fn steady_time(text: &str) -> Result<Duration, String> {
    let steady = duration(text)?;
    if steady < Duration::from_secs(1) {
        return Err("in less than a second nothing can be measured".into());
    }
    Ok(steady)
}

/// Arrivals: `1000/s`, `60/m`; a bare number is per second.
pub fn per_second(text: &str) -> Result<f64, String> {
    let (value, unit) = split(text)?;
    let rate = match unit {
        "" | "/s" => value,
        "/m" | "/min" => value / 60.0,
        _ => {
            return Err(format!(
                "unknown unit '{unit}': arrivals are written 1000/s or 60/m"
            ));
        }
    };
    if rate >= PER_SECOND_MIN {
        Ok(rate)
    } else if rate > 0.0 {
        Err("rarer than one an hour".into())
    } else {
        Err("must be above zero".into())
    }
}

/// A bit rate in bit/s: `300kb/s`, `300k`, `2.5Mb/s`, `64000`.
pub fn bits_per_second(text: &str) -> Result<u64, String> {
    let (value, unit) = split(text)?;
    let factor = match unit.trim_end_matches("b/s").trim_end_matches("bit/s") {
        "" => 1.0,
        "k" | "K" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        _ => {
            return Err(format!(
                "unknown unit '{unit}': a bit rate is written 300kb/s or 2.5Mb/s"
            ));
        }
    };
    let bits = value * factor;
    if bits >= 1.0 {
        Ok(bits as u64)
    } else {
        Err("must be 1 bit/s or more".into())
    }
}

/// A share: `10%` or `0.1`, 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    let (value, unit) = split(text)?;
    let share = match unit {
        "%" => value / 100.0,
        "" => value,
        _ => {
            return Err(format!(
                "unknown unit '{unit}': a share is written 10% or 0.1"
            ));
        }
    };
    if share <= 1.0 {
        Ok(share)
    } else {
        Err(format!(
            "{text} is more than all; a share is written 10% or 0.1"
        ))
    }
}

/// Number and unit; the number is finite and not negative.
fn split(text: &str) -> Result<(f64, &str), String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'))
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let value: f64 = digits
        .replace('_', "")
        .parse()
        .map_err(|_| format!("'{text}' does not begin with a number"))?;
    Ok((value, unit.trim()))
}

const DURATION_SECONDS_MAX: f64 = 86_400.0;
/// A million viewers at this rate come within what a `Duration` holds.
const PER_SECOND_MIN: f64 = 1.0 / 3600.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_type_is_understood() {
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("250 ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(per_second("1_000/s"), Ok(1000.0));
        assert_eq!(per_second("90/m"), Ok(1.5));
        assert_eq!(bits_per_second("300kb/s"), Ok(300_000));
        assert_eq!(bits_per_second("2.5M"), Ok(2_500_000));
        assert_eq!(bits_per_second("64000bit/s"), Ok(64_000));
        assert_eq!(share("10%"), Ok(0.1));
        assert_eq!(share("0.25"), Ok(0.25));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_words() {
        assert!(duration("-3s").is_err());
        assert!(steady_time("900ms").is_err() && steady_time("1s").is_ok());
        assert!(duration("99h").unwrap_err().contains("day"));
        assert!(duration("3 weeks").unwrap_err().contains("weeks"));
        assert!(per_second("0/s").unwrap_err().contains("above zero"));
        assert!(per_second("0.0001/s").unwrap_err().contains("hour"));
        assert!(bits_per_second("fast").unwrap_err().contains("number"));
        assert!(share("120%").unwrap_err().contains("more than all"));
        assert!(share("5kg").is_err());
    }
}
