//! Devices of a machine, by their numbers.

use core::fmt;
use core::str::FromStr;

/// A set of devices, numbered from 0 to 63 as the machine's driver numbers them. Never empty.
///
/// People write it as they write `CUDA_VISIBLE_DEVICES`, with ranges for those who have many:
/// `0`, `0,2-3`, `GPU0,GPU1`. It is told without ranges, which every engine understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceMask(u64);

/// A text that names no set of devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadDeviceMask;

impl DeviceMask {
    /// Whether the device of this number is one of them.
    #[must_use]
    pub const fn has(self, device: u32) -> bool {
        device < u64::BITS && self.0 >> device & 1 == 1
    }

    /// Whether each of these devices is one of `others`.
    #[must_use]
    pub const fn is_within(self, others: Self) -> bool {
        self.0 & !others.0 == 0
    }

    /// The devices of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromStr for DeviceMask {
    type Err = BadDeviceMask;

    fn from_str(text: &str) -> Result<Self, BadDeviceMask> {
        let mut parts = text.split(',').map(|part| devices(part.trim()));
        let bits = parts.try_fold(0, |bits, part| Some(bits | part?));
        bits.map(Self).ok_or(BadDeviceMask)
    }
}

/// One device, or a range of them with both its ends.
fn devices(part: &str) -> Option<u64> {
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let (first, last) = (device(first)?, device(last)?);
    let up_to = |device: u32| u64::MAX >> (u64::BITS - 1 - device);
    (first <= last).then(|| up_to(last) & !(up_to(first) >> 1))
}

fn device(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("GPU").unwrap_or(text);
    // A sign is no digit, though the parser takes one.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let device = digits.parse().ok().filter(|_| plain)?;
    (device < u64::BITS).then_some(device)
}

impl fmt::Display for DeviceMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for device in (0..u64::BITS).filter(|device| self.has(*device)) {
            write!(f, "{separator}{device}")?;
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Display for BadDeviceMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("devices are numbers from 0 to 63 and ranges of them, as in `0,2-3`")
    }
}

impl core::error::Error for BadDeviceMask {}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(text: &str) -> DeviceMask {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_written_with_ranges_is_told_without() {
        let check = |text: &str, told: &str| assert_eq!(mask(text).to_string(), told);
        check("0", "0");
        check("3,1", "1,3");
        check("0,2-4", "0,2,3,4");
        check("GPU0, GPU2", "0,2");
        check("63", "63");
        check("5-5", "5");
        assert_eq!(mask("0-63").0, u64::MAX);
    }

    #[test]
    fn every_range_holds_its_ends_and_what_lies_between() {
        for first in 0..64 {
            for last in first..64 {
                let listed: Vec<String> = (first..=last).map(|device| device.to_string()).collect();
                assert_eq!(
                    mask(&format!("{first}-{last}")).to_string(),
                    listed.join(",")
                );
            }
        }
    }

    #[test]
    fn what_names_no_devices_is_refused() {
        for text in [
            "", ",", "0,", "64", "3-1", "-1", "+1", "0x3", "a", "1-2-3", "GPU", "GPU-1",
        ] {
            assert_eq!(text.parse::<DeviceMask>(), Err(BadDeviceMask), "{text}");
        }
    }

    #[test]
    fn a_set_lies_within_any_that_has_all_of_it() {
        assert!(mask("1").is_within(mask("0-1")));
        assert!(mask("0-1").is_within(mask("0-1")));
        assert!(!mask("0-2").is_within(mask("0-1")));
        assert!(!mask("5").is_within(mask("0-1")));
        assert_eq!(mask("0").union(mask("2")), mask("0,2"));
        assert!(mask("0,63").has(63));
        assert!(!mask("0,63").has(1));
        assert!(!mask("0-63").has(64));
    }
}
