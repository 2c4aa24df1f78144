//! The types a setting can have, and how each reads its text.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use zeroize::Zeroize;

/// A type of setting.
pub trait SettingValue: Sized {
    /// For people: "port", "duration"…
    const KIND: &'static str;

    /// # Errors
    /// Says what was expected.
    fn parse(text: &str) -> Result<Self, String>;
}

/// A length of time, written `500ms`, `5s`, `10m`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A size, written `64KiB`, `10MiB`, `1GiB`, or a plain number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

/// A number of threads; 0 leaves it to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads(pub u16);

/// More would only wait for each other.
const MOST_THREADS: u16 = 1024;

/// A secret: shown nowhere, wiped when dropped. Empty means not set.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

// === impl Secret ===

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn is_set(&self) -> bool {
        !self.0.is_empty()
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_set() { "[redacted]" } else { "[not set]" })
    }
}

impl SettingValue for Secret {
    const KIND: &'static str = "secret";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

// === impl Span ===

impl SettingValue for Span {
    const KIND: &'static str = "duration";

    fn parse(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|_| "expected a duration such as 500ms, 5s, 10m or 7d".into())
    }
}

/// Empty means that the process decides by itself.
impl SettingValue for Option<Span> {
    const KIND: &'static str = "duration";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { Span::parse(text).map(Some) }
    }
}

// === impl ByteSize ===

impl SettingValue for ByteSize {
    const KIND: &'static str = "size";

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            _ => return Err("expected a size such as 64KiB, 10MiB or 1GiB".into()),
        };
        let number: u64 = number.parse().map_err(|_| "expected a size such as 64KiB, 10MiB or 1GiB".to_owned())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| "the size is too large".into())
    }
}

// === impl Threads ===

impl SettingValue for Threads {
    const KIND: &'static str = "number";

    fn parse(text: &str) -> Result<Self, String> {
        let threads = text.trim().parse().ok().filter(|threads| *threads <= MOST_THREADS);
        threads.map(Self).ok_or_else(|| format!("expected a number of threads, {MOST_THREADS} at most"))
    }
}

macro_rules! parsed {
    ($($type:ty: $kind:literal, $expected:literal;)*) => {$(
        impl SettingValue for $type {
            const KIND: &'static str = $kind;

            fn parse(text: &str) -> Result<Self, String> {
                text.trim().parse().map_err(|_| concat!("expected ", $expected).into())
            }
        }
    )*};
}

parsed! {
    u16: "port", "a port number";
    u32: "number", "a whole number";
    u64: "number", "a whole number";
    f64: "ratio", "a number";
    IpAddr: "address", "an IP address";
}

impl SettingValue for bool {
    const KIND: &'static str = "boolean";

    fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("expected true or false".into()),
        }
    }
}

impl SettingValue for String {
    const KIND: &'static str = "text";

    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl SettingValue for PathBuf {
    const KIND: &'static str = "path";

    /// A leading `~/` is the home directory.
    fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("~/") {
            Some(rest) => match std::env::var_os("HOME") {
                Some(home) => Ok(Self::from(home).join(rest)),
                None => Err("HOME is not set, so ~ has no meaning".into()),
            },
            None => Ok(Self::from(text)),
        }
    }
}
