//! WireGuard keys: their text form, and a private key type that cannot be printed.

use std::fmt;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use thiserror::Error;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a private, public or pre-shared key.
pub const KEY_BYTES: usize = 32;
/// Characters of a key's base64 form.
const KEY_CHARACTERS: usize = 44;

/// A private or pre-shared key. Its memory is cleared when it is dropped, and `Debug` does not
/// show it.
#[derive(Clone)]
pub struct SecretKey(StaticSecret);

impl SecretKey {
    /// A new private key from the kernel's random numbers, clamped as `wg genkey` does
    /// (RFC 7748 section 5).
    ///
    /// # Errors
    /// The kernel gave no random numbers.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rand::rngs::OsRng
            .try_fill_bytes(bytes.as_mut())
            .map_err(io::Error::other)?;
        bytes[0] &= 0xf8;
        bytes[31] = (bytes[31] & 0x7f) | 0x40;
        Ok(Self(StaticSecret::from(*bytes)))
    }

    /// Reads the base64 form; white space around it is ignored.
    ///
    /// # Errors
    /// What is wrong with it, as far as that can be told.
    pub fn from_base64(text: &str) -> Result<Self, KeyError> {
        let trimmed = text.trim();
        let bytes = decode(trimmed).map_err(|error| what_it_is(trimmed).unwrap_or(error))?;
        let bytes = Zeroizing::new(bytes);
        Ok(Self(StaticSecret::from(*bytes)))
    }

    /// Reads the content of a key file, in whatever form an editor has left it.
    ///
    /// # Errors
    /// As [`Self::from_base64`].
    pub fn from_file(content: &[u8]) -> Result<Self, KeyError> {
        if content.starts_with(&[0xff, 0xfe])
            || content.starts_with(&[0xfe, 0xff])
            || content.contains(&0)
        {
            return Err(KeyError::WideText);
        }
        match std::str::from_utf8(content) {
            Ok(text) => Self::from_base64(text),
            Err(_) => Err(KeyError::NoText),
        }
    }

    /// The public key that belongs to it.
    pub fn public_key(&self) -> [u8; KEY_BYTES] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The base64 form, cleared when dropped. For `keygen` only.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.as_bytes()))
    }

    /// The key itself, as it is kept.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        self.0.as_bytes()
    }

    /// The key for the tunnel.
    pub fn expose(&self) -> &StaticSecret {
        &self.0
    }
}

impl PartialEq for SecretKey {
    /// Takes the same time wherever the two differ.
    fn eq(&self, other: &Self) -> bool {
        let bytes = self.as_bytes().iter().zip(other.as_bytes());
        let different = bytes.fold(0, |different, (own, other)| different | (own ^ other));
        std::hint::black_box(different) == 0
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(not shown)")
    }
}

/// Why a text is no key. The messages never repeat the text: it may be a private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not 44 characters long.
    #[error("has {found} characters where a WireGuard key has {KEY_CHARACTERS}")]
    Length {
        /// Characters found.
        found: usize,
    },
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// UTF-8 with a byte order mark.
    #[error(
        "begins with a byte order mark, as some editors write it: save it as UTF-8 without, or in the shell \
         (sed -i '1s/^\\xEF\\xBB\\xBF//' FILE)"
    )]
    ByteOrderMark,
    /// UTF-16 or UTF-32, or no text at all.
    #[error(
        "is UTF-16, as some editors and PowerShell's > write it, or no text: save it as plain text (ASCII or UTF-8)"
    )]
    WideText,
    /// Not UTF-8.
    #[error("is no text: a key file holds 44 characters")]
    NoText,
    /// A character that is not seen, such as a zero-width space.
    #[error(
        "holds a character that is not seen (U+{0:04X}), as copies from web pages do: type it anew"
    )]
    Unseen(u32),
    /// Quotation marks around it.
    #[error("has quotation marks around the key: leave them out")]
    Quoted,
    /// A line such as `PrivateKey = ...`, or a whole file of wg or wg-quick.
    #[error(
        "is a configuration of wg: a key file holds the key alone, what is behind PrivateKey = or PresharedKey ="
    )]
    WgConfig,
    /// `-----BEGIN ...`.
    #[error("is a PEM file, of OpenSSL or OpenSSH: WireGuard has keys of its own")]
    Pem,
    /// More than one line.
    #[error("has {found} lines where a key has one")]
    Lines {
        /// Lines found.
        found: usize,
    },
    /// 64 hexadecimal digits.
    #[error("is hexadecimal: a key file holds base64, as `wg genkey` prints it")]
    Hexadecimal,
    /// The alphabet of RFC 4648 section 5.
    #[error("is base64 for URLs: WireGuard's has + and / in the place of - and _")]
    UrlAlphabet,
    /// 44 characters, but not base64 of 32 bytes.
    #[error("is not base64 of 32 bytes (letters, digits, + and /, then one = at the end)")]
    Alphabet,
}

