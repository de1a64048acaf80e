//! Character classes and numbers of the grammar, with the RFC's line beside each.
//!
//! Numbers are read by hand: a library that also takes `+5`, `0x5` or ` 5` is how two programs come
//! to see two lengths in one message.

/// `tchar` (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// `token` (RFC 9110 §5.6.2).
pub(crate) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

/// `field-content` and the whitespace within it (RFC 9110 §5.5): no control but the tab.
pub(crate) fn is_field_value(text: &[u8]) -> bool {
    // `&` instead of `&&` visits every byte, which the compiler then does many at a time.
    text.iter().fold(true, |clean, &byte| {
        clean & ((byte == b'\t') | (byte >= b' ')) & (byte != 0x7F)
    })
}

/// What may stand in a request target: visible ASCII without `#`, since a fragment never leaves
/// the client (RFC 9112 §3.2). Wider than RFC 3986, as browsers send `|` and `^` unescaped.
pub(crate) fn is_target(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|&byte| byte.is_ascii_graphic() && byte != b'#')
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2): a name or an address, one of version 6 in brackets, and a port of
/// digits. No `@`: user information in an authority is a trap (RFC 9110 §4.2.4).
pub(crate) fn is_host(text: &[u8]) -> bool {
    let (is_host, port) = match text.strip_prefix(b"[") {
        Some(address) => {
            let end = memchr::memchr(b']', address).unwrap_or(address.len());
            (is_ipv6(&address[..end]), address.get(end + 1..))
        }
        None => {
            let end = memchr::memchr(b':', text).unwrap_or(text.len());
            (is_name(&text[..end]), Some(&text[end..]))
        }
    };
    is_host && port.is_some_and(is_port)
}

/// By its characters: an address that is none leads nowhere.
fn is_ipv6(text: &[u8]) -> bool {
    let is_of_it = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    !text.is_empty() && text.iter().all(is_of_it)
}

/// `*( unreserved / pct-encoded / sub-delims )` (RFC 3986 §3.2.2), without the comma, which makes lists.
fn is_name(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'%');
    let is_plain = |part: &[u8]| {
        part.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(byte))
    };
    let is_escape = |part: &[u8]| {
        let digits = part.iter().take_while(|byte| byte.is_ascii_hexdigit());
        digits.count() >= 2 && is_plain(part)
    };
    parts.next().is_none_or(is_plain) && parts.all(is_escape)
}

fn is_port(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b":");
    text.is_empty() || digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

/// `1*DIGIT` that fits (RFC 9110 §8.6): no sign, no space, no overflow.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

/// `1*HEXDIG` of at most sixteen digits (RFC 9112 §7.1), which is what a `u64` holds.
pub(crate) fn hexadecimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 16 {
        return None;
    }
    text.iter().try_fold(0, |number, &byte| {
        Some(number << 4 | u64::from(hex_digit(byte)?))
    })
}

/// One `HEXDIG` of either case.
pub(crate) const fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Writes `number` in decimal. By hand, as it stands on the path of every token.
pub(crate) fn push_decimal(out: &mut Vec<u8>, mut number: u64) {
    // 2^64 has twenty digits.
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = DIGITS[(number % 10) as usize];
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// Writes `number` in hexadecimal without leading zeros.
pub(crate) fn push_hexadecimal(out: &mut Vec<u8>, number: usize) {
    let bits = usize::BITS - (number | 1).leading_zeros();
    for place in (0..bits.div_ceil(4)).rev() {
        out.push(DIGITS[number >> (4 * place) & 0xF]);
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_digits_and_nothing_else() {
        assert_eq!(decimal(b"0042"), Some(42));
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        for not_a_length in [
            "",
            "+1",
            "-1",
            " 1",
            "1 ",
            "0x1",
            "1,1",
            "1_0",
            "18446744073709551616",
        ] {
            assert_eq!(decimal(not_a_length.as_bytes()), None, "{not_a_length:?}");
        }
        assert_eq!(hexadecimal(b"fF"), Some(255));
        assert_eq!(hexadecimal(b"ffffffffffffffff"), Some(u64::MAX));
        for not_a_size in ["", "0x1", "g", "-1", " 1", "00000000000000001"] {
            assert_eq!(hexadecimal(not_a_size.as_bytes()), None, "{not_a_size:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in [
            "",
            "a",
            "a.b-c_d~e:80",
            "a:",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "a%2Db",
            "a!$&'()*+;=b",
        ] {
            assert!(is_host(host.as_bytes()), "{host:?}");
        }
        for no_host in [
            "a:b", "a:80:90", "a:-1", "[::1", "[]", "[::1]80", "[::1]:x", "[g]", "::1", "a%zz",
            "a%2", "a%", "[", "]", "a]", "a@b", "a,b", "a b", "a/b",
        ] {
            assert!(!is_host(no_host.as_bytes()), "{no_host:?}");
        }
    }

    #[test]
    fn numbers_written_are_the_numbers_read() {
        for number in [0, 1, 9, 10, 15, 16, 255, 256, 4_294_967_295] {
            let (mut tens, mut sixteens) = (Vec::new(), Vec::new());
            push_decimal(&mut tens, number);
            push_hexadecimal(&mut sixteens, usize::try_from(number).unwrap());
            assert_eq!(decimal(&tens), Some(number));
            assert_eq!(tens, number.to_string().as_bytes());
            assert_eq!(sixteens, format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn a_field_value_holds_text_and_tabs_but_no_other_control() {
        for byte in 0..=u8::MAX {
            let allowed = byte == b'\t' || (byte >= b' ' && byte != 0x7F);
            assert_eq!(is_field_value(&[b'a', byte]), allowed, "byte {byte:#04x}");
        }
    }
}
