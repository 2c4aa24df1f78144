//! The PROXY protocol, versions 1 and 2: a balancer's word about whose bytes follow.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header of version 1, its end of line included.
const LONGEST_TEXT: usize = 107;
const TEXT: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// What may follow the fixed part: addresses and what else the balancer tells.
const LONGEST_REST: usize = 512;

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes that it takes.
    pub(crate) length: usize,
    /// `None`: the balancer speaks for itself, or for somebody without an address.
    pub(crate) source: Option<SocketAddr>,
}

/// These bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoHeader;

/// The header that `bytes` begin with; `None` while it is not all there.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    if begins(bytes, TEXT) {
        return text(bytes);
    }
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    Err(NoHeader)
}

/// As far as they are there.
fn begins(bytes: &[u8], with: &[u8]) -> bool {
    bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted)
}

fn text(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let head = &bytes[..bytes.len().min(LONGEST_TEXT)];
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if bytes.len() < LONGEST_TEXT { Ok(None) } else { Err(NoHeader) };
    };
    let line = std::str::from_utf8(&head[..end]).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let mut next = || words.next().ok_or(NoHeader);
    let family = next()?;
    let source = match family {
        "UNKNOWN" => None,
        "TCP4" | "TCP6" => {
            let (source, _destination, port) = (next()?, next()?, next()?);
            let address: IpAddr = source.parse().map_err(|_| NoHeader)?;
            if address.is_ipv4() != (family == "TCP4") {
                return Err(NoHeader);
            }
            Some(SocketAddr::new(address.to_canonical(), port.parse().map_err(|_| NoHeader)?))
        }
        _ => return Err(NoHeader),
    };
    Ok(Some(Header { length: end + 2, source }))
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, NoHeader> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED) else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if command & 0xf0 != 0x20 || command & 0x0f > 1 || length > LONGEST_REST {
        return Err(NoHeader);
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    let is_proxied = command & 0x0f == 1;
    let source = match family {
        // TCP over IPv4, over IPv6. What else there is has no address that could be told.
        0x11 if is_proxied => {
            let (address, rest) = rest.split_first_chunk::<4>().ok_or(NoHeader)?;
            Some((IpAddr::V4(Ipv4Addr::from(*address)), rest.get(4..6).ok_or(NoHeader)?))
        }
        0x21 if is_proxied => {
            let (address, rest) = rest.split_first_chunk::<16>().ok_or(NoHeader)?;
            Some((IpAddr::V6(Ipv6Addr::from(*address)).to_canonical(), rest.get(16..18).ok_or(NoHeader)?))
        }
        _ => None,
    };
    let source = source.map(|(address, port)| SocketAddr::new(address, u16::from_be_bytes([port[0], port[1]])));
    Ok(Some(Header { length: FIXED + length, source }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    fn source(bytes: &[u8]) -> Option<SocketAddr> {
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut} of {bytes:?}");
        }
        let whole = [bytes, b"GET /"].concat();
        let header = parse(&whole).expect("a header").expect("all of it");
        assert_eq!(header.length, bytes.len());
        header.source
    }

    #[test]
    fn both_versions_name_whoever_the_balancer_speaks_for() {
        let four = [198, 51, 100, 7, 10, 0, 0, 1, 0x15, 0xb3, 0, 80];
        let mut six = [0; 36];
        six[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().expect("an address").octets());
        six[32..34].copy_from_slice(&5555_u16.to_be_bytes());
        let with_more = [&four[..], &[3, 0, 4, 1, 2, 3, 4]].concat();
        for (bytes, expected) in [
            (b"PROXY TCP4 198.51.100.7 10.0.0.1 5555 80\r\n".to_vec(), "198.51.100.7:5555"),
            (b"PROXY TCP6 2001:db8::7 ::1 5555 80\r\n".to_vec(), "[2001:db8::7]:5555"),
            (version_2(0x21, 0x11, &four), "198.51.100.7:5555"),
            (version_2(0x21, 0x11, &with_more), "198.51.100.7:5555"),
            (version_2(0x21, 0x21, &six), "[2001:db8::7]:5555"),
        ] {
            assert_eq!(source(&bytes), expected.parse().ok(), "{bytes:?}");
        }
    }

    #[test]
    fn a_balancer_may_speak_for_itself() {
        for bytes in [b"PROXY UNKNOWN\r\n".to_vec(), version_2(0x20, 0, &[]), version_2(0x21, 0x31, &[0; 216])] {
            assert_eq!(source(&bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_no_header_is_told_at_once() {
        let endless = [b"PROXY TCP4 ", &[b'1'; 200][..]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROPFIND /",
            b"PROXY TCP4 1.2.3 10.0.0.1 1 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 1\r\n",
            b"PROXY TCP4 1.2.3.4\r\n",
            b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
            &endless,
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x11, &[0; 3]),
            &version_2(0x21, 0x11, &[0; 600]),
        ] {
            assert_eq!(parse(bytes), Err(NoHeader), "{bytes:?}");
        }
    }
}
