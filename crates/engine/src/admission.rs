//! Who may still come in: the server's ceilings over all shards.
//!
//! Shared by the shards, because the limits are the server's; touched when a viewer opens a channel and when it leaves,
//! never on the data path. One of the named exceptions to "nothing shared" (architecture page).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use funnel_session::HResult;

/// The ceilings; 0 switches one off.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct AdmissionLimits {
    /// Viewers with an open channel.
    pub viewers: u32,
    /// The same, of one address.
    pub viewers_per_address: u32,
    /// Sum of the bit rates of all open channels, bit/s.
    pub bits_per_second_out: u64,
}

/// Counts viewers against the ceilings.
#[derive(Debug, Default)]
pub struct Admission {
    limits: AdmissionLimits,
    viewers: AtomicU32,
    bits_per_second: AtomicU64,
    /// Used only when there is a limit per address.
    addresses: Mutex<HashMap<IpAddr, u32>>,
}

impl Admission {
    /// Nobody is in yet.
    pub fn new(limits: AdmissionLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Viewers that are in.
    pub fn viewers(&self) -> u32 {
        self.viewers.load(Ordering::Relaxed)
    }

    /// Lets a viewer in, until the permit is dropped.
    ///
    /// # Errors
    /// The code to tell the player (protocol page §9): too many sessions, too many of this address, no bandwidth left.
    pub fn admit(
        self: &Arc<Self>,
        address: IpAddr,
        bits_per_second: u32,
    ) -> Result<Permit, HResult> {
        let mut permit = Permit {
            admission: Arc::clone(self),
            address: None,
            bits_per_second: 0,
            counted: false,
        };
        let viewers = self.viewers.fetch_add(1, Ordering::Relaxed) + 1;
        permit.counted = true;
        if self.limits.viewers != 0 && viewers > self.limits.viewers {
            return Err(HResult::NS_E_TOO_MANY_SESS);
        }
        permit.bits_per_second = u64::from(bits_per_second);
        let bits = self
            .bits_per_second
            .fetch_add(permit.bits_per_second, Ordering::Relaxed)
            + permit.bits_per_second;
        if self.limits.bits_per_second_out != 0 && bits > self.limits.bits_per_second_out {
            return Err(HResult::NS_E_INSUFFICIENT_BANDWIDTH);
        }
        if self.limits.viewers_per_address != 0 {
            let mut addresses = self
                .addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = addresses.entry(address).or_default();
            if *count >= self.limits.viewers_per_address {
                return Err(HResult::NS_E_MAX_CLIENTS);
            }
            *count += 1;
            permit.address = Some(address);
        }
        Ok(permit)
    }
}

/// A viewer's place; given back on drop.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    address: Option<IpAddr>,
    bits_per_second: u64,
    counted: bool,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counted {
            self.admission.viewers.fetch_sub(1, Ordering::Relaxed);
        }
        self.admission
            .bits_per_second
            .fetch_sub(self.bits_per_second, Ordering::Relaxed);
        if let Some(address) = self.address {
            let mut addresses = self
                .admission
                .addresses
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = addresses.get_mut(&address) {
                *count -= 1;
                if *count == 0 {
                    addresses.remove(&address);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn every_ceiling_refuses_with_its_own_code_and_frees_what_it_took() {
        let limits = AdmissionLimits {
            viewers: 3,
            viewers_per_address: 2,
            bits_per_second_out: 1000,
        };
        let admission = Arc::new(Admission::new(limits));
        let first = admission.admit(address(1), 300).expect("room");
        let _second = admission.admit(address(1), 300).expect("room");
        assert_eq!(
            admission.admit(address(1), 300).unwrap_err(),
            HResult::NS_E_MAX_CLIENTS
        );
        assert_eq!(
            admission.admit(address(2), 500).unwrap_err(),
            HResult::NS_E_INSUFFICIENT_BANDWIDTH
        );
        let _third = admission.admit(address(2), 400).expect("exactly full");
        assert_eq!(
            admission.admit(address(3), 0).unwrap_err(),
            HResult::NS_E_TOO_MANY_SESS
        );
        assert_eq!(admission.viewers(), 3);
        drop(first);
        assert!(
            admission.admit(address(1), 300).is_ok(),
            "what left made room"
        );
        assert_eq!(admission.viewers(), 2);
    }

    #[test]
    fn zero_is_no_limit() {
        let admission = Arc::new(Admission::new(AdmissionLimits::default()));
        let permits: Vec<_> = (0..1000)
            .map(|_| admission.admit(address(1), u32::MAX).expect("no limit"))
            .collect();
        assert_eq!(admission.viewers(), 1000);
        drop(permits);
        assert_eq!(admission.viewers(), 0);
        assert_eq!(admission.bits_per_second.load(Ordering::Relaxed), 0);
    }
}