/// Why a key file gave no key.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(io::Error),
    /// It holds no key.
    #[error("{0}")]
    Key(KeyError),
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<KeyError> for KeyFileError {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

/// Reads the base64 form of a public key.
pub fn parse_public_key(text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    decode(text)
}

/// The base64 form of a public key.
pub fn public_key_text(key: &[u8; KEY_BYTES]) -> String {
    STANDARD.encode(key)
}

/// What a text is that is no key, where that can be told without a word of it.
fn what_it_is(text: &str) -> Option<KeyError> {
    let unseen = |c: char| {
        let invisible = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{2060}'..='\u{206f}');
        invisible
            || matches!(c, '\u{a0}' | '\u{ad}' | '\u{feff}')
            || (c.is_control() && !c.is_whitespace())
    };
    let quote = |c: char| matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}');
    let lines = text.lines().count();
    let fits_url = |c: char| c.is_ascii_alphanumeric() || "-_=".contains(c);
    Some(match text {
        "" => KeyError::Empty,
        _ if text.starts_with('\u{feff}') => KeyError::ByteOrderMark,
        _ if text.contains("-----BEGIN") => KeyError::Pem,
        _ if text.starts_with('[') || text.contains("Key =") || text.contains("Key=") => {
            KeyError::WgConfig
        }
        _ if text.starts_with(quote) && text.ends_with(quote) => KeyError::Quoted,
        _ if lines > 1 => KeyError::Lines { found: lines },
        _ => {
            if let Some(c) = text.chars().find(|c| unseen(*c)) {
                return Some(KeyError::Unseen(c.into()));
            }
            let hex =
                text.len() == 2 * KEY_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            let of_urls = text.contains(['-', '_']) && text.chars().all(fits_url);
            return match (hex, of_urls) {
                (true, _) => Some(KeyError::Hexadecimal),
                (_, true) if (KEY_CHARACTERS - 1..=KEY_CHARACTERS).contains(&text.len()) => {
                    Some(KeyError::UrlAlphabet)
                }
                _ => None,
            };
        }
    })
}

fn decode(text: &str) -> Result<[u8; KEY_BYTES], KeyError> {
    let found = text.chars().count();
    if found != KEY_CHARACTERS {
        return Err(KeyError::Length { found });
    }
    // One byte more than a key: base64 sizes its scratch by the rounded-up length.
    let mut bytes = [0; KEY_BYTES + 1];
    let length = STANDARD.decode_slice(text, &mut bytes);
    let key = bytes[..KEY_BYTES].try_into().unwrap_or([0; KEY_BYTES]);
    bytes.zeroize();
    match length {
        Ok(KEY_BYTES) => Ok(key),
        _ => Err(KeyError::Alphabet),
    }
}

/// What a dropped value leaves.
#[cfg(any(test, feature = "testing"))]
pub mod remains {
    use std::alloc::{Layout, dealloc};

    /// Whether `secret` stood in the memory of `value`, and whether it still does when that was dropped.
    pub fn of<T>(value: Box<T>, secret: &[u8]) -> (bool, bool) {
        let place = Box::into_raw(value);
        let stands = || {
            let bytes = place.cast::<u8>().cast_const();
            // SAFETY: the allocation is as long as a `T` and is freed below; what a byte of it is matters
            // to nobody but this comparison.
            let bytes = (0..size_of::<T>()).map(|at| unsafe { bytes.add(at).read_volatile() });
            let bytes: Vec<u8> = bytes.collect();
            bytes.windows(secret.len()).any(|window| window == secret)
        };
        let before = stands();
        // SAFETY: `place` is a valid `T` that nobody uses any more.
        unsafe { place.drop_in_place() };
        let after = stands();
        // SAFETY: `place` came out of a box of this layout, and is not used again.
        unsafe { dealloc(place.cast(), Layout::new::<T>()) };
        (before, after)
    }

    #[test]
    fn what_is_not_cleared_is_found() {
        assert_eq!(of(Box::new([7_u8; 40]), &[7; 32]), (true, true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7748 section 6.1, Alice.
    const PRIVATE: &str = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=";
    const PUBLIC: &str = "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=";

    #[test]
    fn the_public_key_is_that_of_rfc_7748() {
        let key = SecretKey::from_base64(&format!("{PRIVATE}\n")).unwrap();
        assert_eq!(public_key_text(&key.public_key()), PUBLIC);
        assert_eq!(*key.to_base64(), PRIVATE);
        assert_eq!(parse_public_key(PUBLIC), Ok(key.public_key()));
    }

    #[test]
    fn a_private_key_is_never_shown() {
        let key = SecretKey::from_base64(PRIVATE).unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey(not shown)");
    }

    #[test]
    fn keys_are_equal_in_every_byte_or_not_at_all() {
        let key = SecretKey::from_base64(PRIVATE).unwrap();
        assert_eq!(key, key.clone());
        for at in 0..KEY_BYTES {
            let mut bytes = *key.as_bytes();
            bytes[at] ^= 1;
            assert_ne!(SecretKey(StaticSecret::from(bytes)), key, "byte {at}");
        }
    }

    #[test]
    fn a_dropped_key_leaves_nothing() {
        let key = SecretKey::from_base64(PRIVATE).unwrap();
        let bytes = *key.as_bytes();
        assert_eq!(remains::of(Box::new(key), &bytes), (true, false));
    }

    #[test]
    fn generated_keys_are_clamped_and_differ() {
        let [a, b] = [(); 2].map(|()| SecretKey::generate().unwrap());
        assert_ne!(*a.to_base64(), *b.to_base64());
        let bytes = a.expose().as_bytes();
        assert_eq!((bytes[0] & 0x07, bytes[31] & 0xc0), (0, 0x40));
    }

    #[test]
    fn a_file_that_an_editor_has_changed_is_read_or_its_change_is_named() {
        let with = |text: &str| SecretKey::from_file(text.as_bytes());
        for read in [
            format!("{PRIVATE}\r\n"),
            format!("\n\t{PRIVATE}  \n\n"),
            PRIVATE.to_owned(),
        ] {
            assert_eq!(*with(&read).unwrap().to_base64(), PRIVATE);
        }
        let wide =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        for content in [
            wide(PRIVATE),
            wide(&format!("\u{feff}{PRIVATE}")),
            vec![0xfe, 0xff, 0, b'A'],
            vec![0; 44],
        ] {
            assert_eq!(SecretKey::from_file(&content), Err(KeyError::WideText));
        }
        assert_eq!(SecretKey::from_file(&[0x80; 44]), Err(KeyError::NoText));
        let hex = "0f".repeat(KEY_BYTES);
        for (text, expected) in [
            (format!("\u{feff}{PRIVATE}\r\n"), KeyError::ByteOrderMark),
            ("\u{feff}".to_owned(), KeyError::ByteOrderMark),
            (" \r\n".to_owned(), KeyError::Empty),
            (format!("{PRIVATE}\u{200b}"), KeyError::Unseen(0x200b)),
            (format!("{PRIVATE}\u{feff}"), KeyError::Unseen(0xfeff)),
            (format!("\"{PRIVATE}\"\n"), KeyError::Quoted),
            (format!("\u{201c}{PRIVATE}\u{201d}"), KeyError::Quoted),
            (format!("PrivateKey = {PRIVATE}"), KeyError::WgConfig),
            (
                format!("[Interface]\nPrivateKey={PRIVATE}\n"),
                KeyError::WgConfig,
            ),
            (format!("# mine\n{PRIVATE}\n"), KeyError::Lines { found: 2 }),
            (hex, KeyError::Hexadecimal),
            (
                PRIVATE.replace('+', "-").replace('X', "_"),
                KeyError::UrlAlphabet,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nMC4\n".to_owned(),
                KeyError::Pem,
            ),
            ("secret".to_owned(), KeyError::Length { found: 6 }),
        ] {
            let error = with(&text).unwrap_err();
            assert_eq!(error, expected);
            assert!(
                !error.to_string().contains(&PRIVATE[..8]),
                "it is never told"
            );
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert_eq!(parse_public_key("abc"), Err(KeyError::Length { found: 3 }));
        assert_eq!(
            parse_public_key(&PUBLIC.replace('/', "-")),
            Err(KeyError::Alphabet)
        );
        assert_eq!(parse_public_key(&"A".repeat(44)), Err(KeyError::Alphabet));
        assert_eq!(
            parse_public_key(&PUBLIC.replace("mo=", "mp=")),
            Err(KeyError::Alphabet)
        );
    }
}
